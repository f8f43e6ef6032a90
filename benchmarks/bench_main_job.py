"""The main job on real embeddings: private mixture, samples, probe trained on the mixture alone.

    python benchmarks/bench_main_job.py [--draws 3] [--epsilons 0.5 1 2 8 inf] [--rows 10000]

Reads cifar10_mobilenetv2.npz (see `--data`): 50,000 x 1280 uint8 features, scaled to unit rows.
Prints test accuracy of the mixture's own Bayes rule and of the probe, each as the mean over noise
draws, the probe's on its worst class, beside the non-private figures, and the seconds of each step.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cloister import DPGaussianMixture
from cloister.neural import Probe

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10_mobilenetv2.npz"
CLASSES = range(10)


def load(path):
    def unit(rows):
        rows = rows.astype(np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    with np.load(path) as data:
        return (
            unit(data["x_train"]),
            data["y_train"].astype(int),
            unit(data["x_test"]),
            data["y_test"].astype(int),
        )


def timed(action):
    start = time.perf_counter()
    result = action()
    return result, time.perf_counter() - start


def one_draw(data, epsilon, delta, n_samples, seed):
    x, y, x_test, y_test = data
    model = DPGaussianMixture(
        epsilon=epsilon, delta=delta, classes=CLASSES, row_transform="root", random_state=seed
    )
    _, fit_seconds = timed(lambda: model.fit(x, y))
    _, sample_seconds = timed(lambda: model.sample(n_samples))
    probe, probe_seconds = timed(lambda: Probe(random_state=seed).fit_mixture(model))
    hits = probe.predict(x_test) == y_test
    return {
        "mixture_accuracy": float((model.predict(x_test) == y_test).mean()),
        "probe_accuracy": float(hits.mean()),
        "worst_class_accuracy": min(float(hits[y_test == c].mean()) for c in CLASSES),
        "epsilon_stated": model.privacy_.epsilon,
        "fit_seconds": fit_seconds,
        "sample_seconds": sample_seconds,
        "probe_seconds": probe_seconds,
    }


def non_private(data):
    x, y, x_test, y_test = data
    means = np.stack([x[y == c].mean(axis=0) for c in CLASSES])
    nearest = ((means**2).sum(axis=1) - 2 * x_test @ means.T).argmin(axis=1)
    lda = LinearDiscriminantAnalysis(solver="lsqr").fit(x, y)
    return {
        "nearest class mean": float((nearest == y_test).mean()),
        "LDA": float(lda.score(x_test, y_test)),
        "two-layer probe": float(Probe().fit(x, y).score(x_test, y_test)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[0.5, 1, 2, 8, np.inf])
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--rows", type=int, help="the first so many training rows only")
    parser.add_argument("--skip-non-private", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    x, y, *test = load(arguments.data)
    data = (x[: arguments.rows], y[: arguments.rows], *test)
    report = {
        "delta": arguments.delta,
        "rows": len(data[0]),
        "samples": arguments.samples,
        "private": [],
    }
    print("| epsilon | mixture | probe | spread | worst class | fit s | sample s | probe s |")
    print("|---|---|---|---|---|---|---|---|")
    for epsilon in arguments.epsilons:
        draws = [
            one_draw(data, epsilon, arguments.delta, arguments.samples, seed)
            for seed in range(arguments.draws if np.isfinite(epsilon) else 1)
        ]
        report["private"].append({"epsilon": epsilon, "draws": draws})
        mean = {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}
        spread = float(np.ptp([draw["probe_accuracy"] for draw in draws]))
        print(
            f"| {epsilon:g} | {mean['mixture_accuracy']:.4f} | {mean['probe_accuracy']:.4f} "
            f"| {spread:.4f} | {mean['worst_class_accuracy']:.4f} | {mean['fit_seconds']:.1f} "
            f"| {mean['sample_seconds']:.1f} | {mean['probe_seconds']:.1f} |",
            flush=True,
        )
    if not arguments.skip_non_private:
        report["non_private"] = non_private(data)
        for name, accuracy in report["non_private"].items():
            print(f"| non-private {name} | | {accuracy:.4f} | | | | | |")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
