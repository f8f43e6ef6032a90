"""How the constants of the rival classifiers were chosen: every setting of a grid, best first.

    python benchmarks/quality_tune.py gradient_descent

Accuracy is that on 10,000 training rows of Fashion-MNIST held out from the fit, mean of two noise
seeds and of the ε given. No test row of any set is looked at.
"""

import argparse
import itertools
import statistics
import sys

import quality_rows
import rivals_opacus
import rivals_probe

GRIDS = {
    "nearest_class_mean": {"transform": [None, "root"]},
    "least_squares": {
        "transform": [None, "root"],
        "share": [0.3, 0.5, 0.7],
        "ridge": [0.03, 0.1, 0.3, 1.0],
    },
    "gradient_descent": {
        "transform": [None, "root"],
        "mean_share": [0.0, 0.03],
        "steps": [40, 80, 160],
        "rate": [8.0, 16.0, 32.0, 64.0, 128.0],
        "noise_step": [0.2, 0.3, 0.45, 0.65],
        "clip": [0.5, 1.0],
    },
    "opacus_sgd": {"rate": [1.0, 4.0], "clip": [0.5, 1.0]},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rival", choices=GRIDS)
    parser.add_argument("--vary", nargs="+", metavar="NAME", help="the rest as it is by default")
    parser.add_argument("--rows", choices=quality_rows.NAMES, default="fashion_mnist")
    parser.add_argument("--data", nargs="+", help="folders; default: ../shared/data")
    parser.add_argument("--held-out", type=int, default=10_000)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.5, 2.0])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    data = quality_rows.labelled(options.rows, options.data).held_out(options.held_out)
    fit = getattr(rivals_probe, options.rival, None) or getattr(rivals_opacus, options.rival)
    grid = GRIDS[options.rival]
    grid = {name: grid[name] for name in options.vary or grid}
    found = []
    for values in itertools.product(*grid.values()):
        setting = dict(zip(grid, values, strict=True))
        accuracies = [
            float((fit(data, epsilon, 1e-5, seed, **setting).predict(data.test_rows)
                   == data.test_labels).mean())
            for epsilon in options.epsilon
            for seed in range(options.seeds)
        ]  # fmt: skip
        found.append((statistics.fmean(accuracies), setting))
        print(*found[-1], file=sys.stderr)
    for accuracy, setting in sorted(found, key=lambda one: -one[0]):
        print(f"{accuracy:.4f} {setting}")


if __name__ == "__main__":
    main()
