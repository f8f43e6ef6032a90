"""DPKMeans at the corners: few and many rows, features, clusters, and every size of epsilon.

    python benchmarks/bench_grid.py --json grid.json --tables docs/quality.md
    python benchmarks/bench_grid.py --cases zeros line --epsilon 1 inf --seeds 1
    python benchmarks/bench_grid.py --cases plane-200 --init gaussian histogram

Figures are mean squared distances in units of that to the exact mean. δ = 1e-6, R = 1, and nothing
else is known of the rows but, with more than one --init, their number (`n_hint`).
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np

import quality_records
import tables
from cloister import DPKMeans, KMeans

DELTA = 1e-6
EPSILONS = (0.05, 0.1, 0.25, 1, 4, 20, 1e6, math.inf)
MARKER = "k-means grid"


def clusters(n, d, k, width, shares=None):
    """Return n rows about k centres on the sphere of radius 0.8, within `width` of them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((k, d))
    centres *= 0.8 / np.linalg.norm(centres, axis=1, keepdims=True)
    rows = centres[rng.choice(k, n, p=shares)]
    rows += width / np.sqrt(d) * rng.standard_normal((n, d))
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)).astype(np.float32)


def filling(n, d, k, width):
    """Return rows about centres that fill the ball of radius 0.9."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((k, d))
    centres *= 0.9 * rng.random((k, 1)) ** (1 / d) / np.linalg.norm(centres, axis=1, keepdims=True)
    rows = centres[rng.integers(k, size=n)] + width / np.sqrt(d) * rng.standard_normal((n, d))
    return rows.astype(np.float32)


def line(n, d):
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(d)
    places = rng.uniform(-1, 1, (n, 1))
    return (places * direction / np.linalg.norm(direction)).astype(np.float32)


CASES = {  # rows and k
    "two": lambda: (clusters(100_000, 2, 2, 0.05), 2),
    "few-rows": lambda: (clusters(1_000, 16, 8, 0.1), 8),
    "few-rows-wide": lambda: (clusters(1_000, 512, 8, 0.1), 8),
    "widest": lambda: (clusters(20_000, 4096, 10, 0.1), 10),
    "many-clusters": lambda: (clusters(400_000, 8, 4096, 0.02), 4096),
    "more-than-rows": lambda: (clusters(500, 8, 50, 0.1), 1_000),
    "unequal": lambda: (clusters(100_000, 16, 20, 0.1, [0.99, *[0.01 / 19] * 19]), 20),
    "huge-norm": lambda: (0.01 * clusters(20_000, 16, 8, 0.1), 8),
    "duplicates": lambda: (np.repeat(clusters(5, 16, 5, 0.1), 4_000, axis=0), 5),
    "zeros": lambda: (np.zeros((20_000, 16), np.float32), 8),
    "line": lambda: (line(20_000, 32), 16),
    "plane-200": lambda: (filling(100_000, 2, 200, 0.004), 200),
    "plane-1000": lambda: (filling(100_000, 2, 1_000, 0.004), 1_000),
    "space-1000": lambda: (filling(100_000, 3, 1_000, 0.01), 1_000),
    "five-1000": lambda: (filling(100_000, 5, 1_000, 0.03), 1_000),
}


def one_mean(rows):
    """Return the mean squared distance to the mean, or to have a unit, 1 where that is zero."""
    return float(rows.var(axis=0, dtype=np.float64).sum()) or 1.0


def measure(name, epsilons, inits, seeds, say):
    """Yield a record of each run."""
    rows, k = CASES[name]()
    unit = one_mean(rows)
    common = {"part": "grid", "rows": name, "shape": list(rows.shape), "k": k}

    def record(method, epsilon, seed, begin, loss):
        seconds = round(time.perf_counter() - begin, 3)
        say(f"{name} {method} ε={epsilon:g}: {loss / unit:.4g} in {seconds} s")
        epsilon = quality_records.written(epsilon)
        run = {"method": method, "epsilon": epsilon, "seed": seed, "seconds": seconds}
        return {**common, **run, "loss": loss / unit}

    if k < len(np.unique(rows, axis=0)):
        begin = time.perf_counter()
        model = KMeans(k, n_init=3, random_state=0).fit(rows)
        yield record("KMeans", math.inf, 0, begin, model.inertia_ / len(rows))
    for init in inits:
        hint = {"n_hint": len(rows), "init": init} if len(inits) > 1 else {"init": init}
        for epsilon in epsilons:
            for seed in range(seeds) if math.isfinite(epsilon) else [0]:
                begin = time.perf_counter()
                model = DPKMeans(k, epsilon, DELTA, random_state=seed, **hint).fit(rows)
                yield record(f"DPKMeans {init}", epsilon, seed, begin, -model.score(rows))


def table(records):
    """Return a line a case and start, a column an ε."""
    ours = [r for r in records if r["method"] != "KMeans"]
    columns = quality_records.epsilons(ours)
    titles = [f"ε = {'∞' if e == 'inf' else format(e, 'g')}" for e in columns]
    lines = [f"| case: n × d, k | start | {' | '.join(titles)} | KMeans |"]
    lines.append("|---|---|" + "---|" * (len(columns) + 1))
    for name in quality_records.different(ours, "rows"):
        case = quality_records.select(records, rows=name)
        best = quality_records.mean(quality_records.select(case, method="KMeans"), "loss")
        title = f"{name}: {tables.shape(case[0])}, {case[0]['k']:,}"
        for method in quality_records.different(quality_records.select(ours, rows=name), "method"):
            runs = quality_records.select(case, method=method)
            found = [quality_records.select(runs, epsilon=e) for e in columns]
            cells = [figure(quality_records.mean(one, "loss")) for one in found]
            start = method.removeprefix("DPKMeans ")
            lines.append(f"| {title} | {start} | {' | '.join(cells)} | {figure(best)} |")
    return "\n".join(lines)


def figure(value):
    return "–" if value is None else "0" if value < 1e-9 else f"{value:.3g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cases", choices=CASES, nargs="+", default=list(CASES), metavar="CASE")
    add("--epsilon", type=float, nargs="+", default=EPSILONS)
    add("--init", nargs="+", default=["auto"])
    add("--seeds", type=int, default=3, help="noise draws of each")
    add("--json", type=Path, help="file into which runs are merged")
    add("--tables", type=Path, nargs="+", default=[], help="files with marked tables to rewrite")
    add("--render", action="store_true", help="run nothing: tables from the JSON file")
    options = parser.parse_args()

    def say(text):
        print(f"  {text}", flush=True)

    made = []
    for name in [] if options.render else options.cases:
        for record in measure(name, options.epsilon, options.init, options.seeds, say):
            made.append(record)
            if options.json:
                quality_records.merge(options.json, record)
    text = table(quality_records.read(options.json) or made)
    print(f"\n{text}")
    for path in options.tables:
        tables.rewrite(path, {MARKER: text})


if __name__ == "__main__":
    main()
