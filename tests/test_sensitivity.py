"""Brute force: the sensitivity that each release claims is attained and never exceeded.

All data sets of at most five codes of norm <= B in one or two dimensions, for tiny B, are tallied
by the kernels (each data set as a class of its own), with and without one more row.
"""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations_with_replacement, product
from math import sqrt

import numpy as np
import pytest

from cloister import _backend
from cloister._backend import Grid, Partition, SoftmaxRegression
from cloister.codes import Clip, CodeGrid
from cloister.privacy.sensitivity import (
    count_weight,
    gradient_sensitivity,
    moment_sensitivity,
    off_diagonal_sigma,
    tally_sensitivity,
)

BALLS = [(1, 1), (1, 3), (2, 1), (2, 2)]


def codes_in_ball(d, bound):
    axis = range(-bound, bound + 1)
    return np.array([c for c in product(axis, repeat=d) if sum(v * v for v in c) <= bound**2])


def neighbours(codes, most=5):
    """All multisets of fewer than `most` codes, each without and with one more row."""
    sets = []
    for size in range(most):
        for chosen in combinations_with_replacement(range(len(codes)), size):
            for added in range(len(codes)):
                sets += [list(chosen), [*chosen, added]]
    lengths = np.array([len(s) for s in sets])
    flat = np.array([i for s in sets for i in s], dtype=np.int64)
    rows = np.ascontiguousarray(codes[flat].astype(np.int16))
    return rows, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def changes(values):
    """Differences between each data set with and without its extra row, flattened."""
    return (values[1::2] - values[0::2]).reshape(len(values) // 2, -1).astype(np.float64)


def tally_changes(rows, offsets, centres, clip):
    classes, (k, d) = len(offsets) - 1, centres.shape
    tiled = np.ascontiguousarray(np.broadcast_to(centres, (classes, k, d)).astype(np.int16))
    counts = np.zeros((classes, k), dtype=np.int64)
    sums = np.zeros((classes, k, d), dtype=np.int64)
    _backend.tally(rows, Partition(tiled, offsets), clip, counts, sums)
    return changes(counts), changes(sums)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    _backend.set_num_threads(1)
    yield
    _backend.set_num_threads(None)


@pytest.mark.parametrize(("d", "bound"), BALLS)
@pytest.mark.parametrize("residual", [False, True])
def test_tally(d, bound, residual):
    codes = codes_in_ball(d, bound)
    # Residuals: far from their centre, and a target equal to the bound lets them reach it.
    centres = codes[[0, 0]] if residual else codes[[0, len(codes) // 2, -1]]
    clip = Clip(float(bound), float(bound), bound) if residual else None
    counts, sums = tally_changes(*neighbours(codes), centres, clip)
    weight = count_weight(d, bound)
    distances = np.sqrt((weight * counts**2 * weight).sum(1) + (sums**2).sum(1))
    assert (np.abs(counts).sum(axis=1) == 1).all()  # one row, one cell
    assert distances.max() == pytest.approx(sqrt(bound**2 + weight**2), rel=1e-15)
    assert distances.max() <= tally_sensitivity(d, bound)


@pytest.mark.parametrize(("d", "bound"), BALLS)
@pytest.mark.parametrize("moment", ["full", "diagonal", "trace"])
def test_moments(d, bound, moment):
    codes = codes_in_ball(d, bound)
    rows, offsets = neighbours(codes)
    classes = len(offsets) - 1
    size = {"full": d * (d + 1) // 2, "diagonal": d, "trace": 1}[moment]
    out = np.zeros((classes, size), dtype=np.int64)
    centres = np.zeros((classes, 1, d), dtype=np.int16)
    clip = Clip(float(bound), float(bound), bound)
    group = np.arange(classes)
    _backend.moments(rows, Partition(centres, offsets), clip, group, moment, out)
    difference = changes(out)
    # Noise off the diagonal is sqrt(2) smaller: such an entry weighs twice.
    twice = np.ones(size)
    if moment == "full":
        twice[[i for i, (a, b) in enumerate(zip(*np.triu_indices(d), strict=True)) if a != b]] = 2
    distances = np.sqrt((twice * difference**2).sum(axis=1))
    assert distances.max() == pytest.approx(bound**2, rel=1e-15)
    assert distances.max() <= moment_sensitivity(bound)


@pytest.mark.parametrize(("d", "bound"), BALLS)
def test_histogram(d, bound):
    rows, offsets = neighbours(codes_in_ball(d, bound))
    grid = Grid(np.eye(d, dtype=np.int16), *(np.full(d, v) for v in (-bound, 1, 3)))
    counts = np.zeros((len(offsets) - 1, 3**d), dtype=np.int64)
    _backend.bins(rows, grid, offsets, counts)
    difference = changes(counts)
    assert (np.sqrt((difference**2).sum(axis=1)) == 1).all()


def gradients(sets, codes, model):
    """Gradient of each data set: rows are pairs of a number in `codes` and a class."""
    outs = np.zeros((len(sets), *model.weights.shape), dtype=np.int64)
    for unsorted, out in zip(sets, outs, strict=True):
        rows = sorted(unsorted, key=lambda row: row[1])
        labels = [g for _, g in rows]
        offsets = np.searchsorted(labels, np.arange(len(model.weights) + 1))
        chosen = np.ascontiguousarray(codes[[i for i, _ in rows]].reshape(-1, codes.shape[1]))
        _backend.gradient(chosen.astype(np.int16), offsets, model, out)
    return outs


@pytest.mark.parametrize(("d", "bound"), BALLS)
@pytest.mark.parametrize("has_weights", [False, True])
def test_gradient(rng, d, bound, has_weights):
    """All rows and classes, added to a hundred data sets of at most two rows."""
    codes, classes, residual_bound = codes_in_ball(d, bound), 3, 3
    # Without weights a row of class 0 has the residual (-1, 0.37, 0.63): on the sphere (-2, 1, 2).
    weights = rng.integers(-3, 4, size=(classes, d)) if has_weights else np.zeros((classes, d))
    model = SoftmaxRegression(
        centre=codes[0].astype(np.int16),
        row_clip=Clip(1e-3, float(bound), bound),
        weights=weights.astype(np.int16),
        scale=0.5,
        bias=np.log([1e-9, 0.37, 0.63]),
        residual_clip=Clip(1e-3, float(residual_bound), residual_bound),
    )
    rows = list(product(range(len(codes)), range(classes)))
    sets = [s for size in range(3) for s in combinations_with_replacement(rows, size)]
    sets = [sets[i] for i in rng.permutation(len(sets))[:100]]
    without = gradients(sets, codes, model)
    largest = 0.0
    for row in rows:
        change = (gradients([(*s, row) for s in sets], codes, model) - without).astype(float)
        distances = np.sqrt((change**2).sum(axis=(1, 2)))
        assert (distances == distances[0]).all()  # whoever else is there
        largest = max(largest, distances[0])
    claimed = gradient_sensitivity(bound, residual_bound)
    assert largest <= claimed
    assert has_weights or largest == claimed


@pytest.mark.parametrize("residual_bound", [3, 50, 2048])
@pytest.mark.parametrize("d", [1, 7, 40])
def test_gradient_of_any_row_is_within_it(rng, d, residual_bound):
    grid, classes = CodeGrid(d, 1.0), 5
    model = SoftmaxRegression.on_grid(
        grid, np.zeros(d, np.int16), 20 * rng.normal(size=(classes, d)), np.zeros(5), radius=1e-9
    )
    model = replace(model, residual_clip=Clip(0.1, float(residual_bound), residual_bound))
    codes = grid.round_centres(rng.normal(size=(1500, d)))
    sets = [[(i, g)] for i, g in enumerate(rng.integers(classes, size=1500))]
    squares = (gradients(sets, codes, model) ** 2).sum(axis=(1, 2))
    limit = gradient_sensitivity(residual_bound=residual_bound) ** 2
    assert 0.8 * limit < squares.max() <= limit


@pytest.mark.parametrize(("d", "bound"), [(1, 3), (2, 3), (2, 8), (3, 5), (7, 9)])
def test_through_encode_no_row_exceeds_it(rng, d, bound):
    clip = Clip(1.0, bound - sqrt(d) / 2, bound)
    edges = np.array([0.0, 1.0, -1.0, 0.5, 1 / 3, 2.0**-0.5, 1e30, 1e-40, clip.step / 2])
    rows = rng.choice(edges, size=(20_000, d)) * rng.choice([1, 1 + 2**-23], size=(20_000, d))
    codes = np.empty((20_000, d), dtype=np.int16)
    valid = np.empty(20_000, dtype=np.bool_)
    _backend.encode(rows.astype(np.float32), clip, codes, valid)
    assert valid.all()
    weight = count_weight(d, bound)
    squared = (codes.astype(np.int64) ** 2).sum(axis=1) + weight**2
    assert np.sqrt(squared.max()) <= tally_sensitivity(d, bound)
    # Residuals, each row as a class of its own: its sum is its clipped residual.
    one_each = Partition(np.zeros((20_000, 1, d), dtype=np.int16), np.arange(20_001))
    sums = np.zeros((20_000, 1, d), dtype=np.int64)
    counts = np.zeros((20_000, 1), dtype=np.int64)
    _backend.tally(codes, one_each, Clip(0.5 * bound, bound - sqrt(d) / 2, bound), counts, sums)
    assert (sums**2).sum(axis=(1, 2)).max() <= bound**2


def test_off_diagonal_noise_is_never_too_small(rng):
    assert off_diagonal_sigma(0.0) == 0.0
    for sigma in [2808307.062544871, *(2.0 ** rng.uniform(-30, 52, size=2000)).tolist()]:
        off = off_diagonal_sigma(sigma)
        below = np.nextafter(off, 0.0).item()
        assert 2 * Fraction(below) ** 2 < Fraction(sigma) ** 2 <= 2 * Fraction(off) ** 2
