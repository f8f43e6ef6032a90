"""Markdown tables of records of synthetic images."""

from quality_records import different, epsilons, mean, select, spread

BARS = {
    ("fashion_mnist", 1.0): (0.80, 0.817),
    ("fashion_mnist", 10.0): (0.84, 0.873),
    ("mnist", 1.0): (0.945, 0.956),
    ("mnist", 10.0): (0.970, 0.981),
}
OURS, REAL = "cloister", "CNN on real images"


def tables(records):
    """Return the tables of what was measured, by the names of their markers."""
    images = select(records, part="images")
    made = {
        "synthetic images": accuracies(images),
        "synthetic images in short": in_short(images),
        "synthetic images by class": by_class(images),
        "synthetic images compared": compared(select(records, part="images compared")),
    }
    return {name: text for name, text in made.items() if text}


def accuracies(records):
    if not records:
        return ""
    lines = [
        "| images | ε | CNN on samples | ± | draws | must / benchmark's best | labeller's own rule "
        "| fit s | + encoding s | sampling and training s | MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in different(records, "rows"):
        ours = select(records, rows=name, method=OURS)
        for epsilon in epsilons(ours):
            runs = select(ours, epsilon=epsilon)
            bars = BARS.get((name, epsilon))
            cells = [
                name,
                "∞" if epsilon == "inf" else f"{epsilon:g}",
                f"**{mean(runs, 'accuracy'):.4f}**",
                "–" if len(runs) < 2 else f"{spread(runs, 'accuracy'):.4f}",
                str(len(runs)),
                "–" if bars is None else f"{bars[0]} / {bars[1]}",
                f"{mean(runs, 'labeller_accuracy'):.4f}",
                *(f"{mean(runs, key):.0f}" for key in
                  ("fit_seconds", "encode_seconds", "train_seconds", "megabytes")),
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
        for run in select(records, rows=name, method=REAL):
            lines.append(
                f"| {name} | real images | {run['accuracy']:.4f} | – | – | – | – | – | – | "
                f"{run['train_seconds']:.0f} | – |"
            )
    return "\n".join(lines)


def in_short(records):
    """Return a line a data set, a column an epsilon."""
    budgets = epsilons(select(records, method=OURS))
    if not budgets:
        return ""
    titles = ["∞" if epsilon == "inf" else f"{epsilon:g}" for epsilon in budgets]
    heads = [f"ε = {title}" for title in titles]
    lines = [f"| | {' | '.join(heads)} | real images |", "|---" * (len(heads) + 2) + "|"]
    for name in different(records, "rows"):
        of_name = select(records, rows=name)
        runs = [select(of_name, method=OURS, epsilon=epsilon) for epsilon in budgets]
        cells = [mean(one, "accuracy") for one in [*runs, select(of_name, method=REAL)]]
        shown = ["–" if cell is None else f"{cell:.3f}" for cell in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def by_class(records):
    """Return the accuracy class by class, of the mean over draws."""
    if not records:
        return ""
    lines = ["| images | ε | " + " | ".join(map(str, range(10))) + " |", "|---" * 12 + "|"]
    for name in different(records, "rows"):
        for method in (OURS, REAL):
            runs = select(records, rows=name, method=method)
            for epsilon in epsilons(runs):
                one = select(runs, epsilon=epsilon)
                shares = [run["class_accuracy"] for run in one]
                cells = [f"{sum(c) / len(c):.3f}" for c in zip(*shares, strict=True)]
                title = "real images" if method == REAL else str(epsilon).replace("inf", "∞")
                lines.append(f"| {name} | {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def compared(records):
    """Return distances in the space of scattering features, of the first draw."""
    lines = [
        "| images | ε | probe on samples | Fréchet distance | of real images | precision | recall "
        "| density | coverage | nearer to a fitted image than to a held-out one | 95 % interval |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in records:
        whole = run["report"]["overall"]
        kinds, near = whole["manifolds"], whole["nearest"]
        cells = [
            run["rows"],
            str(run["epsilon"]).replace("inf", "∞"),
            f"{run['accuracy']:.4f}",
            f"{whole['frechet']:.4f}",
            f"{run['report']['real_frechet']:.4f}",
            *(f"{kinds[name]:.3f}" for name in ("precision", "recall", "density", "coverage")),
            f"{near['share_nearer_to_training']:.3f}",
            "{:.3f} to {:.3f}".format(*near["interval"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else ""
