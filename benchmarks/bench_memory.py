"""Peak memory of fits whose rows lie in files, against what is allowed.

    python benchmarks/bench_memory.py                      # 10^7 x 64: 2.6 GB a file
    python benchmarks/bench_memory.py --rows 1000000 --allow 120

Allowed is the codes (2 bytes a number; one chunk with cache=False) and --allow MB. Measured is the
growth of the peak resident set, file pages included, of a fresh process after its imports. Exits
with 1 if a fit takes more.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BLOCK = 100_000
CLASSES = 10
SOURCES = ("memmap", "npy", "parquet", "batches")
FITS = ("mixture", "dp_kmeans", "kmeans")


def peak_bytes():
    """Highest resident set of this process so far.

    Not ru_maxrss where it can be had otherwise: that counts the parent's before exec, too.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        import resource  # noqa: PLC0415

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
            1 if sys.platform == "darwin" else 1024
        )
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def blocks(rows, d):
    """Yield unit-norm rows of a mixture and their classes, block by block."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, d)).astype(np.float32)
    for first in range(0, rows, BLOCK):
        size = min(BLOCK, rows - first)
        labels = rng.integers(CLASSES, size=size)
        x = centres[labels] + rng.standard_normal((size, d), dtype=np.float32)
        yield x / np.linalg.norm(x, axis=1, keepdims=True), labels


def write_files(folder, rows, d):
    """Write the rows as .npy and as Parquet, and their classes."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    mapped = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, (rows, d))
    classes = np.empty(rows, np.uint8)
    schema = pa.schema([("embedding", pa.list_(pa.float32(), d)), ("label", pa.int64())])
    first = 0
    with pq.ParquetWriter(folder / "rows.parquet", schema) as writer:
        for x, labels in blocks(rows, d):
            mapped[first : first + len(x)] = x
            classes[first : first + len(x)] = labels
            first += len(x)
            lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), d)
            writer.write_table(pa.table([lists, pa.array(labels)], schema=schema), 1_000_000)
    np.save(folder / "labels.npy", classes)


class Batches:
    """Reads batches from a file, anew for each iterator."""

    def __init__(self, path, d):
        self.path, self.d = path, d

    def __iter__(self):
        with open(self.path, "rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            while len(batch := np.fromfile(file, np.float32, 10_000 * self.d)):
                yield batch.reshape(-1, self.d)


def measure(folder, source, fit, cache, d):
    """Fit in this process and return the growth of its peak, in bytes, and the seconds taken."""

    import cloister  # noqa: PLC0415

    estimator = {
        "mixture": lambda: cloister.DPGaussianMixture(classes=range(CLASSES), cache=cache),
        "dp_kmeans": lambda: cloister.DPKMeans(CLASSES, n_rounds=3, cache=cache),
        "kmeans": lambda: cloister.KMeans(CLASSES, max_iter=10, cache=cache, random_state=0),
    }[fit]()
    rows = {
        "memmap": lambda: np.load(folder / "rows.npy", mmap_mode="r"),
        "npy": lambda: folder / "rows.npy",
        "parquet": lambda: f"{folder}/*.parquet:embedding",
        "batches": lambda: Batches(folder / "rows.npy", d),
    }[source]()
    labels = None
    if fit == "mixture":
        labels = "label" if source == "parquet" else folder / "labels.npy"
    # Lazy imports and thread stacks are no part of what a fit of many rows takes.
    few = np.eye(d, dtype=np.float32)[np.arange(500) % d]
    type(estimator)(**{**estimator.get_params(), "cache": True}).fit(few, np.arange(500) % CLASSES)
    baseline, start = peak_bytes(), time.perf_counter()
    estimator.fit(rows, labels)
    return peak_bytes() - baseline, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--d", type=int, default=64)
    parser.add_argument("--allow", type=float, default=300, help="MB beyond codes or chunk")
    parser.add_argument("--source", choices=SOURCES, nargs="*", default=["memmap", "parquet"])
    parser.add_argument("--fit", choices=FITS, nargs="*", default=["mixture", "dp_kmeans"])
    parser.add_argument("--folder", type=Path, help="where to keep the files; else temporary")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        source, fit, cache = options.case
        print(json.dumps(measure(options.folder, source, fit, cache == "True", options.d)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "labels.npy").exists():
            write_files(folder, options.rows, options.d)
        return compare(options, folder)


def compare(options, folder):
    """Measure every case in a process of its own; return 1 if one takes too much."""
    from cloister.sources.protocol import CHUNK_BYTES  # noqa: PLC0415

    exceeded = 0
    print(f"{options.rows} x {options.d}, float32 rows of {options.rows * options.d * 4e-6:.0f} MB")
    print("source    fit        cache  measured MB  allowed MB  seconds")
    for source in options.source:
        for fit in options.fit:
            for cache in (True, False):
                held = 2 * options.rows * options.d if cache else CHUNK_BYTES
                allowed = held + options.allow * 1e6
                command = [sys.executable, __file__, "--case", source, fit, str(cache)]
                command += ["--folder", str(folder), "--d", str(options.d)]
                answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                measured, seconds = json.loads(answer.stdout)
                verdict = "" if measured <= allowed else "  EXCEEDED"
                exceeded += measured > allowed
                print(
                    f"{source:9} {fit:10} {cache!s:5}  {measured / 1e6:11.0f}  "
                    f"{allowed / 1e6:10.0f}  {seconds:7.1f}{verdict}",
                    flush=True,
                )
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
