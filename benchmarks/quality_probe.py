"""Part 2: test accuracy of classifiers at equal (ε, δ), beside the non-private ones."""

import math
import time

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import quality_rows
import rivals_opacus
import rivals_probe
from cloister import DPGaussianMixture
from cloister.neural import Probe
from quality_records import written

DELTA = 1e-5
OURS = "cloister"
RIVALS = {
    "nearest DP class mean": rivals_probe.nearest_class_mean,
    "DP least squares": rivals_probe.least_squares,
    "DP gradient descent": rivals_probe.gradient_descent,
    "Opacus DP-SGD": rivals_opacus.opacus_sgd,
}
FREE = ("LDA", "two-layer probe")
METHODS = [OURS, *RIVALS, *FREE]
# All rows here are of features that are never negative, which is public.
TRANSFORM = "root"


def run(names, epsilons, methods, seeds, *, options, say):
    """Yield a record of each run."""
    for name in names:
        try:
            data = quality_rows.labelled(name, options.data)
        except quality_rows.MissingData as error:
            say(f"{name}: skipped: {error}")
            continue
        for method in methods:
            private = method not in FREE
            for epsilon in epsilons if private else [math.inf]:
                for seed in seeds if private and math.isfinite(epsilon) else [0]:
                    record = one_run(name, data, method, epsilon, seed, say)
                    if record:
                        yield record


def one_run(name, data, method, epsilon, seed, say):
    if method == "Opacus DP-SGD" and not math.isfinite(epsilon):
        return None  # its accountant has no such case
    begin = time.perf_counter()
    try:
        rules = fit(data, method, epsilon, seed)
    except ImportError as error:
        say(f"{method} is not available here: {error} (benchmarks/requirements-quality.txt)")
        return None
    seconds = time.perf_counter() - begin
    record = {
        "part": "classifiers",
        "rows": name,
        "shape": list(data.rows.shape),
        "method": method,
        "epsilon": written(epsilon),
        "delta": DELTA,
        "seed": seed,
        "seconds": round(seconds, 3),
    }
    for figure, rule in rules.items():
        right = rule.predict(data.test_rows) == data.test_labels
        each = [float(right[data.test_labels == c].mean()) for c in range(data.n_classes)]
        record[figure] = float(right.mean())
        record[f"{figure}_of_classes"] = [round(value, 4) for value in each]
    say(f"{name} {method} ε={epsilon:g}: {record['accuracy']:.4f} in {seconds:.1f} s")
    return record


def fit(data, method, epsilon, seed):
    """Return fitted rules; `accuracy` is that of the method itself."""
    if method == OURS:
        mixture, probe = ours(data, epsilon, seed)
        return {"accuracy": probe, "mixture_accuracy": mixture}
    if method == "LDA":
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3)
        return {"accuracy": model.fit(data.rows, data.labels)}
    if method == "two-layer probe":
        return {"accuracy": Probe().fit(data.rows, data.labels)}
    return {"accuracy": RIVALS[method](data, epsilon, DELTA, seed)}


def ours(data, epsilon, seed):
    """Return the private mixture and the probe that saw nothing but it."""
    mixture = DPGaussianMixture(
        epsilon=epsilon,
        delta=DELTA,
        classes=np.arange(data.n_classes),
        row_transform=TRANSFORM,
        random_state=seed,
    )
    mixture.fit(data.rows, data.labels)
    return mixture, Probe(random_state=seed).fit_mixture(mixture)
