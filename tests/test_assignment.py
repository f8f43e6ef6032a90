"""Assignments kept from call to call: the same labels and sums as from nothing, found faster."""

import numpy as np
import pytest

from cloister import _backend, assignment
from cloister.assignment import Assignment
from cloister.centred_rows import CentredRows


@pytest.fixture
def target(host_target):
    return host_target  # a device keeps no lists


def clustered_rows(n, d, k, seed, spread=0.3):
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((k, d)).astype(np.float32)
    return means[rng.integers(0, k, n)] + spread * rng.standard_normal((n, d)).astype(np.float32)


def with_codes(values):
    shift = values.mean(axis=0)
    rows = CentredRows.around(values, shift)
    return CentredRows(values, shift, rows.spread, _backend.screen_rows(values, shift))


def from_nothing(rows, centres):
    found = Assignment(CentredRows(rows.values, rows.shift, rows.spread), len(centres))
    found.update(centres)
    return found


def means_of(found, rows):
    counts = np.maximum(found.counts, 1)[:, None]
    return (found.sums / rows.sum_scale / counts).astype(np.float32)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.sums, expected.sums)
    np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.mark.parametrize("k", [300, 700])
@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0])
def test_lloyd_steps(target, k, spread, restore_threads):
    rows = with_codes(clustered_rows(4000, 48, k, seed=k, spread=spread))
    centres = rows.take(np.arange(k))
    found = Assignment(rows, k)
    recalled = 0
    for step in range(8):
        _backend.set_num_threads(1 + step % 3)
        found.update(centres)
        recalled += found.recalled
        assert_same(found, from_nothing(rows, centres))
        centres = means_of(found, rows)
    assert recalled > 1000 or spread == 2.0


def test_centres_that_jump_anywhere(target):
    rng = np.random.default_rng(1)
    rows = with_codes(clustered_rows(3000, 40, 300, seed=1))
    centres = rows.take(rng.choice(3000, 300, replace=False))
    found = Assignment(rows, 300)
    for step in range(25):
        found.update(centres)
        assert_same(found, from_nothing(rows, centres))
        centres = centres.copy()
        some = rng.choice(300, [0, 1, 5, 40, 300][step % 5], replace=False)
        centres[some] += 10.0 ** rng.integers(-6, 1) * rng.standard_normal((len(some), 40))


def test_equal_centres_and_rows(target):
    values = np.repeat(clustered_rows(40, 33, 40, seed=2), 60, axis=0)
    rows = with_codes(values)
    centres = np.repeat(rows.take(np.arange(0, 2400, 60)), 10, axis=0)
    found = Assignment(rows, 400)
    for _ in range(6):
        found.update(centres)
        assert_same(found, from_nothing(rows, centres))
        assert (found.labels % 10 == 0).all()


def test_lists_that_know_of_no_movement_go_wrong(monkeypatch, target):
    """So it is the bound on movements that keeps the labels right above."""
    rng = np.random.default_rng(3)
    rows = with_codes(clustered_rows(3000, 40, 300, seed=3))
    centres = rows.take(rng.choice(3000, 300, replace=False))
    found = Assignment(rows, 300)
    for _ in range(4):
        found.update(centres)
    monkeypatch.setattr(assignment, "_SAFE", 0.0)
    centres = centres[rng.permutation(300)]
    found.update(centres)
    assert (found.labels != from_nothing(rows, centres).labels).any()


@pytest.mark.parametrize(
    ("movers", "length", "message"),
    [([5], 16, r"movers must lie in \[0, 2\)"), ([], 40, "no lists of length 40")],
)
def test_lists_that_do_not_fit_are_refused(movers, length, message):
    rows = np.zeros((4, 64), np.float32)
    memory = _backend.Neighbours.empty(4, length)
    nothing = np.empty(0)
    recollection = _backend.Recollection(
        memory, nothing, nothing, np.array(movers, np.int32), recalls=False, builds=True
    )
    with pytest.raises(ValueError, match=message):
        _backend.nearest(
            rows,
            rows[:2],
            screened=_backend.screen_rows(rows, None),
            recollection=recollection,
            labels=np.zeros(4, np.int32),
        )


def test_lists_that_never_fill_reach_no_farther_than_rows_are_apart(target):
    """Ties leave rows without lists, whose reach grew from tile to tile: to infinity, times 0."""
    direction = np.random.default_rng(0).standard_normal(64, dtype=np.float32)
    places = np.stack([direction, 0 * direction, -direction])
    rows, centres = np.repeat(places, 32, axis=0), np.repeat(places, 86, axis=0)
    codes = _backend.screen_rows(rows, None)
    lists = _backend.Neighbours.empty(len(rows), 16)
    labels = np.zeros(len(rows), np.int32)
    for call in range(450):
        still = np.zeros(call)
        plan = _backend.Recollection(
            lists, still, still, np.empty(0, np.int32), recalls=False, builds=True
        )
        _backend.nearest(
            rows, centres, screened=codes, labels=labels, recollection=plan, updates=True
        )
    print(labels)
    assert (labels == np.repeat([0, 86, 172], 32)).all()
    np.testing.assert_array_equal(labels, np.repeat([0, 86, 172], 32))
