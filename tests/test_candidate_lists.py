"""Lists of candidates, and the scan of rows whose list overflows, leave the nearest centre."""

import ctypes
from contextlib import contextmanager

import numpy as np
import pytest

import reference_nearest as reference
from test_nearest import make_problem


@contextmanager
def on_module(module, *arrays):
    """Copies of the arrays on the device, which go back to them in the end."""
    copies = [module.allocate(array.nbytes, 0) for array in arrays]
    for copy, array in zip(copies, arrays, strict=True):
        module.copy(copy, array.ctypes.data, array.nbytes, 0)
    yield [ctypes.c_void_p(copy) for copy in copies]
    for copy, array in zip(copies, arrays, strict=True):
        module.copy(array.ctypes.data, copy, array.nbytes, 0)
    module.synchronize(0)
    for copy in copies:
        module.release(copy, 0)


CAPACITY = 32  # of a list
ENTRY = np.dtype([("lower", np.float32), ("centre", np.int32)])
LIMIT = 1.0


def decide(module, rows, centres, shift, lists, counts, lower=None):
    """Return the nearest centres and their distances by lists, of which some may be ruled out."""
    (n, d), k = rows.shape, len(centres)
    entries = np.empty(lists.shape, ENTRY)
    entries["centre"], entries["lower"] = lists, LIMIT if lower is None else lower
    limits, keys = np.full(n, LIMIT, np.float32), np.empty(n, np.uint64)
    kernel = ctypes.CDLL(module.__file__).decide_by_lists
    sizes = [ctypes.c_int64(size) for size in (n, d, k)]
    with on_module(module, rows, shift, centres, entries, counts, limits, keys) as places:
        kernel(places[0], sizes[0], sizes[1], places[1], places[2], sizes[2], *places[3:])
    low, high = keys & np.uint64(0xFFFFFFFF), keys >> np.uint64(32)
    return low.astype(np.int32), high.astype(np.uint32)


@pytest.mark.parametrize(("n", "d"), [(1, 5), (255, 33), (257, 31), (600, 100)])
def test_candidates_are_decided_by_their_distances(emulated_cuda, n, d):
    k = 60
    rows, centres, shift = make_problem(n, k, d)
    centres[20:30] = centres[:10]  # ties, and equal centres anywhere in a list
    expected = reference.lane_distance(rows - shift, centres)
    nearest = expected.argmin(axis=1)
    rng = np.random.default_rng(0)
    counts = rng.choice([1, 2, 3, CAPACITY - 1, CAPACITY, CAPACITY + 1], n).astype(np.int32)
    lists = np.full((n, CAPACITY), 10**9, np.int32)  # past a list's end lies anything
    for i in range(n):
        wrong = rng.permutation(np.setdiff1d(np.arange(k), nearest[i]))
        own = np.append(wrong[: min(counts[i], CAPACITY) - 1], nearest[i])
        lists[i, : len(own)] = rng.permutation(own)
    found, distances = decide(emulated_cuda, rows, centres, shift, lists, counts)
    np.testing.assert_array_equal(found, nearest)
    measured = counts > 1
    least = expected.min(axis=1).view(np.uint32)
    np.testing.assert_array_equal(distances[measured], least[measured])


def test_a_list_alone_decides(emulated_cuda):
    """Lists that leave the nearest centre out give another: they are what is looked at."""
    rows, centres, shift = make_problem(100, 40, 20)
    distances = reference.lane_distance(rows - shift, centres)
    lists = np.ascontiguousarray(distances.argsort(axis=1)[:, 3 : 3 + CAPACITY].astype(np.int32))
    counts = np.full(100, CAPACITY, np.int32)
    found, _ = decide(emulated_cuda, rows, centres, shift, lists, counts)
    np.testing.assert_array_equal(found, lists[:, 0])
    # Entries beyond the limit are as good as not there.
    lower = np.full(lists.shape, LIMIT, np.float32)
    lower[:, :2] = np.nextafter(np.float32(LIMIT), np.float32(2))
    found, _ = decide(emulated_cuda, rows, centres, shift, lists, counts, lower)
    np.testing.assert_array_equal(found, lists[:, 2])
    lower[:, 3:] = 2 * LIMIT  # one is left, and nothing is measured
    found, keys = decide(emulated_cuda, rows, centres, shift, lists, counts, lower)
    np.testing.assert_array_equal(found, lists[:, 2])
    assert not keys.any()
    counts[:] = CAPACITY + 1  # more than fit: any centre may be nearest
    found, _ = decide(emulated_cuda, rows, centres, shift, lists, counts)
    np.testing.assert_array_equal(found, distances.argmin(axis=1))
