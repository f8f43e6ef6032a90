"""Encode (clip, round, check): share of the memory bandwidth measured beside it.

Bandwidth is the best of two plain loops of the C library on the same number of threads, bytes read
plus bytes written a second: memcpy (1 : 1) and memchr for a byte that is not there (reads only).
Rows and outputs are 400 MB and touched before, so what a first write to fresh pages costs is not
counted; the last column of the table counts it: that is what a fit pays, once.

python benchmarks/bench_encode.py [--threads 2] [--megabytes 400] [--repeats 7]
"""

import argparse
import ctypes
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import reference
from cloister import _backend
from cloister.codes import CodeGrid

FEATURES = [64, 128, 512, 1536]
DTYPES = ["float32", "float16", "float64"]

libc = ctypes.CDLL(None)
libc.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
libc.memchr.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.memchr.restype = ctypes.c_void_p


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Bandwidth:
    """Plain loops over two touched buffers; ctypes releases the GIL."""

    def __init__(self, n_bytes: int, pool: ThreadPoolExecutor, threads: int) -> None:
        self.source, self.target = np.ones(n_bytes, np.uint8), np.ones(n_bytes, np.uint8)
        self.pool, self.part, self.parts = pool, n_bytes // threads, range(threads)
        self.best = {"memcpy": 0.0, "memchr": 0.0}

    def _share(self, kind: str, index: int) -> None:
        offset = index * self.part
        source = self.source.ctypes.data + offset
        if kind == "memcpy":
            libc.memcpy(self.target.ctypes.data + offset, source, self.part)
        else:
            assert libc.memchr(source, 2, self.part) is None

    def measure(self) -> None:
        for kind, moved in (("memcpy", 2), ("memchr", 1)):
            duration = seconds(lambda k=kind: list(self.pool.map(lambda i: self._share(k, i), self.parts)))
            rate = moved * self.part * len(self.parts) / duration
            self.best[kind] = max(self.best[kind], rate)


def rows_of(n_bytes: int, d: int, dtype: str) -> np.ndarray:
    rows = np.empty((n_bytes // (d * np.dtype(dtype).itemsize), d), dtype)
    tile = np.random.default_rng(d).standard_normal((4096, d)).astype(dtype)
    for first in range(0, len(rows), len(tile)):
        rows[first : first + len(tile)] = tile[: len(rows) - first]
    return rows


def largest_difference(rows: np.ndarray, codes: np.ndarray, clip: object) -> int:
    sample = np.linspace(0, len(rows) - 1, 100).astype(int)
    expected, _ = reference.encode(rows[sample], clip)
    return int(np.abs(expected.astype(int) - codes[sample]).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    _backend.set_num_threads(options.threads)
    n_bytes = options.megabytes * 10**6
    print(f"{options.threads} threads, {_backend.target()}, best of {options.repeats}")
    print("dtype      d    memcpy  reading   encode   share  difference  with fresh pages")
    with ThreadPoolExecutor(options.threads) as pool:
        bandwidth = Bandwidth(n_bytes, pool, options.threads)
        for dtype in DTYPES:
            for d in FEATURES:
                rows = rows_of(n_bytes, d, dtype)
                codes, valid = np.ones(rows.shape, np.int16), np.ones(len(rows), np.bool_)
                clip = CodeGrid(d, 1.0).row_clip
                bandwidth.best = dict.fromkeys(bandwidth.best, 0.0)
                moved = rows.nbytes + codes.nbytes
                best = 0.0
                for _ in range(options.repeats):  # interleaved: both see the same machine
                    bandwidth.measure()
                    spent = seconds(lambda r=rows, t=clip, c=codes, v=valid: _backend.encode(r, t, c, v))
                    best = max(best, moved / spent)
                fresh = moved / seconds(
                    lambda r=rows, t=clip, v=valid: _backend.encode(r, t, np.empty(r.shape, np.int16), v)
                )
                share = best / max(bandwidth.best.values())
                print(
                    f"{dtype:8} {d:4}  {bandwidth.best['memcpy'] / 1e9:5.1f}    "
                    f"{bandwidth.best['memchr'] / 1e9:5.1f}    {best / 1e9:5.1f}   {share:5.0%}"
                    f"{largest_difference(rows, codes, clip):10}  {fresh / 1e9:12.1f} GB/s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
