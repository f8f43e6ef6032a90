"""Rows of a Gaussian a second, cloister's kernel and torch in turn, an error beside each.

torch draws standard normals, multiplies by the Cholesky factor (full), by the factors (low rank),
or by the scales (diagonal), and adds the mean, all in float32, in place, by chunks: the best of
several sizes of chunk is shown. The error is that of the sample covariance, ||S - C|| / ||C|| in
Frobenius norm, over its expectation for exact samples of that number: about 1 if it is right.

python benchmarks/bench_sample_mixture.py [--threads 2] [--rows 100000] [--repeats 7]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from cloister import _backend

D = 512
CHUNKS = [512, 2048, 8192, 32768]


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Problem:
    """A covariance as the kernel and as torch take it: factors (rank, d), scales (d,) or None."""

    def __init__(self, rank: int | None) -> None:
        generator = np.random.default_rng(0)
        self.mean = generator.normal(size=(1, D)).astype(np.float32)
        if rank is None:
            directions = generator.normal(size=(D, D)) * np.geomspace(1, 0.05, D)
            covariance = directions @ directions.T / D + 0.01 * np.eye(D)
            self.factors = np.ascontiguousarray(np.linalg.cholesky(covariance).T, np.float32)
            self.scales = None
        else:
            self.factors = generator.normal(size=(rank, D)).astype(np.float32) / 4
            self.scales = generator.uniform(0.5, 2, D).astype(np.float32)

    def covariance(self) -> np.ndarray:
        factors = self.factors.astype(np.float64)
        covariance = factors.T @ factors
        return covariance if self.scales is None else covariance + np.diag(self.scales**2)

    def relative_error(self, rows: np.ndarray) -> float:
        exact = self.covariance()
        centred = rows - rows.mean(axis=0, dtype=np.float64)
        error = np.sum((centred.T @ centred / len(rows) - exact) ** 2)
        return float(np.sqrt(error / ((np.trace(exact) ** 2 + np.sum(exact**2)) / len(rows))))

    def kernel(self, out: np.ndarray) -> Callable[[], object]:
        scales = None if self.scales is None else self.scales[None]
        components, covariance_of = np.zeros(len(out), np.int32), np.zeros(1, np.int64)
        return lambda: _backend.sample_mixture(
            1, 0, self.mean, self.factors[None], scales, covariance_of, components, out
        )

    def torch(self, out: np.ndarray, chunk: int) -> Callable[[], object]:
        generator = torch.Generator().manual_seed(1)
        rows, mean = torch.from_numpy(out), torch.from_numpy(self.mean)
        factors = torch.from_numpy(self.factors)
        scales = None if self.scales is None else torch.from_numpy(self.scales)
        normals, own = torch.empty(chunk, len(factors)), torch.empty(chunk, D)

        def call() -> None:
            for part in rows.split(chunk):
                n = len(part)
                if scales is None:
                    z = normals[:n].normal_(generator=generator)
                    torch.addmm(mean, z, factors, out=part)
                    continue
                torch.addcmul(mean, own[:n].normal_(generator=generator), scales, out=part)
                if len(factors):
                    part.addmm_(normals[:n].normal_(generator=generator), factors)

        return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    _backend.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    print(f"d = {D}, {options.threads} threads, {_backend.target()}, best of {options.repeats}")
    print("covariance      cloister rows/s  error    torch rows/s  error  chunk   ratio")
    for name, rank in (("full", None), ("low rank 16", 16), ("low rank 64", 64), ("diagonal", 0)):
        problem = Problem(rank)
        ours, theirs = (np.ones((options.rows, D), np.float32) for _ in range(2))
        kernel = problem.kernel(ours)
        peers = {chunk: problem.torch(theirs, chunk) for chunk in CHUNKS}
        times: dict[object, list[float]] = {key: [] for key in ("kernel", *CHUNKS)}
        for _ in range(options.repeats):
            times["kernel"].append(seconds(kernel))
            for chunk, call in peers.items():
                times[chunk].append(seconds(call))
        best = {key: options.rows / min(spent) for key, spent in times.items()}
        chunk = max(CHUNKS, key=lambda key: best[key])
        print(
            f"{name:14} {best['kernel']:16,.0f} {problem.relative_error(ours):6.3f}"
            f" {best[chunk]:15,.0f} {problem.relative_error(theirs):6.3f} {chunk:6}"
            f" {best['kernel'] / best[chunk]:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
