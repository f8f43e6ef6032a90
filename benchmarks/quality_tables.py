"""Markdown tables of quality records: means over noise seeds ± standard deviations."""

import quality_rows
from quality_kmeans import FREE, METHODS
from quality_probe import METHODS as CLASSIFIERS
from quality_probe import OURS
from quality_records import different, epsilons, mean, select, spread

GOOGLE = ("google", "google centred")
GAP_BAR = 0.35
# The README shows these rows alone.
EMBEDDINGS = "cifar10_mobilenetv2"


def tables(records):
    """Return the tables of the parts that were measured, by the names of their markers."""
    made = {
        "private k-means": kmeans(select(records, part="k-means")),
        "private classifiers": classifiers(select(records, part="classifiers")),
        "accuracy": accuracies(select(records, part="classifiers", rows=EMBEDDINGS)),
    }
    return {name: text for name, text in made.items() if text}


def kmeans(records):
    """Return a line a method and ε, with its gap to non-private k-means in gaps of Google's."""
    if not records:
        return ""
    lines = [
        "| rows, k | ε | method | mean squared distance | ± | runs | s | gap, of Google's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names(records):
        for k in sorted(different(select(records, rows=name), "k")):
            case = select(records, rows=name, k=k)
            title = f"{name} {shape(case)}, {k}"
            for method in FREE:
                lines += [line(title, "", r, None) for r in [select(case, method=method)] if r]
            for epsilon in epsilons(case):
                runs = select(case, epsilon=epsilon)
                for method in METHODS:
                    one = select(runs, method=method)
                    if one and method not in FREE:
                        gap = relative_gap(case, runs) if method == "DPKMeans" else None
                        lines.append(line(title, epsilon, one, gap))
    return "\n".join(lines)


def names(records):
    """Return the names of the rows in the order of their list, however the runs came."""
    return sorted(different(records, "rows"), key=quality_rows.NAMES.index)


def relative_gap(case, runs):
    """Return (ours - best) / (Google's better - best), or None.

    The best is non-private: of `KMeans` or, where they are known and better, the true centres.
    """
    best = [mean(select(case, method=method), "loss") for method in ("KMeans", "true centres")]
    reference = min((loss for loss in best if loss is not None), default=None)
    google = [mean(select(runs, method=method), "loss") for method in GOOGLE]
    google = [loss for loss in google if loss is not None]
    if reference is None or not google or min(google) <= reference:
        return None
    ours = mean(select(runs, method="DPKMeans"), "loss")
    return (ours - reference) / (min(google) - reference)


def line(title, epsilon, runs, gap):
    loss, deviation = mean(runs, "loss"), spread(runs, "loss")
    gap = "" if gap is None else f"{gap:.2f} (bar {GAP_BAR})"
    return (
        f"| {title} | {sign(epsilon)} | {runs[0]['method']} | {loss:.4f} | {small(deviation)} "
        f"| {len(runs)} | {mean(runs, 'seconds'):.1f} | {gap} |"
    )


def classifiers(records):
    """Return a line a method, its accuracy at each ε; of ours also the mixture and worst class."""
    if not records:
        return ""
    columns = epsilons(records)
    lines = [
        "| rows | method | " + " | ".join(f"ε = {sign(e)}" for e in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for name in names(records):
        case = select(records, rows=name)
        title = f"{name} {shape(case)}"
        for method in CLASSIFIERS:
            runs = select(case, method=method)
            if not runs:
                continue
            cells = [accuracy(select(runs, epsilon=e), "accuracy") for e in columns]
            lines.append(row(title, method, cells))
            if method == OURS:
                cells = [accuracy(select(runs, epsilon=e), "mixture_accuracy") for e in columns]
                lines.append(row(title, f"{OURS}, the mixture's Bayes rule", cells))
                cells = [worst_class(select(runs, epsilon=e)) for e in columns]
                lines.append(row(title, f"{OURS}, worst class", cells))
    return "\n".join(lines)


def accuracies(records):
    """Return the README's table: mean accuracies of one set."""
    if not records:
        return ""
    columns = epsilons(records)
    lines = ["| ε | " + " | ".join(map(sign, columns)) + " |", "|---|" + "---|" * len(columns)]
    for method in CLASSIFIERS:
        runs = select(records, method=method)
        means = [mean(select(runs, epsilon=e), "accuracy") for e in columns]
        cells = ["–" if value is None else f"{value:.3f}" for value in means]
        if runs:
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def row(title, method, cells):
    return f"| {title} | {method} | " + " | ".join(cells) + " |"


def accuracy(runs, figure):
    value, deviation = mean(runs, figure), spread(runs, figure)
    if value is None:
        return "–"
    return f"{value:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def worst_class(runs):
    """Return the accuracy of the class that does worst on average, and which it is."""
    if not runs:
        return "–"
    each = [sum(classes) / len(runs) for classes in zip(*classes_of(runs), strict=True)]
    worst = min(range(len(each)), key=each.__getitem__)
    return f"{each[worst]:.3f} (class {worst})"


def classes_of(runs):
    return [run["accuracy_of_classes"] for run in runs]


def shape(case):
    return "(" + " × ".join(f"{size:,}" for size in case[0]["shape"]) + ")"


def sign(epsilon):
    return "∞" if epsilon == "inf" else f"{epsilon:g}" if epsilon != "" else ""


def small(deviation):
    return "–" if deviation is None else f"{deviation:.4f}"
