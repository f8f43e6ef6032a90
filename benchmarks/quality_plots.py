"""Curves of loss and accuracy against ε, one PNG a data set; needs matplotlib."""

from importlib import import_module

from quality_records import different, epsilons, mean, select, spread

# What has no ε is a horizontal line.
FIGURES = {"k-means": ("loss", "mean squared distance"), "classifiers": ("accuracy", "accuracy")}


def draw(records, folder):
    """Write the plots and return their paths; ImportError where matplotlib is missing."""
    import_module("matplotlib").use("Agg")
    pyplot = import_module("matplotlib.pyplot")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part, (figure, label) in FIGURES.items():
        for name in different(select(records, part=part), "rows"):
            for k in different(select(records, part=part, rows=name), "k"):
                runs = select(records, part=part, rows=name, k=k)
                title = f"{name}" + ("" if k is None else f", k = {k}")
                canvas, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
                curves(axes, runs, figure)
                axes.set(title=title, xlabel="ε", ylabel=label, xscale="log")
                ticks = [e for e in epsilons(runs) if e != "inf"]
                axes.set_xticks(ticks, [f"{e:g}" for e in ticks])
                axes.set_xticks([], minor=True)
                axes.legend(fontsize="small")
                paths.append(folder / f"{part}-{name}{'' if k is None else f'-{k}'}.png")
                canvas.savefig(paths[-1], dpi=120)
                pyplot.close(canvas)
    return paths


def curves(axes, runs, figure):
    """Draw a curve a method with its spread over seeds, and a dashed line for ε = ∞."""
    for i, method in enumerate(different(runs, "method")):
        own, colour = select(runs, method=method), f"C{i % 10}"
        finite = [e for e in epsilons(own) if e != "inf"]
        points = [select(own, epsilon=epsilon) for epsilon in finite]
        free = select(own, epsilon="inf")
        if points:
            heights = [mean(point, figure) for point in points]
            bars = [spread(point, figure) or 0 for point in points]
            axes.errorbar(finite, heights, bars, marker="o", capsize=3, color=colour, label=method)
        if free:
            name = f"{method}, ε = ∞" if points else method
            axes.axhline(mean(free, figure), linestyle="--", color=colour, label=name)
