"""KMeans beside scikit-learn's: seconds an iteration, and the inertia that they end with.

Both fit the same float32 array from the same initial centres for the same number of iterations,
in turns, so that other load on the machine falls on both; the medians are printed.

    python benchmarks/bench_kmeans.py
    python benchmarks/bench_kmeans.py --shape 200000 512 100 --repeats 9
"""

import argparse
import statistics
import time
import warnings

import numpy as np
import sklearn.cluster
from sklearn.exceptions import ConvergenceWarning

from cloister.kmeans import KMeans

SHAPES = [(50_000, 512, 10), (200_000, 512, 100), (1_000_000, 128, 100)]


def make_mixture(n, d, k, seed=0):
    """Return rows of k overlapping Gaussians: ten iterations do not settle them."""
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((k, d), dtype=np.float32) * np.float32(0.2)
    rows = rng.standard_normal((n, d), dtype=np.float32)
    rows += means[rng.integers(0, k, n)]
    return rows


def measure(estimator, rows):
    """Return seconds an iteration of a whole fit, and the inertia."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(rows)
    return (time.perf_counter() - start) / estimator.n_iter_, estimator.inertia_


def compare(n, d, k, iterations, repeats):
    rows = make_mixture(n, d, k)
    first = rows[np.random.default_rng(1).choice(n, k, replace=False)].copy()
    settings = {"init": first, "n_init": 1, "max_iter": iterations, "tol": 0.0}
    peers = {
        "cloister": KMeans(k, **settings),
        "scikit-learn": sklearn.cluster.KMeans(k, algorithm="lloyd", **settings),
    }
    seconds = {name: [] for name in peers}
    inertia = {}
    for _ in range(repeats):
        for name, estimator in peers.items():
            duration, inertia[name] = measure(estimator, rows)
            seconds[name].append(duration)
    ours, theirs = (statistics.median(seconds[name]) for name in peers)
    gap = inertia["cloister"] / inertia["scikit-learn"] - 1
    print(
        f"{n:>9,} {d:>5} {k:>5}   {ours:9.4f} {theirs:12.4f} {ours / theirs:6.2f}   "
        f"{inertia['cloister']:.6e} {inertia['scikit-learn']:.6e} {gap:+.1e}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", nargs=3, type=int, metavar=("N", "D", "K"))
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print("        n     d     k    cloister scikit-learn  ratio   inertia of both and their gap")
    for shape in [tuple(options.shape)] if options.shape else SHAPES:
        compare(*shape, options.iterations, options.repeats)


if __name__ == "__main__":
    main()
