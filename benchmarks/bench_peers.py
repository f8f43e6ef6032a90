"""KMeans and DPKMeans beside other packages: speed, error and memory on the same rows and centres.

    python -m pip install -r benchmarks/requirements-peers.txt
    python benchmarks/bench_peers.py --json peers.json --readme README.md
    python benchmarks/bench_peers.py --shape 50000 512 10 --peers cloister sklearnex
    python benchmarks/bench_peers.py --json peers.json --readme README.md --render

Each peer runs in a process of its own with two threads; their calls take turns, so that other load
on the machine falls on all. Rows are float32 and contiguous; a fit ends with the labels of all
rows, by a second call where the peer's own gives none. A peer counts as exact where float64 finds
no centre nearer than its labels and its steps, beyond float32 rounding (`evaluate.py`); † marks a
peer that cannot be given initial centres. Cases are merged into the JSON file as they end, so that
an interrupted run loses one. Private peers of other environments: see `peers_dp.py`.
"""

import argparse
import json
import platform
import tempfile
from pathlib import Path

import data
import measure
import measure_dp
import tables
from peers import PEERS
from peers_dp import PRIVATE_PEERS
from workers import Failed, Missing, Worker

# (iterations of the short fit, of the long one, rounds)
SCHEDULE = {
    (50_000, 512, 10): (2, 10, 15),
    (200_000, 512, 100): (2, 10, 5),
    (1_000_000, 128, 100): (2, 10, 5),
    (200_000, 768, 1_000): (2, 10, 3),
    (100_000, 1_536, 4_096): (1, 3, 3),
}


class Peers:
    """Running peers, for a `with` statement, and the reasons of those that are not here."""

    def __init__(self, names, options, say):
        self.workers, self.missing = [], {}
        for name in names:
            foreign = name in PRIVATE_PEERS and name != "DPKMeans"
            other = {"python": options.dp_python, "path": options.dp_path} if foreign else {}
            try:
                self.workers.append(Worker(name, **other))
            except (Missing, Failed) as error:
                self.missing[name] = {"missing": str(error)}
                say(f"{name} is not available here: {error}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers:
            worker.close()


def run(kind, shape, options, say):
    short, long, repeats = SCHEDULE.get(shape, (2, 10, 5))
    folder = Path(options.folder)
    paths = data.make(kind, *shape, folder, embeddings=options.embeddings, jitter=options.jitter)
    repeats = options.repeats or repeats
    with Peers(options.peers, options, say) as peers:
        settings = {"short": short, "long": long, "patience": options.patience}
        results = measure.run_case(peers.workers, *paths, repeats=repeats, say=say, **settings)
        results |= peers.missing
    private = {}
    if options.private:
        with Peers(options.private, options, say) as peers:
            workers = peers.workers
            private = measure_dp.run_private(
                workers, *paths, repeats=options.private_repeats, say=say
            )
            private |= peers.missing
    return {
        "data": kind,
        "shape": list(shape),
        "iterations": [short, long],
        "repeats": repeats,
        "jitter": options.jitter if kind == "embeddings" else None,
        "machine": platform.processor() or platform.machine(),
        "peaks": options.peaks,
        "peers": results,
        "private": private,
    }


def merge(path, case):
    """Put the case in the file, in the place of an older one of the same data and shape."""
    cases = read(path)
    same = [old for old in cases if (old["data"], old["shape"]) == (case["data"], case["shape"])]
    cases = [old for old in cases if old not in same] + [case]
    path.write_text(json.dumps(cases, indent=1) + "\n")


def read(path):
    return json.loads(path.read_text()) if path and path.exists() else []


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--shape", nargs=3, type=int, action="append", metavar=("N", "D", "K"))
    add("--data", choices=data.KINDS, action="append", help="default: both")
    names = [*PEERS, "DPKMeans"]
    add("--peers", nargs="+", choices=names, default=names, metavar="NAME")
    private = list(PRIVATE_PEERS)
    add("--private", nargs="*", choices=private, default=private, metavar="NAME")
    add("--private-repeats", type=int, default=1)
    add("--dp-python", help="the interpreter of the private peers' own environment")
    add("--dp-path", help="the folder `learning` of a clone of google/differential-privacy")
    add("--repeats", type=int, help="rounds; default: by shape")
    add("--patience", type=float, default=4.0, help="slower peers get one round only")
    add("--embeddings", help="the .npz of embeddings; default: ../shared/data")
    add("--jitter", type=float, default=0.05, help="noise on tiled rows, in row norms")
    add(
        "--peaks",
        nargs=2,
        type=float,
        metavar=("GFLOPS", "GOPS"),
        help="float32 and int8, for floors",
    )
    add("--folder", default=str(Path(tempfile.gettempdir()) / "cloister-benchmarks"))
    add("--json", type=Path, help="file into which cases are merged")
    add("--readme", type=Path, nargs="+", default=[], help="files with marked tables to rewrite")
    add("--render", action="store_true", help="run nothing: tables from the JSON file")
    return parser.parse_args()


def main():
    options = parse()

    def say(text):
        print(f"  {text}", flush=True)

    cases = read(options.json) if options.render else []
    shapes = [tuple(shape) for shape in options.shape or SCHEDULE]
    for kind in [] if options.render else options.data or data.KINDS:
        for shape in shapes:
            print(f"{kind} {shape}", flush=True)
            try:
                case = run(kind, shape, options, say)
            except data.MissingData as error:
                say(f"skipped: {error}")
                continue
            cases.append(case)
            print(tables.one_case(case), flush=True)
            if options.json:
                merge(options.json, case)
    merged = read(options.json) or cases
    print(tables.summary(merged))
    made = {"k-means": tables.summary(merged), "k-means in full": tables.details(merged)}
    for path in options.readme:
        found = tables.rewrite(path, made)
        say(f"{path}: rewrote {', '.join(found) or 'nothing: it has no marker'}")


if __name__ == "__main__":
    main()
