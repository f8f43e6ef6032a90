"""Slopes of KMeans' time against n, k and d on logarithmic axes: 1 is linear.

    python benchmarks/bench_scaling.py --json scaling.json
    python benchmarks/bench_scaling.py --axis k --repeats 9

Seconds an iteration are (a fit of 6 iterations - one of 2) / 4, of the fastest fits: sizes take
turns, so that other load on the machine falls on all. Besides the fitted slope the steepest one
between neighbours is printed: a cliff hides in a fit.
"""

import argparse
import itertools
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import data
from cloister import DPKMeans, KMeans, set_num_threads
from peers import THREADS

SHORT, LONG = 2, 6
# (n, d, k) of each axis; in n over a factor of 100, in k and d from 64 upwards.
AXES = {
    "n": [(n, 128, 100) for n in (10_000, 31_623, 100_000, 316_228, 1_000_000)],
    "d": [(50_000, d, 256) for d in (64, 128, 256, 512, 1_024, 2_048)],
    "k": [(50_000, 256, k) for k in (64, 128, 256, 512, 1_024, 2_048, 4_096)],
}
POSITION = {"n": 0, "d": 1, "k": 2}
BAR = 1.05


def fit_seconds(estimator, rows, start, iterations):
    k = len(start)
    if estimator == "KMeans":
        model = KMeans(k, init=rows[start], n_init=1, max_iter=iterations, tol=0.0)
    else:
        settings = {"clip_norm": data.ROW_NORM, "n_hint": len(rows), "n_rounds": iterations}
        model = DPKMeans(k, init=rows[start].astype(np.float64), **settings)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a few iterations do not converge is known
        model.fit(rows)
    return time.perf_counter() - begin, model.n_iter_


def measure(estimator, shapes, options):
    """Return seconds an iteration and of the longer fit, for each shape."""
    arrays = []
    for shape in shapes:
        paths = data.make(options.data, *shape, options.folder, embeddings=options.embeddings)
        arrays.append([np.load(path) for path in paths])
    best = [{SHORT: (np.inf, 0), LONG: (np.inf, 0)} for _ in shapes]
    for _ in range(options.repeats):
        for iterations in (SHORT, LONG):
            for fastest, (rows, start) in zip(best, arrays, strict=True):
                one = fit_seconds(estimator, rows, start, iterations)
                fastest[iterations] = min(fastest[iterations], one)
    for shape, one in zip(shapes, best, strict=True):
        if one[SHORT][1] == one[LONG][1]:
            raise SystemExit(f"{shape} converged in {one[LONG][1]} iterations: nothing to compare")
    return [
        {
            "shape": shape,
            "seconds_per_iteration": (one[LONG][0] - one[SHORT][0])
            / (one[LONG][1] - one[SHORT][1]),
            "fit_seconds": one[LONG][0],
        }
        for shape, one in zip(shapes, best, strict=True)
    ]


def slopes(sizes, seconds):
    """Return the least-squares slope of log seconds on log size, and the steepest single one."""
    x, y = np.log(sizes), np.log(np.maximum(seconds, 1e-9))
    pairs = itertools.pairwise(zip(x, y, strict=True))
    return float(np.polyfit(x, y, 1)[0]), max((d - b) / (c - a) for (a, b), (c, d) in pairs)


def report(estimator, axis, points):
    sizes = [point["shape"][POSITION[axis]] for point in points]
    print(f"{estimator} against {axis}, shapes {points[0]['shape']} to {points[-1]['shape']}")
    result = {"estimator": estimator, "axis": axis, "points": points}
    for key in ("seconds_per_iteration", "fit_seconds"):
        seconds = [point[key] for point in points]
        slope, steepest = slopes(sizes, seconds)
        result[f"{key}_slope"], result[f"{key}_steepest"] = slope, float(steepest)
        figures = " ".join(
            f"{size:,}: {value:.4g}" for size, value in zip(sizes, seconds, strict=True)
        )
        print(f"  {key:22} slope {slope:.3f} (bar {BAR}), steepest {steepest:.3f}   {figures}")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--axis", choices=AXES, action="append", help="default: all")
    add("--shape", nargs=3, type=int, action="append", metavar=("N", "D", "K"),
        help="with one --axis: the shapes to walk instead")  # fmt: skip
    add("--estimator", choices=("KMeans", "DPKMeans"), action="append", help="default: KMeans")
    add("--data", choices=data.KINDS, default="embeddings")
    add("--embeddings", help="the .npz of embeddings; default: ../shared/data")
    add("--repeats", type=int, default=5)
    add("--folder", type=Path, default=Path(tempfile.gettempdir()) / "cloister-benchmarks")
    add("--json", type=Path)
    options = parser.parse_args()
    if options.shape and (not options.axis or len(options.axis) > 1 or len(options.shape) < 2):
        parser.error("--shape needs one --axis and at least two shapes")
    set_num_threads(THREADS)
    results = []
    for axis in options.axis or AXES:
        shapes = [tuple(shape) for shape in options.shape or AXES[axis]]
        for estimator in options.estimator or ["KMeans"]:
            results.append(report(estimator, axis, measure(estimator, shapes, options)))
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
