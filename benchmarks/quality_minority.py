"""Do rare classes keep their share? Half are whole, three tenths thinned to 10 %, two to 1 %.

    python benchmarks/quality_minority.py --rows fashion_mnist

Prints a table: accuracy on the test rows of each group of classes, mean over noise draws, beside
rules that are not private on the same thinned rows.
"""

import argparse
import math
from dataclasses import replace

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import quality_rows
from cloister import DPGaussianMixture
from cloister.neural import Probe
from quality_probe import DELTA, TRANSFORM

RULES = {"LDA": None, "LDA, uniform prior": "uniform"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", choices=quality_rows.NAMES, default="fashion_mnist")
    parser.add_argument("--data", help="folder of the real data; default: ../shared/data")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 4.0, math.inf])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data = thinned(quality_rows.labelled(options.rows, options.data))
    print(f"| {len(data.rows):,} rows | ε | whole | 10 % | 1 % | all classes alike |")
    print("|---|---|---|---|---|---|")
    for name, prior in RULES.items():
        priors = None if prior is None else np.full(data.n_classes, 1 / data.n_classes)
        rule = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3, priors=priors)
        show(name, math.inf, [recalls(rule.fit(data.rows, data.labels), data)])
    show("two-layer probe", math.inf, [recalls(Probe().fit(data.rows, data.labels), data)])
    for epsilon in options.epsilon:
        for prior in (None, "uniform"):
            seeds = range(options.seeds if math.isfinite(epsilon) else 1)
            found = [recalls(ours(data, epsilon, prior), data) for _ in seeds]
            show("cloister" + (", uniform prior" if prior else ""), epsilon, found)


def thinned(data):
    """Return the first rows of each class, so many as its group keeps."""
    kept = []
    for share, group in zip((1, 0.1, 0.01), groups(data.n_classes), strict=True):
        members = [np.flatnonzero(data.labels == c) for c in group]
        kept += [mine[: round(share * len(mine))] for mine in members]
    order = np.sort(np.concatenate(kept))
    return replace(data, rows=data.rows[order], labels=data.labels[order])


def groups(n_classes):
    """Return the classes that are whole, thinned to 10 % and to 1 %."""
    first, second = n_classes // 2, 4 * n_classes // 5
    return range(first), range(first, second), range(second, n_classes)


def ours(data, epsilon, prior):
    mixture = DPGaussianMixture(
        epsilon=epsilon,
        delta=DELTA,
        classes=np.arange(data.n_classes),
        row_transform=TRANSFORM,
        class_prior=prior,
    )
    return mixture.fit(data.rows, data.labels)


def recalls(rule, data):
    right = rule.predict(data.test_rows) == data.test_labels
    return [right[data.test_labels == c].mean() for c in range(data.n_classes)]


def show(name, epsilon, found):
    mean = 100 * np.mean(found, axis=0)
    each = [mean[list(group)].mean() for group in groups(len(mean))]
    cells = " | ".join(f"{value:.1f}" for value in [*each, mean.mean()])
    print(f"| {name} | {'∞' if math.isinf(epsilon) else f'{epsilon:g}'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
