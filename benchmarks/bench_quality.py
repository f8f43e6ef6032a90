"""Quality at equal (ε, δ): private centres and classifiers, beside rivals and without privacy.

    python -m pip install -r benchmarks/requirements-quality.txt
    python benchmarks/bench_quality.py --json docs/quality.json --tables README.md docs/quality.md \
      --figure docs/quality.svg --plots plots
    python benchmarks/bench_quality.py --parts k-means --rows mnist --k 10 --epsilon 1 --seeds 1
    python benchmarks/bench_quality.py --json docs/quality.json --tables docs/quality.md --render

Runs are merged into the JSON file as they end, so that pieces can be run one by one; tables and
plots are of everything in the file. Part 1 is k-means (`quality_kmeans.py`), part 2 classifiers
(`quality_probe.py`); the rows of both are in `quality_rows.py`. Google's clustering and diffprivlib
run from an environment of their own (`--dp-python`, `--dp-path`; see `peers_dp.py`).
"""

import argparse
import math
from pathlib import Path

import quality_kmeans
import quality_plots
import quality_probe
import quality_records
import quality_rows
import quality_tables
import tables

PARTS = ("k-means", "classifiers")
KMEANS_ROWS = [*quality_rows.SYNTH, "mnist", "fashion_mnist", "cifar10_mobilenetv2"]
CLASSIFIER_ROWS = list(quality_rows.REAL)
KMEANS_EPSILONS = (0.25, 0.5, 1, 4, math.inf)
CLASSIFIER_EPSILONS = (0.5, 1, 2, 8, math.inf)
METHODS = [*quality_kmeans.METHODS, *quality_probe.METHODS]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--parts", choices=PARTS, nargs="+", default=PARTS)
    add("--rows", choices=quality_rows.NAMES, nargs="+", help="default: all of the part")
    add("--k", type=int, nargs="+", default=[10, 64, 100], help="clusters of real rows")
    add("--epsilon", type=float, nargs="+", help="default: by part, with inf for no noise")
    add("--methods", choices=METHODS, nargs="+", default=METHODS, metavar="METHOD")
    add("--seeds", type=int, default=3, help="noise draws of each")
    add("--data", nargs="+", help="folders of real data; default: ../shared/data by the checkout")
    add("--dp-python", help="the interpreter of the environment of Google's and diffprivlib")
    add("--dp-path", help="the folder `learning` of a clone of google/differential-privacy")
    add("--json", type=Path, help="file into which runs are merged")
    add("--plots", type=Path, help="folder for PNG curves")
    add("--figure", type=Path, help="the README's figure, SVG or PNG")
    add("--tables", type=Path, nargs="+", default=[], help="files with marked tables to rewrite")
    add("--render", action="store_true", help="run nothing: tables and plots from the JSON file")
    return parser.parse_args()


def records(options, say):
    """Yield a record of each run that was asked for."""
    seeds = range(options.seeds)
    methods = options.methods
    own = {"options": options, "say": say}
    if "k-means" in options.parts:
        names, epsilons = options.rows or KMEANS_ROWS, options.epsilon or KMEANS_EPSILONS
        yield from quality_kmeans.run(
            names,
            options.k,
            epsilons,
            [m for m in methods if m in quality_kmeans.METHODS],
            seeds,
            **own,
        )
    if "classifiers" in options.parts:
        names, epsilons = options.rows or CLASSIFIER_ROWS, options.epsilon or CLASSIFIER_EPSILONS
        names = [name for name in names if name not in quality_rows.SYNTH]  # they have no labels
        yield from quality_probe.run(
            names, epsilons, [m for m in methods if m in quality_probe.METHODS], seeds, **own
        )


def main():
    options = parse()

    def say(text):
        print(f"  {text}", flush=True)

    made = []
    for record in [] if options.render else records(options, say):
        made.append(record)
        if options.json:
            quality_records.merge(options.json, record)
    everything = quality_records.read(options.json) or made
    texts = quality_tables.tables(everything)
    for name, text in texts.items():
        print(f"\n{name}\n\n{text}")
    for path in options.tables:
        found = tables.rewrite(path, texts)
        say(f"{path}: rewrote {', '.join(found) or 'nothing: it has no marker'}")
    try:
        if options.plots:
            say(f"{options.plots}: {len(quality_plots.draw(everything, options.plots))} plots")
        if options.figure:
            quality_plots.figure(everything, options.figure)
            say(f"{options.figure}: drawn")
    except ImportError as error:
        say(f"no plots: {error} (benchmarks/requirements-quality.txt)")


if __name__ == "__main__":
    main()
