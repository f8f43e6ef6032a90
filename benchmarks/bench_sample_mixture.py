"""Sampling a Gaussian: rows per second beside the error of the sample covariance.

The peers draw standard normals and multiply by the Cholesky factor. `covariance_error` is the
largest entry of |sample covariance - covariance| in its standard deviations: about 4.7 is expected
for d = 512 whatever the sampler.
"""

import numpy as np
import pytest

from cloister import _cpu

torch = pytest.importorskip("torch")

N, D = 20_000, 512
THREADS = [1, 2]


def cholesky_factor():
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(D, D)) * np.geomspace(1, 0.05, D)
    covariance = directions @ directions.T / D + 0.01 * np.eye(D)
    return covariance, np.linalg.cholesky(covariance).astype(np.float32)


def record(benchmark, rows, covariance):
    variance = np.diag(covariance)
    deviation = np.sqrt((np.outer(variance, variance) + covariance**2) / len(rows))
    error = np.abs(np.cov(rows.astype(np.float64).T) - covariance) / deviation
    benchmark.extra_info["covariance_error"] = round(float(error.max()), 2)
    benchmark.extra_info["rows_per_s"] = round(len(rows) / benchmark.stats.stats.min)


def kernel(factors, scales, out, threads):
    means = np.zeros((1, D), np.float32)
    covariance_of, components = np.zeros(1, np.int64), np.zeros(len(out), np.int32)

    def call():
        _cpu.sample_mixture(
            1,
            0,
            *out.shape,
            means.ctypes.data,
            factors.ctypes.data,
            0 if scales is None else scales.ctypes.data,
            covariance_of.ctypes.data,
            factors.shape[1],
            components.ctypes.data,
            out.ctypes.data,
            threads,
            0,
        )

    return call


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_full_covariance(benchmark, target, threads):
    if not _cpu.target_supported(target):
        pytest.skip(f"this processor lacks {target}")
    covariance, cholesky = cholesky_factor()
    out = np.empty((N, D), np.float32)
    before = _cpu.target_name()
    _cpu.use_target(target)
    benchmark(kernel(np.ascontiguousarray(cholesky.T)[None], None, out, threads))
    _cpu.use_target(before)
    record(benchmark, out, covariance)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("rank", [0, 16])
def test_low_rank_and_diagonal(benchmark, rank, threads):
    factors = np.random.default_rng(0).normal(size=(1, rank, D)).astype(np.float32) / 4
    out = np.empty((N, D), np.float32)
    benchmark(kernel(factors, np.ones((1, D), np.float32), out, threads))
    record(benchmark, out, factors[0].T.astype(np.float64) @ factors[0] + np.eye(D))


def test_numpy(benchmark):  # threads: those of its BLAS; the normals on one
    covariance, cholesky = cholesky_factor()
    generator = np.random.default_rng(1)
    upper = np.ascontiguousarray(cholesky.T)
    rows = benchmark(lambda: generator.standard_normal((N, D), dtype=np.float32) @ upper)
    record(benchmark, rows, covariance)


@pytest.mark.parametrize("threads", THREADS)
def test_torch(benchmark, threads):
    covariance, cholesky = cholesky_factor()
    upper = torch.from_numpy(np.ascontiguousarray(cholesky.T))
    generator = torch.Generator().manual_seed(1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    normals, rows = torch.empty(N, D), torch.empty(N, D)
    benchmark(lambda: torch.mm(normals.normal_(generator=generator), upper, out=rows))
    torch.set_num_threads(before)
    record(benchmark, rows.numpy(), covariance)
