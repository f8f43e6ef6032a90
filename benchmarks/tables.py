"""Figures as Markdown: a summary for the README, and every peer in full."""

from measure import OURS

# The aims: times faster than the best exact peer, an iteration and a whole fit.
BARS = {
    (1_000_000, 128, 100): (3.0, 2.0),
    (200_000, 512, 100): (3.0, 2.0),
    (200_000, 768, 1_000): (3.5, 2.5),
    (50_000, 512, 10): (2.5, 1.5),
    (100_000, 1_536, 4_096): (3.5, None),
}
MIXTURE_BAR = 1.5
ROUND_BAR = 1.15
SAMPLES_PER_SECOND = 2e7
GOOGLE_BAR = 15


def bars(case):
    if case["data"] == "mixture":
        return MIXTURE_BAR, MIXTURE_BAR
    return BARS.get(tuple(case["shape"]), (None, None))


def fastest(case, key, *, exact):
    """Return the name of the peer, exact or approximate, with the smallest figure, or None."""
    figures = {
        name: result[key]
        for name, result in case["peers"].items()
        if name != OURS
        and result.get("exact") is exact
        and not result.get("private")
        and result[f"{key}_ratio"]
    }
    return min(figures, key=figures.get, default=None)


def shape(case):
    return " × ".join(f"{size:,}" for size in case["shape"])


def seconds(value):
    if value is None:
        return "–"
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def ratio(value, bar=None):
    text = "–" if value is None else f"{value:.2f}"
    return text if bar is None else f"{text} (bar {bar})"


def with_error(result):
    error = result["mean_squared_distance"]
    dagger = "†" if result["own_start"] else ""
    return f"{seconds(result['seconds_per_iteration'])} ({error:.6g}{dagger})"


def summary(cases):
    """Return one line a case: ours beside the best exact peer, errors beside speeds."""
    lines = [
        "| rows | n × d × k | `KMeans`: s an iteration (error) | fastest exact peer | times faster "
        "| 10-iteration fit: times faster | error less scikit-learn's "
        "| fastest approximate peer, times faster |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        ours = case["peers"].get(OURS, {})
        if "mean_squared_distance" not in ours:
            continue
        bar = bars(case)
        exact, times = beside(case, bar[0], exact=True)
        approximate = ", ".join(beside(case, None, exact=False))
        lines.append(
            f"| {case['data']} | {shape(case)} | {with_error(ours)} | {exact} | {times} "
            f"| {whole_fit(case, bar[1])} | {gap(case)} | {approximate} |"
        )
    return "\n".join(lines)


def beside(case, bar, *, exact):
    """Return the fastest peer with its error, and how many times faster ours is."""
    name = fastest(case, "seconds_per_iteration", exact=exact)
    if name is None:
        return "–", "–"
    peer = case["peers"][name]
    return f"{name} {with_error(peer)}", ratio(peer["seconds_per_iteration_ratio"], bar)


def whole_fit(case, bar):
    name = fastest(case, "fit_seconds", exact=True)
    if case["iterations"][1] != 10 or name is None:
        return "–"
    return f"{ratio(case['peers'][name]['fit_seconds_ratio'], bar)}, {name}"


def gap(case):
    """Return the relative difference of the final errors of ours and scikit-learn's."""
    theirs = case["peers"].get("scikit-learn", {}).get("mean_squared_distance")
    if theirs is None:
        return "–"
    return f"{case['peers'][OURS]['mean_squared_distance'] / theirs - 1:+.1e}"


def details(cases):
    """Return a table a case, with every peer."""
    return "\n\n".join(one_case(case) for case in cases)


def one_case(case):
    short, long = case["iterations"]
    lines = [
        f"**{case['data']}, {shape(case)}**: fits of {short} and {long} iterations, "
        f"{case['repeats']} rounds{load(case)}{floors(case)}",
        "",
        f"| peer | s an iteration | × ours | fit of {long}, s | × ours | error | labels "
        "| peak MB | rounds |",
        "|---|---|---|---|---|---|---|---|---|",
        *(line(name, result) for name, result in sorted(case["peers"].items(), key=order)),
    ]
    if case.get("private"):
        lines += ["", *private_lines(case)]
    return "\n".join(lines)


def order(item):
    return item[1].get("seconds_per_iteration") or float("inf")


def line(name, result):
    why = absent(result)
    if why:
        return f"| {name} | {why} | | | | | | | |"
    return (
        f"| {name} {result['version']} | {seconds(result['seconds_per_iteration'])} "
        f"| {ratio(result['seconds_per_iteration_ratio'])} "
        f"| {seconds(result['fit_seconds'])} | {ratio(result['fit_seconds_ratio'])} "
        f"| {result['mean_squared_distance']:.6g}{'†' if result['own_start'] else ''} "
        f"| {exactness(result)} | {result['peak_bytes'] / 1e6:.0f} | {result['rounds']} |"
    )


def absent(result):
    if "missing" in result:
        return f"not available here: {result['missing']}"
    return result.get("failed")


def exactness(result):
    if result.get("private"):
        return f"private (bar of a round: {ROUND_BAR})"
    if result["exact"]:
        return "exact"
    return (
        f"approximate: {result['wrong_labels']:.0e} wrong, step off by {result['step_error']:.0e}"
    )


def load(case):
    """Return what other processes took of the machine: with more than a little, measure again."""
    shares = [result["others"] for result in case["peers"].values() if "others" in result]
    return f"; other processes took up to {max(shares):.0%} of the processors" if shares else ""


def floors(case):
    """Return 2ndk operations at the machine's peak rates, where these were given."""
    n, d, k = case["shape"]
    rates = case.get("peaks") or []
    names = ("float32", "int8")
    each = [f"{t} {2e-9 * n * d * k / r:.4f} s" for t, r in zip(names, rates, strict=False)]
    return "; floor of an iteration: " + ", ".join(each) if each else ""


def private_lines(case):
    """Return the table of whole private fits."""
    private = case["private"]
    lines = ["| private fit, ε = 1 | s | × ours | error | peak MB |", "|---|---|---|---|---|"]
    ours = private.get("DPKMeans", {}).get("seconds")
    for name, result in private.items():
        why = absent(result)
        if why:
            lines.append(f"| {name} | {why} | | | |")
            continue
        times = result["seconds"] / ours if ours else None
        lines.append(
            f"| {name} {result['version']} | {seconds(result['seconds'])} "
            f"| {ratio(times, GOOGLE_BAR if name == 'google' else None)} "
            f"| {result['mean_squared_distance']:.6g} | {result['peak_bytes'] / 1e6:.0f} |"
        )
    noise = private.get("DPKMeans", {}).get("noise_seconds_per_round")
    if noise is not None:
        lines += ["", noise_line(case, noise)]
    return lines


def noise_line(case, noise):
    _, d, k = case["shape"]
    text = f"Noise a round: {noise:.5f} s (bar {k * (d + 1) / SAMPLES_PER_SECOND:.5f} s)"
    one_round = case["peers"].get("DPKMeans", {}).get("seconds_per_iteration")
    return text + (f", {noise / one_round:.1%} of a round." if one_round else ".")


def rewrite(path, tables):
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->`; return what was found."""
    text = path.read_text()
    found = []
    for name, table in tables.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if start and end:
            text = before + start + table + "\n" + end + after
            found.append(name)
    path.write_text(text)
    return found
