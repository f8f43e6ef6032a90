"""Exact sums where a way of adding ends: runs of rows, tiles of columns, tables, parts, int32."""

import numpy as np
import pytest

import reference
import reference_gradient
from cloister import _backend
from cloister._backend import Grid, Partition
from cloister.codes import CODE_BOUND, MOMENT_BOUND, Clip, CodeGrid
from on_device import on_device
from test_gradient import gradient, regression
from test_moments_bins import moments
from test_tally import random_codes, tally


@pytest.fixture
def small_cache(monkeypatch, emulated_cuda):
    """A device whose cache holds next to nothing: data sets come in many parts."""
    monkeypatch.setenv("CLOISTER_EMULATED_CACHE", "1024")
    with on_device():
        yield


def residuals(codes, centres, clip):
    """Of all rows at once, each with its own centre: `reference.residual` in arrays."""
    differences = codes.astype(np.int64) - centres
    norms = np.sqrt((differences**2).sum(axis=1).astype(np.float64))
    factors = clip.target / np.maximum(norms, clip.radius)
    out = np.rint(differences * factors[:, None]).astype(np.int64)
    for i in np.flatnonzero((out**2).sum(axis=1) > clip.bound**2):
        out[i] = reference.keep_in_ball(out[i], clip.bound)
    return out


def expected_tally(codes, centres, clip):
    """One class, in numpy's int64."""
    wide = centres.astype(np.int64)
    scores = (wide**2).sum(axis=1) - 2 * codes.astype(np.int64) @ wide.T
    cells = scores.argmin(axis=1)
    counts = np.bincount(cells, minlength=len(centres))
    sums = np.zeros(centres.shape, dtype=np.int64)
    np.add.at(sums, cells, codes if clip is None else residuals(codes, wide[cells], clip))
    return counts[None], sums[None]


def assert_tally(codes, centres, clip):
    partition = Partition(centres[None], np.array([0, len(codes)]))
    for found, expected in zip(
        tally(codes, partition, clip), expected_tally(codes, centres, clip), strict=True
    ):
        assert (found == expected).all()


@pytest.mark.parametrize("d", [1, 7, 8, 64, 65, 72, 512, 513, 520, 1024, 1025, 1032, 4096])
@pytest.mark.parametrize("radius", [None, 0.3, 1e-3])
def test_columns_that_end_with_or_within_a_tile(target, rng, d, radius):
    clip = radius and CodeGrid(d, 1.0).residual_clip(radius)
    assert_tally(random_codes(rng, 45, d), random_codes(rng, 3, d), clip or None)


@pytest.mark.parametrize("bounds", [(1.0, 1), (2.6, 3), (20.0, 20)])
@pytest.mark.parametrize("d", [3, 40, 70, 600, 1032, 1100])
def test_residuals_that_rounding_takes_out_of_the_ball_step_back(target, rng, d, bounds):
    target_norm, bound = bounds
    clip = Clip(1e-3, target_norm, bound)
    assert_tally(random_codes(rng, 100, d), random_codes(rng, 2, d), clip)


@pytest.mark.parametrize("d", [2, 72])
@pytest.mark.parametrize("size", [31, 32, 33, 64, 127, 128, 511, 512])
def test_cells_that_end_with_a_run(target, rng, d, size):
    """Cells of the same size in one order, whatever the order of the rows."""
    centres = np.zeros((5, d), dtype=np.int16)
    centres[:, 0] = np.linspace(-12_000, 12_000, 5)
    codes = np.repeat(centres[[0, 1, 3, 4]], [size, 2 * size, 0, size - 1], axis=0)
    codes += rng.integers(-50, 51, size=codes.shape).astype(np.int16)
    codes = codes[rng.permutation(len(codes))]
    for clip in (None, CodeGrid(d, 1.0).residual_clip(0.002)):
        assert_tally(codes, centres, clip)


@pytest.mark.parametrize("distance", [1e-3, 3.0])
@pytest.mark.parametrize("d", [1, 70, 1032])
def test_opposite_points_differ_by_more_than_int16(target, d, distance):
    codes, centres = np.zeros((9, d), np.int16), np.zeros((1, d), np.int16)
    codes[:, 0], centres[:, 0] = CODE_BOUND, -CODE_BOUND
    codes[4:] = -codes[4:]
    assert_tally(codes, centres, CodeGrid(d, 1.0).residual_clip(distance))
    assert_tally(-codes, -centres, CodeGrid(d, 1.0).residual_clip(distance))


@pytest.mark.parametrize("sign", [1, -1])
def test_more_rows_of_the_largest_code_than_int32_holds(target, sign):
    codes = np.full((140_000, 1), sign * CODE_BOUND, dtype=np.int16)
    counts, sums = tally(codes, Partition(np.zeros((1, 1, 1), np.int16), np.array([0, 140_000])))
    assert (counts[0, 0], sums[0, 0, 0]) == (140_000, sign * 140_000 * CODE_BOUND)
    assert abs(sums[0, 0, 0]) > 2**31


def test_sums_wrap(target):
    """Modulo 2^64: what a user adds up may overflow, and comes back when it is taken off."""
    largest = np.iinfo(np.int64).max
    codes = np.ones((3, 1), dtype=np.int16)
    partition = Partition(np.zeros((1, 1, 1), dtype=np.int16), np.array([0, 3]))
    counts, sums = np.zeros((1, 1), np.int64), np.full((1, 1, 1), largest)
    _backend.tally(codes, partition, None, counts, sums)
    assert sums[0, 0, 0] == largest - 2**64 + 3
    _backend.tally(-codes, partition, None, counts, sums)
    assert (counts[0, 0], sums[0, 0, 0]) == (6, largest)


def test_no_rows(target, rng):
    codes, zero = np.zeros((0, 5), np.int16), np.zeros(1, dtype=np.int64)
    partition = Partition(random_codes(rng, 2, 5)[None], np.array([0, 0]))
    clip = CodeGrid(5, 1.0).residual_clip(0.3, MOMENT_BOUND)
    assert not any(part.any() for part in tally(codes, partition, clip))
    for moment in ("full", "diagonal", "trace"):
        assert not moments(codes, partition, clip, np.zeros(2, np.int64), moment).any()
    counts = np.zeros((1, 3), dtype=np.int64)
    _backend.bins(
        codes, Grid(random_codes(rng, 1, 5), zero, zero + 1, zero + 3), partition.offsets, counts
    )
    assert not counts.any()


@pytest.mark.parametrize("k", [4096, 4097, 65_536])
def test_many_more_cells_than_rows(target, rng, k):
    codes = random_codes(rng, 60, 2)
    codes[20:] = codes[0]
    assert_tally(codes, random_codes(rng, k, 2), None)


@pytest.mark.parametrize("classes", [100, 5000])
def test_many_classes_most_of_them_empty(target, rng, classes):
    codes, centres = random_codes(rng, 130, 3), random_codes(rng, 2 * classes, 3)
    partition = Partition(
        centres.reshape(classes, 2, 3), np.sort(rng.integers(0, 131, size=classes + 1))
    )
    clip, labels = CodeGrid(3, 1.0).residual_clip(0.5), np.full(130, -7, dtype=np.int32)
    counts, sums = tally(codes, partition, clip, labels)
    expected_counts, expected_sums = reference.tally(codes, partition, clip)
    assert (counts == expected_counts).all()
    assert (sums == expected_sums).all()
    inside = slice(partition.offsets[0], partition.offsets[-1])
    assert set(labels[inside]) <= {0, 1}
    assert counts[:, 1].sum() == (labels[inside] == 1).sum()
    outside = np.delete(labels, np.r_[inside])
    assert (outside == -7).all()


@pytest.mark.parametrize("moment", ["full", "diagonal", "trace"])
@pytest.mark.parametrize("d", [63, 64, 65, 128, 129, 600, 1025])
def test_moments_of_any_width(target, rng, d, moment):
    codes = random_codes(rng, 12, d)
    partition = Partition(random_codes(rng, 3, d)[None], np.array([0, 12]))
    group = np.array([1, 0, 1])
    for clip in (CodeGrid(d, 1.0).residual_clip(0.5, MOMENT_BOUND), Clip(1e-3, 3.0, 3)):
        result = moments(codes, partition, clip, group, moment)
        assert (result == reference.moments(codes, partition, clip, group, moment)).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("moment", ["full", "diagonal", "trace"])
def test_the_largest_squares_do_not_overflow(target, moment, sign):
    """Thousands of residuals of norm 2^11 on one coordinate."""
    n, d = 2500, 65
    codes = np.zeros((n, d), dtype=np.int16)
    codes[:, 64] = 4096 * sign
    codes[::2, 64] *= -1
    partition = Partition(np.zeros((1, 1, d), dtype=np.int16), np.array([0, n]))
    clip = Clip(4096.0, float(MOMENT_BOUND), MOMENT_BOUND)
    result = moments(codes, partition, clip, np.zeros(1, dtype=np.int64), moment)
    assert result[0, -1] == n * MOMENT_BOUND**2
    assert not result[0, :-1].any()


@pytest.mark.parametrize("size", [63, 64, 65, 130])
def test_groups_that_end_with_a_tile(target, rng, size):
    codes = random_codes(rng, 4 * size, 9)
    partition = Partition(
        random_codes(rng, 6, 9).reshape(3, 2, 9), np.array([0, size, size, 4 * size])
    )
    clip, group = CodeGrid(9, 1.0).residual_clip(0.7, MOMENT_BOUND), np.array([0, 0, 3, 3, 1, 1])
    for moment in ("full", "diagonal", "trace"):
        result = moments(codes, partition, clip, group, moment)
        assert (result == reference.moments(codes, partition, clip, group, moment)).all()


def test_rows_in_many_parts(small_cache, rng):
    n, d = 2200, 9
    codes = random_codes(rng, n, d)
    centres = random_codes(rng, 6, d)
    clip = CodeGrid(d, 1.0).residual_clip(0.5, MOMENT_BOUND)
    for any_clip in (None, clip):
        assert_tally(codes, centres, any_clip)
    partition = Partition(centres.reshape(2, 3, d), np.array([3, 1200, n - 1]))
    group = np.array([0, 1, 2, 0, 1, 1])
    for moment in ("full", "diagonal", "trace"):
        result = moments(codes, partition, clip, group, moment)
        assert (result == reference.moments(codes, partition, clip, group, moment)).all()
    model = regression(rng, d, 5)
    offsets = np.array([1, 400, 400, 901, 1500, n - 3])
    expected = reference_gradient.gradient(codes, offsets, model)
    assert (gradient(codes, offsets, model) == expected).all()


@pytest.mark.parametrize("address", [0, 2, 8])
def test_rows_that_do_not_lie_on_a_multiple_of_16_bytes(emulated_cuda, rng, address):
    codes, centres = random_codes(rng, 50, 16), random_codes(rng, 3, 16)
    offsets, counts, sums = np.array([0, 50]), np.zeros((1, 3), int), np.zeros((1, 3, 16), int)
    memory = emulated_cuda.allocate(codes.nbytes + 16, 0)
    emulated_cuda.copy(memory + address, codes.ctypes.data, codes.nbytes, 0)
    pointers = [array.ctypes.data for array in (centres, offsets, counts, sums)]
    emulated_cuda.tally(
        memory + address,
        50,
        16,
        pointers[0],
        3,
        pointers[1],
        1,
        0.0,
        0.0,
        0,
        *pointers[2:],
        0,
        1,
        0,
    )
    emulated_cuda.release(memory, 0)
    for found, expected in zip((counts, sums), expected_tally(codes, centres, None), strict=True):
        assert (found == expected).all()


@pytest.mark.parametrize("d", [2, 32, 33])
@pytest.mark.parametrize("cells", [3, 64, 100])
def test_bins_of_many_rows(target, rng, d, cells):
    """More rows than a launch has threads; more bins than a block's table; most rows in one."""
    n = 9000 if d == 2 else 700
    codes = random_codes(rng, n, d)
    codes[: n // 2] = codes[0]
    projections = random_codes(rng, 5, d)
    width = np.array([2**22, 2**22, 2**24, 2**20, 2**30])
    grid = Grid(projections, -8 * width, width, np.array([cells, cells, 1, 1, 2]))
    offsets = np.array([2, n // 3, n - 5])
    counts = np.zeros((2, 2 * cells**2), dtype=np.int64)
    _backend.bins(codes, grid, offsets, counts)
    positions = codes.astype(np.int64) @ projections.T.astype(np.int64)
    axes = np.clip((positions - grid.origins) // width, 0, grid.cells - 1)
    bins = np.ravel_multi_index(tuple(axes.T), grid.cells)
    for found, begin, end in zip(counts, offsets[:-1], offsets[1:], strict=True):
        assert (found == np.bincount(bins[begin:end], minlength=len(found))).all()


@pytest.mark.parametrize(("d", "classes"), [(1, 300), (65, 127), (5, 129), (513, 3), (2100, 2)])
def test_gradients_of_any_shape(target, rng, d, classes):
    codes, model = random_codes(rng, 40, d), regression(rng, d, classes)
    offsets = np.linspace(0, 40, classes + 1).astype(np.int64)
    expected = reference_gradient.gradient(codes, offsets, model)
    assert (gradient(codes, offsets, model) == expected).all()


def test_gradients_of_the_largest_weights(target, rng):
    """Weights of norm 2^14 on one coordinate, and rows of norm 2^11 on it: both signs."""
    axis = np.zeros(4, dtype=np.int16)
    axis[2] = CODE_BOUND
    model = regression(rng, 4, 2, radius=1e-9, size=1e-3)
    model = type(model)(
        0 * axis, model.row_clip, np.stack([axis, -axis]), 1e-9, model.bias, model.residual_clip
    )
    codes = np.stack([axis, -axis, axis, -axis])
    offsets = np.array([0, 1, 4])
    expected = reference_gradient.gradient(codes, offsets, model)
    assert (gradient(codes, offsets, model) == expected).all()
    assert expected.any()
