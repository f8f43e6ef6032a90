"""tally: exact, the same bits everywhere, and a row's cell depends on that row alone."""

import numpy as np
import pytest

import reference
from cloister import _backend
from cloister._backend import Partition
from cloister.codes import CODE_BOUND, CodeGrid
from conftest import sha256

SIZES = [1, 3, 7, 15, 16, 17, 31, 32, 33, 96, 130]


def random_codes(rng, n, d, norm=0.9):
    rows = rng.normal(size=(n, d)) * norm / np.sqrt(d)
    return CodeGrid(d, 1.0).round_centres(rows)


def tally(codes, partition, clip=None, labels=None):
    counts = np.zeros(partition.centres.shape[:2], dtype=np.int64)
    sums = np.zeros(partition.centres.shape, dtype=np.int64)
    _backend.tally(codes, partition, clip, counts, sums, labels)
    return counts, sums


def cells(codes, centres):
    labels = np.empty(len(codes), dtype=np.int32)
    tally(codes, Partition(centres[None], np.array([0, len(codes)])), labels=labels)
    return labels


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("d", [1, 2, 5, 33])
@pytest.mark.parametrize("k", [1, 2, 12, 13, 27])
def test_equals_reference(target, rng, n, d, k):
    codes = random_codes(rng, n, d)
    centres = random_codes(rng, 3 * k, d).reshape(3, k, d)
    centres[:, -1] = centres[:, 0]  # a tie: the smaller cell takes the rows
    partition = Partition(centres, np.array([0, n // 2, n // 2, n - n // 4]))
    for clip in (None, CodeGrid(d, 1.0).residual_clip(0.3)):
        counts, sums = tally(codes, partition, clip)
        expected_counts, expected_sums = reference.tally(codes, partition, clip)
        assert (counts == expected_counts).all()
        assert (sums == expected_sums).all()
    assert k == 1 or not counts[:, -1].any()


def test_scores_at_the_extremes_of_int32(target):
    """Opposite points of norm exactly B, along an axis and along the diagonal."""
    d = 4
    axis = np.array([CODE_BOUND, 0, 0, 0], dtype=np.int16)
    diagonal = np.full(d, CODE_BOUND // 2, dtype=np.int16)
    centres = np.stack([axis, -axis, diagonal, -diagonal])
    codes = centres[[1, 0, 3, 2]].copy()
    assert cells(codes, centres).tolist() == [1, 0, 3, 2]
    partition = Partition(centres[None], np.array([0, 4]))
    assert (tally(codes, partition)[1][0] == centres).all()


def test_hash_is_the_same_for_threads_chunks_orders_and_targets(rng, restore_threads):
    n, d, k = 3000, 37, 11
    codes = random_codes(rng, n, d)
    centres = random_codes(rng, k, d)[None]
    clip = CodeGrid(d, 1.0).residual_clip(0.4)

    def in_chunks(rows, size):
        counts = np.zeros((1, k), dtype=np.int64)
        sums = np.zeros((1, k, d), dtype=np.int64)
        for first in range(0, n, size):
            chunk = np.ascontiguousarray(rows[first : first + size])
            partition = Partition(centres, np.array([0, len(chunk)]))
            _backend.tally(chunk, partition, clip, counts, sums)
        return sha256(counts, sums)

    hashes = set()
    for name in _backend.supported_targets():
        for threads in (1, 2, 8):
            _backend.set_num_threads(threads)
            with _backend.use_target(name):
                hashes |= {in_chunks(codes, size) for size in (1, 7, 64, 1000, n)}
                hashes |= {in_chunks(codes[rng.permutation(n)], n) for _ in range(20)}
    assert len(hashes) == 1


@pytest.fixture(scope="module")
def close_calls():
    """10^6 rows among centres that are equal or one grid step apart."""
    rng = np.random.default_rng(7)
    d, k = 8, 16
    base = random_codes(rng, 1, d)[0]
    centres = np.repeat(base[None], k, axis=0)
    for j in range(4, k):
        centres[j, j % d] += 1 if j % 2 else -1
    codes = (base + rng.integers(-3, 4, size=(1_000_000, d))).astype(np.int16)
    return codes, centres


def cells_in_batches(codes, centres, size):
    """Cells of the rows in batches of `size`, each batch a class of its own."""
    offsets = np.append(np.arange(0, len(codes), size), len(codes))
    tiled = np.ascontiguousarray(np.broadcast_to(centres, (len(offsets) - 1, *centres.shape)))
    labels = np.empty(len(codes), dtype=np.int32)
    tally(codes, Partition(tiled, offsets), labels=labels)
    return labels


def test_cell_is_a_function_of_the_row_alone(close_calls, restore_threads):
    codes, centres = close_calls
    together = cells(codes, centres)
    assert len(np.unique(together)) > 4
    for size in (1, 7, 64, 1000, 65_537):
        assert (cells_in_batches(codes, centres, size) == together).all()
    for name in _backend.supported_targets():
        with _backend.use_target(name):
            for threads in (1, 2, 8):
                _backend.set_num_threads(threads)
                assert (cells(codes, centres) == together).all()


def test_cell_is_unchanged_when_other_rows_go(close_calls, rng):
    codes, centres = close_calls
    together = cells(codes, centres)
    for _ in range(5):
        gone = rng.integers(0, len(codes))
        left = np.delete(codes, gone, axis=0)
        assert (cells(left, centres) == np.delete(together, gone)).all()
    for i in range(200):  # and the definition itself, in Python integers
        assert reference.cell(codes[i], centres) == together[i]


def test_rows_outside_all_classes_contribute_nothing(target, rng):
    codes = random_codes(rng, 50, 6)
    centres = random_codes(rng, 4, 6).reshape(2, 2, 6)
    inside = tally(np.ascontiguousarray(codes[10:30]), Partition(centres, np.array([0, 8, 20])))
    among = tally(codes, Partition(centres, np.array([10, 18, 30])))
    assert all((a == b).all() for a, b in zip(inside, among, strict=True))


@pytest.mark.parametrize(("d", "k"), [(4096, 3), (1, 300), (3, 2000), (1025, 7)])
def test_large_shapes_equal_numpy(target, rng, d, k):
    codes, centres = random_codes(rng, 200, d), random_codes(rng, k, d)
    scores = (centres.astype(np.int64) ** 2).sum(1) - 2 * codes.astype(np.int64) @ centres.T.astype(
        np.int64
    )
    assert (cells(codes, centres) == scores.argmin(axis=1)).all()
