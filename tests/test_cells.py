"""The cell of a row: whichever way it is found, by its definition in exact integers.

Many rows and centres are screened by int8 products, few centres take rows where they lie, other
shapes pack them: the shapes here meet all three ways and the borders between them.
"""

import numpy as np
import pytest

import reference
from cloister import _backend
from cloister._backend import Partition
from cloister.codes import CODE_BOUND, CodeGrid
from conftest import sha256

ROWS = 700  # enough for a screen; neither a multiple of a tile nor of a panel


def definition(codes, centres):
    """argmin of |c|^2 - 2 <x, c>: float64 holds every product and sum of these integers exactly."""
    exact = centres.astype(np.float64)
    scores = (exact**2).sum(axis=1) - 2 * codes.astype(np.float64) @ exact.T
    return scores.argmin(axis=1)


def tally(codes, centres, clip=None):
    k, d = centres.shape
    counts, sums = np.zeros((1, k), np.int64), np.zeros((1, k, d), np.int64)
    labels = np.empty(len(codes), np.int32)
    partition = Partition(np.ascontiguousarray(centres[None]), np.array([0, len(codes)]))
    _backend.tally(np.ascontiguousarray(codes), partition, clip, counts, sums, labels)
    return counts[0], sums[0], labels


def points(rng, n, d, norm=0.9, middle=0.0):
    values = rng.normal(size=(n, d)) * norm / np.sqrt(d) + middle / np.sqrt(d)
    return CodeGrid(d, 1.0).round_centres(values)


@pytest.mark.parametrize("d", [1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 257, 1000])
@pytest.mark.parametrize("k", [1, 2, 3, 8, 9, 16, 17, 31, 32, 33, 48, 49, 130])
def test_shapes(target, rng, d, k):
    codes, centres = points(rng, ROWS, d, middle=0.5), points(rng, k, d, middle=0.5)
    counts, sums, labels = tally(codes, centres)
    expected = definition(codes, centres)
    assert (labels == expected).all()
    assert (counts == np.bincount(expected, minlength=k)).all()
    onto = np.zeros((k, d), np.int64)
    np.add.at(onto, expected, codes)
    assert (sums == onto).all()


@pytest.mark.parametrize(("d", "k"), [(4096, 70), (40, 5000), (33, 1025), (513, 300)])
def test_large_shapes(target, rng, d, k):
    codes, centres = points(rng, ROWS, d), points(rng, k, d)
    assert (tally(codes, centres)[2] == definition(codes, centres)).all()


def on_sphere(rng, n, d):
    """Codes of the largest norms that there are."""
    directions = rng.normal(size=(n, d))
    directions *= CODE_BOUND / np.linalg.norm(directions, axis=1, keepdims=True)
    return np.trunc(directions).astype(np.int16)


def along_axes(rng, n, d):
    """One coordinate of magnitude 2^14, the rest zero."""
    codes = np.zeros((n, d), np.int16)
    codes[np.arange(n), rng.integers(d, size=n)] = CODE_BOUND * rng.choice([-1, 1], size=n)
    return codes


def peaked(rng, n, d):
    """One huge coordinate hides the others from a scale of its own."""
    codes = rng.integers(-3, 4, size=(n, d)).astype(np.int16)
    codes[:, 0] = 16_000
    return codes


def steps_apart(rng, n, d):
    """Points that differ by a grid step in a few coordinates, so that scores tie or nearly do."""
    base = points(rng, 1, d)[0]
    return (base + rng.integers(-1, 2, size=(n, d)) * (rng.random((n, d)) < 0.05)).astype(np.int16)


HARD = {
    "rows equal": lambda rng, n, d, k: (np.repeat(points(rng, 1, d), n, 0), points(rng, k, d)),
    "centres equal": lambda rng, n, d, k: (points(rng, n, d), np.repeat(points(rng, 1, d), k, 0)),
    "both equal": lambda rng, n, d, k: (
        np.repeat(points(rng, 1, d), n, 0),
        np.repeat(points(rng, 1, d), k, 0),
    ),
    "rows zero": lambda rng, n, d, k: (np.zeros((n, d), np.int16), points(rng, k, d)),
    "all zero": lambda rng, n, d, k: (np.zeros((n, d), np.int16), np.zeros((k, d), np.int16)),
    "centres opposite": lambda rng, n, d, k: (
        points(rng, n, d),
        np.concatenate([c := points(rng, k // 2, d), -c, c[: k % 2]]),
    ),
    "centres twice": lambda rng, n, d, k: (
        points(rng, n, d),
        rng.permutation(np.repeat(points(rng, k // 2 + 1, d), 2, 0))[:k],
    ),
    "rows are centres": lambda rng, n, d, k: (
        (centres := points(rng, k, d))[rng.integers(k, size=n)],
        centres,
    ),
    "on the sphere": lambda rng, n, d, k: (on_sphere(rng, n, d), on_sphere(rng, k, d)),
    "along axes": lambda rng, n, d, k: (along_axes(rng, n, d), along_axes(rng, k, d)),
    "far from all centres": lambda rng, n, d, k: (
        np.repeat(-(edge := along_axes(rng, 1, d)), n, 0),
        np.repeat(edge, k, 0),
    ),
    "one huge coordinate": lambda rng, n, d, k: (peaked(rng, n, d), peaked(rng, k, d)),
    "huge centres only": lambda rng, n, d, k: (points(rng, n, d, 0.001), peaked(rng, k, d)),
    "steps apart": lambda rng, n, d, k: (
        (both := steps_apart(rng, n + k, d))[:n],
        both[n:],
    ),
    "tiny": lambda rng, n, d, k: (
        rng.integers(-1, 2, size=(n, d)).astype(np.int16),
        rng.integers(-1, 2, size=(k, d)).astype(np.int16),
    ),
    "one far centre": lambda rng, n, d, k: (
        points(rng, n, d, 0.01),
        np.concatenate([points(rng, k - 1, d, 0.01), on_sphere(rng, 1, d)]),
    ),
}


@pytest.mark.parametrize("d", [32, 45, 128])
@pytest.mark.parametrize("k", [56, 150])
@pytest.mark.parametrize("case", HARD)
def test_hard_points(target, rng, case, d, k):
    codes, centres = HARD[case](rng, ROWS, d, k)
    assert len(codes) == ROWS
    assert len(centres) == k
    assert (tally(codes, centres)[2] == definition(codes, centres)).all()


def test_hash_is_the_same_where_rows_are_screened(rng, restore_threads):
    codes, centres = points(rng, 5000, 70), points(rng, 90, 70)
    clip = CodeGrid(70, 1.0).residual_clip(0.4)
    hashes = set()
    for name in _backend.supported_targets():
        with _backend.use_target(name):
            for threads in (1, 2, 5):
                _backend.set_num_threads(threads)
                for order in (np.arange(5000), rng.permutation(5000)):
                    hashes.add(sha256(*tally(codes[order], centres, clip)[:2]))
            parts = [tally(codes[i : i + 611], centres, clip)[:2] for i in range(0, 5000, 611)]
            hashes.add(sha256(*(sum(part) for part in zip(*parts, strict=True))))
    assert len(hashes) == 1


@pytest.mark.parametrize("d", [1, 16, 33, 64, 100])
@pytest.mark.parametrize("radius", [0.01, 0.5, 2.0])
def test_residuals_of_extreme_differences(target, rng, d, radius):
    """Centres opposite to the rows: a difference of 2^15 does not fit the width of a code."""
    clip = CodeGrid(d, 1.0).residual_clip(radius)
    codes = np.concatenate([along_axes(rng, 40, d), on_sphere(rng, 40, d), points(rng, 40, d)])
    for centre in (-codes[0], -codes[50], codes[0], np.zeros(d, np.int16)):
        sums = tally(codes, centre[None], clip)[1]
        expected = sum(reference.residual(code, centre, clip) for code in codes)
        assert (sums[0] == expected).all()


def test_sums_beyond_int32(target, restore_threads):
    _backend.set_num_threads(1)
    codes = np.full((140_000, 1), CODE_BOUND, np.int16)
    counts, sums, _ = tally(codes, np.array([[5]], np.int16))
    assert sums[0, 0] == 140_000 * CODE_BOUND > 2**31
    assert counts[0] == 140_000
    assert tally(-codes, np.array([[5]], np.int16))[1][0, 0] == -140_000 * CODE_BOUND


@pytest.mark.parametrize("k", [9, 60])
def test_moments_of_many_rows(target, rng, k):
    """Moments look for cells as tally does; classes number theirs one after the other."""
    d, n = 40, 2 * ROWS
    codes, centres = points(rng, n, d), points(rng, 2 * k, d).reshape(2, k, d)
    partition = Partition(centres, np.array([0, ROWS, n]))
    clip = CodeGrid(d, 1.0).residual_clip(0.6, 2**11)
    group = np.arange(2 * k) % 3
    found = np.zeros((3, 1), np.int64)
    _backend.moments(codes, partition, clip, group, "trace", found)
    expected = np.zeros((3, 1), np.int64)
    for g in range(2):
        rows = codes[g * ROWS : (g + 1) * ROWS]
        for code, j in zip(rows, definition(rows, centres[g]), strict=True):
            residual = reference.residual(code, centres[g, j], clip)
            expected[group[g * k + j]] += residual @ residual
    assert (found == expected).all()
