"""Counts of public cells alone: their noise, their sensitivity of one, and what a ledger checks."""

from itertools import product
from math import inf, sqrt

import numpy as np
import pytest

from cloister import _backend
from cloister._backend import Partition
from cloister.errors import LedgerError
from fake_engine import DiaryReservation, FakeEngine, SilentEngine, releases_of

CELLS = 20_000


def ask(release, k, d=2, classes=1, name="votes", mu=0.01, shift=0):
    centres = np.full((classes, k, d), shift, dtype=np.int16)
    return release.counts(name, centres, mu)


def test_noise_of_counts():
    noisy, noise = ask(releases_of(FakeEngine(2, 2)), CELLS // 2, classes=2)
    assert noise == pytest.approx(100.0, rel=1e-12)
    assert noisy.shape == (2, CELLS // 2)
    # Rounding adds 1/12; the sample variance of 20,000 normals is within 6 % but once in 10^9.
    assert noisy.var() == pytest.approx(noise**2 + 1 / 12, rel=0.06)
    assert abs(noisy.mean()) < 6 * noise / sqrt(CELLS)


def test_without_noise_they_are_the_counts():
    noisy, noise = ask(releases_of(FakeEngine(2, 2, 3)), 4, classes=2, mu=inf)
    np.testing.assert_array_equal(noisy, 3 * np.arange(8).reshape(2, 4))
    assert noise == 0.0


def test_what_was_released_is_recorded():
    release = releases_of(FakeEngine(2))
    ask(release, 5, mu=0.25)
    (event,) = release.events
    assert (event.name, event.sensitivity) == ("votes", 1.0)
    assert event.mu == pytest.approx(0.25, rel=1e-12)


def test_one_row_changes_one_count_by_one(rng):
    """All data sets of a row more, over all codes of a small ball and random public centres."""
    ball = np.array(list(product(range(-2, 3), repeat=2)), dtype=np.int16)
    centres = rng.integers(-3, 4, size=(1, 5, 2)).astype(np.int16)

    def counts(codes):
        partition = Partition(centres, np.array([0, len(codes)], dtype=np.int64))
        found, sums = np.zeros((1, 5), np.int64), np.zeros((1, 5, 2), np.int64)
        _backend.tally(np.ascontiguousarray(codes), partition, None, found, sums)
        return found

    for size in range(4):
        rows = ball[rng.integers(len(ball), size=size)]
        for added in ball:
            change = counts(np.vstack([rows, added[None]])) - counts(rows)
            assert np.linalg.norm(change) == 1


def test_a_stored_answer_is_reused_for_the_same_centres_only():
    reservation = DiaryReservation()
    first = ask(releases_of(FakeEngine(2), reservation=reservation), 5)[0]
    again = ask(releases_of(SilentEngine(2), reservation=reservation), 5)[0]
    np.testing.assert_array_equal(first, again)
    with pytest.raises(LedgerError, match="another question"):
        ask(releases_of(SilentEngine(2), reservation=reservation), 5, shift=1)
