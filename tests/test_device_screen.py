"""The device's screens rule out no centre wrongly, and cells are those of the definition.

`lists` are what a screen leaves to exact arithmetic; a bound that holds leaves every centre of
least score in them. The probe that returns them is tests/emulated_cuda/screen_probe.cpp.
"""

import ctypes

import numpy as np
import pytest

import reference_nearest as reference
from cloister import _backend
from cloister._backend import Partition
from on_device import on_device
from test_cells import HARD, definition, on_sphere, points
from test_nearest import make_problem
from test_screen import spoil

CAPACITY = 32  # of a list
UNTOUCHED = -7
SHARED_MEMORY = [163 << 10, 99 << 10, 227 << 10]  # compute capability 8.0, 8.6, 9.0


@pytest.fixture(params=SHARED_MEMORY)
def shared_memory(request, monkeypatch):
    monkeypatch.setenv("CLOISTER_EMULATED_SHARED_MEMORY", str(request.param))


@pytest.fixture(scope="module")
def probe(emulated_module):
    return ctypes.CDLL(emulated_module.__file__)


def pointer(array):
    return None if array is None else ctypes.c_void_p(array.ctypes.data)


def sizes(*numbers):
    return [ctypes.c_int64(number) for number in numbers]


def cell_lists(probe, codes, centres):
    """Return which centres the screen leaves to each row, and how many of them."""
    (n, d), k = codes.shape, len(centres)
    codes, centres = np.ascontiguousarray(codes), np.ascontiguousarray(centres)
    listed, counts = np.empty((n, k), bool), np.empty(n, np.int32)
    arguments = [pointer(codes), *sizes(n, d), pointer(centres), *sizes(k)]
    probe.list_cells(*arguments, pointer(listed), pointer(counts))
    return listed, counts


def near_lists(probe, rows, centres, shift=None):
    (n, d), k = rows.shape, len(centres)
    listed, counts = np.empty((n, k), bool), np.empty(n, np.int32)
    arguments = [pointer(rows), *sizes(n, d), pointer(shift), pointer(centres), *sizes(k)]
    probe.list_near_centres(*arguments, pointer(listed), pointer(counts))
    return listed, counts


def cells(module, codes, centres, offsets):
    """Return the class-local cell of each row; centres (classes, k, d)."""
    counts, sums = np.zeros(centres.shape[:2], np.int64), np.zeros(centres.shape, np.int64)
    labels = np.full(len(codes), UNTOUCHED, np.int32)
    with on_device():
        partition = Partition(np.ascontiguousarray(centres), np.asarray(offsets))
        _backend.tally(np.ascontiguousarray(codes), partition, None, counts, sums, labels)
    return labels


def assert_all_least_are_listed(codes, centres, listed):
    exact = centres.astype(np.float64)
    scores = (exact**2).sum(axis=1) - 2 * codes.astype(np.float64) @ exact.T
    assert listed[scores == scores.min(axis=1, keepdims=True)].all()


def assert_least_distances_are_listed(points, centres, listed):
    distances = reference.lane_distance(points, centres)
    assert listed[distances == distances.min(axis=1, keepdims=True)].all()


@pytest.mark.parametrize("k", [2, 70])
@pytest.mark.parametrize("case", HARD)
def test_cell_lists_of_hard_points(probe, rng, case, k):
    codes, centres = HARD[case](rng, 150, 45, k)
    listed, _ = cell_lists(probe, codes, centres)
    assert_all_least_are_listed(codes, centres, listed)


def test_lists_are_short_where_centres_are_apart(probe, rng):
    centres = points(rng, 300, 64)
    rows = centres[rng.integers(300, size=300)] + points(rng, 300, 64, 0.3)
    for listed, counts in (
        cell_lists(probe, rows.astype(np.int16), centres),
        near_lists(probe, rows.astype(np.float32), centres.astype(np.float32)),
    ):
        assert counts.max() <= CAPACITY
        assert counts.mean() < 1.2
        assert (listed.sum(axis=1) == counts).all()


def test_one_far_centre_does_not_lengthen_lists(probe, rng):
    centres = points(rng, 64, 64, 0.1)
    rows = centres[rng.integers(64, size=100)] + points(rng, 100, 64, 0.02)
    centres[5] = on_sphere(rng, 1, 64)[0]
    counts = cell_lists(probe, rows.astype(np.int16), centres)[1]
    assert counts.mean() < 2


@pytest.mark.parametrize("k", [CAPACITY, CAPACITY + 1, 300])
def test_equal_centres_fill_lists(probe, rng, k):
    codes, centres = points(rng, 20, 40), np.repeat(points(rng, 1, 40), k, 0)
    for listed, counts in (
        cell_lists(probe, codes, centres),
        near_lists(probe, codes.astype(np.float32), centres.astype(np.float32)),
    ):
        assert listed.all()
        assert (counts == CAPACITY if k == CAPACITY else counts > CAPACITY).all()


def test_lists_that_fill_up_are_shortened(probe, rng):
    """Every 128 centres some that are equal and nearer than all before: those are forgotten."""
    codes = np.repeat(points(rng, 1, 32), 5, 0)
    centres = np.repeat(-codes[:1], 3 * 128, 0)
    for i, share in enumerate((-0.4, 0.1, 0.8)):
        for start, count in ((0, 8), (64, 7)):  # for each of the two warps that share the rows
            centres[i * 128 + start : i * 128 + start + count] = codes[0] * share
    listed, counts = cell_lists(probe, codes, centres)
    assert_all_least_are_listed(codes, centres, listed)
    assert (counts == 15).all()


def test_cell_lists_where_the_bound_is_all_but_attained(probe, rng):
    """The codes' errors point from the wrong one of two opposite centres to the right one."""
    d, scale = 64, 64
    for _ in range(20):
        signs = rng.choice([-1, 1], size=d)
        signs[0] = 1
        steps = np.zeros(d, np.int64)
        for t in rng.integers(1, d, size=157):
            steps[t] -= signs[t]
        row = scale * steps + 31 * signs  # half a step would be 32
        row[0] = 127 * scale  # which makes `scale` the scale
        assert 0 < row @ signs < 64
        # Each twice, so that the two kinds do not meet in one lane.
        centres = np.repeat([100 * signs, -100 * signs], 2, axis=0).astype(np.int16)
        listed, _ = cell_lists(probe, row[None].astype(np.int16), centres)
        assert listed[0, :2].all()


def test_near_lists_where_the_bound_is_all_but_attained(probe, rng):
    d = 64
    for _ in range(20):
        signs = rng.permutation(np.repeat([-1.0, 1.0], d // 2))
        steps = rng.permutation(np.repeat([-1300.0, 1300.0], d // 2))  # steps of 2^-11
        steps[np.flatnonzero(steps < 0)[0]] -= 31
        row = signs * (steps * 2**-11 + 0.98 * 2**-12)
        assert 0 < row @ signs < 2**-11
        centres = np.stack([signs, -signs]).astype(np.float32)
        listed, _ = near_lists(probe, row[None].astype(np.float32), centres)
        assert listed[0, 0]


KINDS = ["heavy tails", "one coordinate", "zeros", "far rows", "tiny rows"]


@pytest.mark.parametrize("kind", [*KINDS, "huge", "tiny", "equal", "plain"])
def test_near_lists_of_hard_points(probe, rng, kind):
    rows, centres, shift = make_problem(70, 45, 75, seed=3)
    if kind in KINDS:
        spoil(kind, rows, centres, rng)
    elif kind == "equal":
        centres[:] = centres[0] + np.float32(1e-6) * rng.standard_normal(centres.shape)
    elif kind != "plain":
        factor = np.float32(1e17 if kind == "huge" else 1e-30)
        rows, centres, shift = rows * factor, centres * factor, shift * factor
    listed, _ = near_lists(probe, rows, centres, shift)
    assert_least_distances_are_listed(rows - shift, centres, listed)


def test_near_lists_of_rows_out_of_range_are_not_complete(probe, rng):
    rows, centres, _ = make_problem(4, 40, 33, seed=4)
    rows[0, 0], rows[1, 0], rows[2, 0] = np.inf, np.nan, 1e30
    counts = near_lists(probe, rows, centres)[1]
    assert (counts[:3] > CAPACITY).all()
    assert counts[3] <= CAPACITY


@pytest.mark.parametrize("d", [1, 31, 33, 600, 1000])
def test_near_lists_of_many_features(probe, shared_memory, d):
    rows, centres, shift = make_problem(37, 15, d, seed=d)
    listed, _ = near_lists(probe, rows, centres, shift)
    assert_least_distances_are_listed(rows - shift, centres, listed)


@pytest.mark.parametrize("n", [127, 128, 129, 255, 256, 257, 700])
@pytest.mark.parametrize(("d", "k"), [(31, 8), (32, 7), (32, 8), (33, 129), (65, 257)])
def test_cells_at_the_borders_of_tiles(emulated_cuda, rng, n, d, k):
    codes, centres = points(rng, n, d), points(rng, k, d)
    found = cells(emulated_cuda, codes, centres[None], [0, n])
    assert (found == definition(codes, centres)).all()


@pytest.mark.parametrize("d", [256, 280, 520, 600, 1024, 1025, 4096])
def test_cells_of_many_features(emulated_cuda, shared_memory, rng, d):
    codes, centres = points(rng, 150, d), points(rng, 20, d)
    found = cells(emulated_cuda, codes, centres[None], [0, 150])
    assert (found == definition(codes, centres)).all()


def test_cells_of_many_centres(emulated_cuda, rng):
    codes, centres = points(rng, 130, 32), points(rng, 65_536, 32)
    found = cells(emulated_cuda, codes, centres[None], [0, 130])
    assert (found == definition(codes, centres)).all()


@pytest.mark.parametrize(("n", "d"), [(9000, 32), (1500, 520)])
def test_cells_of_several_chunks(emulated_cuda, rng, n, d):
    codes, centres = points(rng, n, d), points(rng, 10, d)
    found = cells(emulated_cuda, codes, centres[None], [0, n])
    assert (found == definition(codes, centres)).all()


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
@pytest.mark.parametrize(("k", "d"), [(1, 40), (7, 40), (20, 20), (40, 40)])
def test_classes_of_all_sizes(emulated_cuda, rng, monkeypatch, order, k, d):
    """Empty, tiny and large ones, gaps between what is screened, and rows outside all of them."""
    monkeypatch.setenv("CLOISTER_EMULATED_ORDER", order)
    offsets = np.cumsum([5, 300, 0, 3, 127, 128, 1, 129, 600])
    codes = points(rng, offsets[-1] + 9, d)
    centres = points(rng, 8 * k, d).reshape(8, k, d)
    centres[1::2, -1] = centres[1::2, 0]  # ties
    centres[4:, :] //= 8
    found = cells(emulated_cuda, codes, centres, offsets)
    assert (found[: offsets[0]] == UNTOUCHED).all()
    assert (found[offsets[-1] :] == UNTOUCHED).all()
    for g in range(8):
        rows = slice(offsets[g], offsets[g + 1])
        assert (found[rows] == definition(codes[rows], centres[g])).all()


def test_a_class_for_each_row(emulated_cuda, rng):
    codes, centres = points(rng, 3000, 40), points(rng, 3000 * 9, 40).reshape(3000, 9, 40)
    found = cells(emulated_cuda, codes, centres, np.arange(3001))
    expected = [
        definition(code[None], centre)[0] for code, centre in zip(codes, centres, strict=True)
    ]
    assert (found == expected).all()


def test_cells_of_codes_anywhere(emulated_cuda, rng):
    """Rows that do not start on a multiple of 16 bytes, as slices of a user's tensor may."""
    codes, centres = points(rng, 400, 64), points(rng, 20, 64)[None].copy()
    labels, counts, sums = (
        np.empty(400, np.int32),
        np.zeros(20, np.int64),
        np.zeros((20, 64), np.int64),
    )
    offsets, module = np.array([0, 400]), emulated_cuda
    memory, out = module.allocate(codes.nbytes + 2, 0), module.allocate(labels.nbytes, 0)
    module.copy(memory + 2, codes.ctypes.data, codes.nbytes, 0)
    public = (centres.ctypes.data, 20, offsets.ctypes.data, 1, 0.0, 0.0, 0)
    module.tally(memory + 2, 400, 64, *public, counts.ctypes.data, sums.ctypes.data, out, 1, 0)
    module.copy(labels.ctypes.data, out, labels.nbytes, 0)
    module.synchronize(0)
    module.release(memory, 0)
    module.release(out, 0)
    assert (labels == definition(codes, centres[0])).all()
