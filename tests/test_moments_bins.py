"""moments and bins: equal to their slow twins, the same bits everywhere."""

import numpy as np
import pytest

import reference
from cloister import _backend
from cloister._backend import Grid, Partition
from cloister.codes import MOMENT_BOUND, Clip, CodeGrid
from cloister.errors import InvalidInput
from conftest import sha256
from test_tally import random_codes

SIZES = {"full": lambda d: d * (d + 1) // 2, "diagonal": lambda d: d, "trace": lambda d: 1}


def moments(codes, partition, clip, group, moment):
    size = SIZES[moment](partition.centres.shape[2])
    out = np.zeros((int(group.max()) + 1, size), dtype=np.int64)
    _backend.moments(codes, partition, clip, group, moment, out)
    return out


@pytest.mark.parametrize("moment", ["full", "diagonal", "trace"])
@pytest.mark.parametrize("d", [1, 2, 7, 16, 31, 33, 70])
@pytest.mark.parametrize("k", [1, 3])
def test_moments_equal_reference(target, rng, d, k, moment):
    codes = random_codes(rng, 60, d)
    partition = Partition(
        random_codes(rng, 2 * k, d).reshape(2, k, d), np.array([1, 30, 57], dtype=np.int64)
    )
    clip = CodeGrid(d, 1.0).residual_clip(0.5, MOMENT_BOUND)
    for group in (np.zeros(2 * k, dtype=np.int64), np.arange(2 * k) % 3):
        result = moments(codes, partition, clip, group, moment)
        assert (result == reference.moments(codes, partition, clip, group, moment)).all()


def test_moments_of_the_largest_residuals_do_not_overflow(target):
    """Thousands of residuals of norm exactly 2^11 on one coordinate: int32 tiles must flush."""
    n, d = 5000, 3
    codes = np.zeros((n, d), dtype=np.int16)
    codes[:, 0] = 4096
    partition = Partition(np.zeros((1, 1, d), dtype=np.int16), np.array([0, n]))
    clip = Clip(4096.0, float(MOMENT_BOUND), MOMENT_BOUND)
    result = moments(codes, partition, clip, np.zeros(1, dtype=np.int64), "full")
    assert result[0].tolist() == [n * MOMENT_BOUND**2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("bound", "group"), [(MOMENT_BOUND + 1, 0), (0, 0), (MOMENT_BOUND, -1)])
def test_moments_that_the_kernel_could_not_hold_are_refused(bound, group):
    partition = Partition(np.zeros((1, 2, 3), dtype=np.int16), np.array([0, 4]))
    groups, out = np.array([0, group]), np.zeros((1, 3), dtype=np.int64)
    with pytest.raises(InvalidInput, match=r"clip bound in \[1, 2048\]"):
        _backend.moments(
            np.zeros((4, 3), np.int16), partition, Clip(1, 1, bound), groups, "diagonal", out
        )


def test_moments_hash_is_the_same_for_threads_orders_and_targets(rng, restore_threads):
    codes = random_codes(rng, 2000, 40)
    partition = Partition(random_codes(rng, 4, 40)[None], np.array([0, 2000]))
    clip = CodeGrid(40, 1.0).residual_clip(0.7, MOMENT_BOUND)
    group = np.array([0, 1, 1, 0])
    hashes = set()
    for name in _backend.supported_targets():
        for threads in (1, 2, 8):
            _backend.set_num_threads(threads)
            with _backend.use_target(name):
                for order in (np.arange(2000), rng.permutation(2000)):
                    shuffled = np.ascontiguousarray(codes[order])
                    hashes.add(sha256(moments(shuffled, partition, clip, group, "full")))
    assert len(hashes) == 1


@pytest.mark.parametrize("axes", [0, 1, 2, 3])
@pytest.mark.parametrize("d", [1, 2, 33])
def test_bins_equal_reference(target, rng, d, axes):
    codes = random_codes(rng, 80, d)
    grid = Grid(
        random_codes(rng, axes, d).reshape(axes, d),
        rng.integers(-(2**27), 2**20, size=axes),
        rng.integers(1, 2**26, size=axes),
        rng.integers(1, 7, size=axes),
    )
    offsets = np.array([0, 30, 30, 75])
    counts = np.zeros((3, int(np.prod(grid.cells, dtype=np.int64))), dtype=np.int64)
    _backend.bins(codes, grid, offsets, counts)
    assert (counts == reference.bins(codes, grid, offsets)).all()
    assert counts.sum() == 75


def test_bins_hash_is_the_same_for_threads_and_targets(rng, restore_threads):
    codes = random_codes(rng, 50_000, 5)
    axis = np.array([2**22, 2**22])
    grid = Grid(random_codes(rng, 2, 5), -16 * axis, axis, np.array([32, 32]))
    hashes = set()
    for name in _backend.supported_targets():
        for threads in (1, 2, 8):
            _backend.set_num_threads(threads)
            with _backend.use_target(name):
                counts = np.zeros((1, 1024), dtype=np.int64)
                _backend.bins(codes, grid, np.array([0, 50_000]), counts)
                hashes.add(sha256(counts))
    assert len(hashes) == 1
