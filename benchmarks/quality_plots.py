"""Curves of loss and accuracy against ε: one PNG a data set, and the README's figure.

All need matplotlib.
"""

from importlib import import_module

import quality_kmeans
import quality_probe
from quality_records import different, epsilons, mean, select, spread

METHODS = [*quality_kmeans.METHODS, *quality_probe.METHODS]
# What has no ε is a horizontal line.
FIGURES = {"k-means": ("loss", "mean squared distance"), "classifiers": ("accuracy", "accuracy")}
# The README's: accuracy on embeddings and loss of many clusters, where rivals differ most.
PANELS = (("classifiers", "cifar10_mobilenetv2", None), ("k-means", "mnist", 64))


def pyplot(**settings):
    """Return matplotlib's module of that name; ImportError where it is missing."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")
    matplotlib.rcParams.update(settings)
    return import_module("matplotlib.pyplot")


def draw(records, folder):
    """Write a plot a data set and return their paths."""
    plots = pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in FIGURES:
        for name in different(select(records, part=part), "rows"):
            for k in different(select(records, part=part, rows=name), "k"):
                canvas, axes = plots.subplots(figsize=(6, 4), layout="constrained")
                panel(axes, records, part, name, k)
                axes.legend(fontsize="small")
                paths.append(folder / f"{part}-{name}{'' if k is None else f'-{k}'}.png")
                canvas.savefig(paths[-1], dpi=120)
                plots.close(canvas)
    return paths


def figure(records, path, panels=PANELS):
    """Write the panels side by side to one file, the same bytes for the same records."""
    settings = {"svg.hashsalt": "cloister", "svg.fonttype": "none", "font.size": 9}
    plots = pyplot(**settings)
    canvas, axes = plots.subplots(1, len(panels), figsize=(9, 4.2), layout="constrained")
    for one, (part, name, k) in zip(axes, panels, strict=True):
        panel(one, records, part, name, k)
        one.legend(fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    canvas.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plots.close(canvas)


def panel(axes, records, part, name, k):
    """Draw the curves of one data set, with their labels."""
    label, title = FIGURES[part][1], name if k is None else f"{name}, k = {k}"
    runs = select(records, part=part, rows=name, k=k)
    curves(axes, runs, FIGURES[part][0])
    axes.set(title=title, xlabel="ε", ylabel=label, xscale="log")
    ticks = [epsilon for epsilon in epsilons(runs) if epsilon != "inf"]
    axes.set_xticks(ticks, [f"{epsilon:g}" for epsilon in ticks])
    axes.set_xticks([], minor=True)


def curves(axes, runs, figure):
    """Draw a curve a method with its spread over seeds, and a dashed line for ε = ∞."""
    for i, method in enumerate(sorted(different(runs, "method"), key=METHODS.index)):
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
