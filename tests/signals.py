"""What the tests of signals and benchmarks/bench_signals.py share: calls that run for seconds.

For the benchmark, scale 4, `tally_of_many_cells` and `nearest_of_many_centres` have the most
centres and features that cloister is made for, 65,536 and 4,096: one tile of rows takes seconds.
"""

import numpy as np

from cloister import DPKMeans, KMeans, _backend
from cloister._backend import Grid, Partition, SoftmaxRegression
from cloister.codes import CodeGrid

KEY = bytes(32)


def encode(rng, scale):
    n, d = 40_000 * scale, 512
    rows = rng.standard_normal((n, d), dtype=np.float32)
    codes, valid = np.empty((n, d), np.int16), np.empty(n, np.bool_)
    return lambda: _backend.encode(rows, CodeGrid(d, 1.0).row_clip, codes, valid)


def noise(rng, scale):
    out = np.empty(4_000_000 * scale, np.int64)
    return lambda: _backend.noise(KEY, 0, 2.0**20, out)


def sample_mixture(rng, scale):
    n, d = 400 * scale, 1024
    factors = rng.standard_normal((1, d, d), dtype=np.float32)
    means, out = np.zeros((1, d), np.float32), np.empty((n, d), np.float32)
    one, components = np.zeros(1, np.int64), np.zeros(n, np.int32)
    return lambda: _backend.sample_mixture(0, 0, means, factors, None, one, components, out)


def codes_of(rng, n, d):
    codes = np.empty((n, d), np.int16)
    rows = rng.standard_normal((n, d), dtype=np.float32)
    _backend.encode(rows, CodeGrid(d, 1.0).row_clip, codes, np.empty(n, np.bool_))
    return codes


def tally_of_many_cells(rng, scale):
    n, d, k = 512, 1024 * scale, 16_384 * scale
    centres = rng.integers(-100, 100, (1, k, d), dtype=np.int16)
    codes, partition = codes_of(rng, n, d), Partition(centres, np.array([0, n]))
    counts, sums = np.zeros((1, k), np.int64), np.zeros((1, k, d), np.int64)
    return lambda: _backend.tally(codes, partition, None, counts, sums)


def nearest_of_many_centres(rng, scale):
    n, d, k = 32, 1024 * scale, 16_384 * scale
    centres = rng.standard_normal((k, d), dtype=np.float32)
    rows, labels = rng.standard_normal((n, d), dtype=np.float32), np.empty(n, np.int32)
    return lambda: _backend.nearest(rows, centres, labels=labels)


def moments(rng, scale):
    n, d = 2_000 * scale, 4096
    codes, offsets = codes_of(rng, n, d), np.array([0, n])
    partition = Partition(np.zeros((1, 1, d), np.int16), offsets)
    clip = CodeGrid(d, 1.0).residual_clip(1.0, 2048)
    out, group = np.zeros((1, d * (d + 1) // 2), np.int64), np.zeros(1, np.int64)
    return lambda: _backend.moments(codes, partition, clip, group, "full", out)


def moments_of_many_cells(rng, scale):
    n, d, k = 100 * scale, 4096, 16_384
    codes, offsets = codes_of(rng, n, d), np.array([0, n])
    centres = rng.integers(-100, 100, (1, k, d), dtype=np.int16)
    clip = CodeGrid(d, 1.0).residual_clip(1.0, 2048)
    out, group = np.zeros((1, 1), np.int64), np.zeros(k, np.int64)
    partition = Partition(centres, offsets)
    return lambda: _backend.moments(codes, partition, clip, group, "trace", out)


def gradient(rng, scale):
    n, d, classes = 500 * scale, 4096, 1000
    codes, weights = codes_of(rng, n, d), rng.standard_normal((classes, d))
    centre, bias = np.zeros(d, np.int16), np.zeros(classes)
    model = SoftmaxRegression.on_grid(CodeGrid(d, 1.0), centre, weights, bias, radius=1.0)
    offsets = np.linspace(0, n, classes + 1).astype(np.int64)
    out = np.zeros((classes, d), np.int64)
    return lambda: _backend.gradient(codes, offsets, model, out)


def bins(rng, scale):
    n, d, axes = 5_000 * scale, 4096, 20
    codes, offsets = codes_of(rng, n, d), np.array([0, n])
    twos = np.full(axes, 2)
    projections = rng.integers(-100, 100, (axes, d), dtype=np.int16)
    grid = Grid(projections, np.zeros(axes, np.int64), np.ones(axes, np.int64), twos)
    counts = np.zeros((1, 2**axes), np.int64)
    return lambda: _backend.bins(codes, grid, offsets, counts)


KERNELS = {
    kernel.__name__: kernel
    for kernel in (
        encode,
        noise,
        sample_mixture,
        tally_of_many_cells,
        nearest_of_many_centres,
        moments,
        moments_of_many_cells,
        gradient,
        bins,
    )
}


def kmeans(rng, scale):
    rows = rng.standard_normal((10_000 * scale, 64), dtype=np.float32)
    return lambda: KMeans(500 * scale, random_state=0).fit(rows)


def dp_kmeans(rng, scale):
    rows = rng.standard_normal((10_000 * scale, 64), dtype=np.float32)
    return lambda: DPKMeans(500 * scale, clip_norm=8.0, random_state=0).fit(rows)


FITS = {fit.__name__: fit for fit in (kmeans, dp_kmeans)}
