"""Releases: the noise that they claim, its cost, and the order of drawing, storing and returning.

Chi-square tests of the noise take at least 4e5 values each. `FALSE_POSITIVE_RATE` bounds the
chance that one of them fails by chance; noise 2 % too small or large is 12 standard deviations of
the statistic away, so it passes with probability below 1e-10.
"""

from math import inf, sqrt

import numpy as np
import pytest
from scipy.stats import chi2

from cloister.codes import CODE_BOUND, MOMENT_BOUND, CodeGrid
from cloister.errors import BudgetExceeded, LedgerError
from cloister.privacy import release as release_module
from cloister.privacy.sensitivity import count_weight
from fake_engine import (
    MU,
    DiaryReservation,
    FakeEngine,
    SilentEngine,
    ask_histogram,
    ask_moments,
    ask_tally,
    releases_of,
)

FALSE_POSITIVE_RATE = 1e-6
ENOUGH = 400_000


def assert_noise(values, sigma):
    """Fail unless the values look like independent N(0, sigma^2)."""
    values = np.ravel(values) / sigma
    assert len(values) >= ENOUGH
    tail = FALSE_POSITIVE_RATE / 4  # two tails, and two statistics: of values and of neighbours
    low, high = chi2.ppf(tail, len(values)), chi2.isf(tail, len(values))
    assert low <= values @ values <= high
    # Shared randomness would make neighbours, or one half and the other, alike.
    half = len(values) // 2
    differences = (values[:half] - values[half : 2 * half]) / sqrt(2)
    assert chi2.ppf(tail, half) <= differences @ differences <= chi2.isf(tail, half)


@pytest.mark.parametrize("radius", [None, 0.25])
@pytest.mark.parametrize(("pooled", "classes"), [(False, 2), (True, 3)])
def test_noise_of_a_tally(pooled, classes, radius):
    k = ENOUGH // 2 if not pooled else ENOUGH
    engine = FakeEngine(1, classes)
    noisy = ask_tally(releases_of(engine), (classes, k, 1), pooled=pooled, radius=radius)
    weight = round(CODE_BOUND / 4**0.25)
    sigma = sqrt(CODE_BOUND**2 + weight**2) / MU
    step = 2.0 / (CODE_BOUND - 0.5) if radius is None else radius / (CODE_BOUND - 0.5)
    assert noisy.noisy_counts.shape == (1 if pooled else classes, k)
    assert_noise(noisy.noisy_counts, sigma / weight)
    assert_noise(noisy.noisy_sums, sigma * step)
    assert noisy.count_noise == pytest.approx(sigma / weight, rel=1e-12)
    assert noisy.sum_noise == pytest.approx(sigma * step, rel=1e-12)


def test_noise_of_a_tally_of_many_features():
    d, k = 512, 800
    noisy = ask_tally(releases_of(FakeEngine(d)), (1, k, d))
    sigma = sqrt(CODE_BOUND**2 + count_weight(d) ** 2) / MU
    assert_noise(noisy.noisy_sums, sigma * 2.0 / (CODE_BOUND - sqrt(d) / 2))


def test_noise_of_moments():
    d, groups, radius = 8, ENOUGH // 8, 0.5
    release = releases_of(FakeEngine(d))
    step = radius / (MOMENT_BOUND - sqrt(d) / 2)
    noise = MOMENT_BOUND**2 / MU * step**2
    noisy = ask_moments(release, groups, "full", radius=radius)
    values, diagonal = noisy.noisy_values, np.arange(d)
    assert noisy.noise == pytest.approx(noise, rel=1e-12)
    assert_noise(values[:, diagonal, diagonal], noise)
    rows, columns = np.triu_indices(d, 1)
    assert_noise(values[:, rows, columns], noise / sqrt(2))
    np.testing.assert_array_equal(values, values.transpose(0, 2, 1))
    # The two streams of one key are not one: neighbours on and off the diagonal are unlike.
    alike = np.corrcoef(values[:, 0, 0], values[:, 0, 1])[0, 1]
    assert abs(alike) < 5 / sqrt(groups)  # false-positive rate 6e-7

    diagonals = ask_moments(release, groups, "diagonal", "diagonal", radius=radius)
    assert_noise(diagonals.noisy_values, noise)


def test_noise_of_traces():
    step = 0.5 / (MOMENT_BOUND - 1)
    noisy = ask_moments(releases_of(FakeEngine(4)), ENOUGH, "trace")
    assert noisy.noisy_values.shape == (ENOUGH, 1)
    assert_noise(noisy.noisy_values, MOMENT_BOUND**2 / MU * step**2)


def test_noise_of_a_histogram():
    # Sigma is small here, so rounding adds its own variance of 1/12.
    noisy, noise = ask_histogram(releases_of(FakeEngine(2, 2)), ENOUGH // 2, mu=0.01)
    assert noise == pytest.approx(100.0, rel=1e-12)
    assert noisy.shape == (2, ENOUGH // 2)
    assert_noise(noisy, sqrt(noise**2 + 1 / 12))


def test_each_call_and_each_fit_draws_anew():
    release = releases_of(FakeEngine(4))
    draws = [ask_tally(r, (1, 5000, 4), f"{i}") for i in range(2) for r in (release,)]
    draws += [ask_tally(releases_of(FakeEngine(4)), (1, 5000, 4), "0")]
    for a in range(3):
        for b in range(a):
            same = draws[a].noisy_sums == draws[b].noisy_sums
            assert same.sum() <= 12  # of 20,000; 0.3 are expected, so 13 happen once in 10^16
            alike = np.corrcoef(draws[a].noisy_sums.ravel(), draws[b].noisy_sums.ravel())[0, 1]
            assert abs(alike) < 5 / sqrt(20_000)  # false-positive rate 6e-7


@pytest.mark.parametrize("step", [1, -977])
def test_without_noise_the_answer_comes_out_in_the_unit_of_the_rows(step):
    release, grid = releases_of(FakeEngine(3, 2, step)), CodeGrid(3, 2.0)
    assert grid.row_clip.step == 2.0 / (CODE_BOUND - sqrt(3) / 2)
    counts, sums = step * np.arange(10).reshape(2, 5), step * np.arange(30).reshape(2, 5, 3)

    noisy = ask_tally(release, (2, 5, 3), "rows", inf)
    np.testing.assert_array_equal(noisy.noisy_counts, counts)
    np.testing.assert_array_equal(noisy.noisy_sums, sums * grid.row_clip.step)
    noisy = ask_tally(release, (2, 5, 3), "pooled", inf, pooled=True)
    np.testing.assert_array_equal(noisy.noisy_counts, counts.sum(axis=0)[None])
    np.testing.assert_array_equal(noisy.noisy_sums, sums.sum(axis=0)[None] * grid.row_clip.step)
    noisy = ask_tally(release, (2, 5, 3), "residuals", inf, radius=0.5)
    np.testing.assert_allclose(
        noisy.noisy_sums, sums * 0.5 / (CODE_BOUND - sqrt(3) / 2), rtol=1e-14
    )
    unit = (0.5 / (MOMENT_BOUND - sqrt(3) / 2)) ** 2
    full = ask_moments(release, 1, "full", "full", inf).noisy_values[0]
    expected = step * unit * np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
    np.testing.assert_allclose(full, expected, rtol=1e-14)
    diagonal = ask_moments(release, 1, "diagonal", "diagonal", inf).noisy_values
    np.testing.assert_allclose(diagonal, step * unit * np.arange(3)[None], rtol=1e-14)
    bins, noise = ask_histogram(release, 4, "bins", inf)
    np.testing.assert_array_equal(bins, step * np.arange(8).reshape(2, 4))
    assert noise == 0.0


def test_what_was_released_is_recorded():
    release = releases_of(FakeEngine(16))
    ask_tally(release, (1, 3, 16), "rows", 0.3)
    ask_moments(release, 2, "full", "moments", 0.4)
    ask_histogram(release, 7, "bins", 0.5)
    weight = count_weight(16)
    expected = [
        ("rows", sqrt(CODE_BOUND**2 + weight**2), 0.3),
        ("moments", MOMENT_BOUND**2, 0.4),
        ("bins", 1.0, 0.5),
    ]
    for event, (name, sensitivity, mu) in zip(release.events, expected, strict=True):
        assert event.name == name
        assert event.sensitivity == pytest.approx(sensitivity, rel=1e-12)
        assert event.sensitivity**2 >= round(sensitivity**2)  # never rounded down
        assert event.sigma == pytest.approx(sensitivity / mu, rel=1e-12)
        assert event.mu == pytest.approx(mu, rel=1e-12)


def test_a_release_beyond_the_limit_is_refused_before_the_rows_are_asked():
    engine = FakeEngine(4)
    release = releases_of(engine, mu_limit=0.5)
    ask_tally(release, (1, 2, 4), "affordable", 0.3)
    asked = engine.asked
    with pytest.raises(BudgetExceeded, match=r"'beyond'.*0\.5"):
        ask_tally(release, (1, 2, 4), "beyond", 0.4 * (1 + 1e-10))
    with pytest.raises(BudgetExceeded):
        ask_moments(release, 1, "trace", mu=inf)
    assert engine.asked == asked
    assert [event.name for event in release.events] == ["affordable"]
    ask_tally(release, (1, 2, 4), "the rest", 0.4 * (1 - 1e-12))


def test_a_name_is_used_once_in_a_fit():
    reservation = DiaryReservation()
    release = releases_of(FakeEngine(4), reservation=reservation)
    ask_tally(release, (1, 2, 4))
    with pytest.raises(LedgerError, match="'tally' was made already"):
        ask_tally(release, (1, 2, 4))
    assert len(release.events) == 1


def test_what_is_returned_is_what_was_stored_before():
    class Tampering(DiaryReservation):
        def round(self, key, draw):
            noisy = bytearray(super().round(key, draw))
            noisy[-8:] = (12345).to_bytes(8, "little", signed=True)  # of the last sum
            return bytes(noisy)

    reservation = Tampering()
    noisy = ask_tally(releases_of(FakeEngine(4), reservation=reservation), (1, 2, 4))
    assert reservation.diary == ["draw tally", "store tally"]
    step = CodeGrid(4, 2.0).row_clip.step
    assert noisy.noisy_sums[0, -1, -1] == 12345 * step


def test_nothing_comes_out_if_it_cannot_be_stored():
    class FullDisk(DiaryReservation):
        def round(self, key, draw):
            draw()
            raise LedgerError("no space left")

    release = releases_of(FakeEngine(4), reservation=FullDisk())
    with pytest.raises(LedgerError, match="no space"):
        ask_tally(release, (1, 2, 4))
    assert release.events == []


def test_stored_rounds_are_reused_and_the_rows_not_asked():
    reservation = DiaryReservation()

    def ask_all(engine):
        release = releases_of(engine, reservation=reservation)
        answers = [
            ask_tally(release, (1, 5, 4), radius=0.1).noisy_sums,
            ask_moments(release, 2, "full").noisy_values,
            ask_histogram(release, 9)[0],
        ]
        return answers, release.events

    first, events = ask_all(FakeEngine(4))
    diary = list(reservation.diary)
    again, events_again = ask_all(SilentEngine(4))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert events == events_again
    assert reservation.diary == diary


OTHER_TALLIES = {
    "centres": {"centres": np.ones((1, 5, 4), dtype=np.int16)},
    "cells": {"centres": np.zeros((1, 4, 4), dtype=np.int16)},
    "classes": {"centres": np.zeros((5, 1, 4), dtype=np.int16)},
    "cost": {"mu": MU / 2},
    "radius": {"radius": 0.2},
    "rows": {"radius": None},
    "pooling": {"pooled": True},
}


@pytest.mark.parametrize("change", OTHER_TALLIES.values(), ids=OTHER_TALLIES)
def test_a_stored_round_is_no_answer_to_another_question(change):
    question = {"centres": np.zeros((1, 5, 4), dtype=np.int16), "mu": MU, "radius": 0.1}
    reservation = DiaryReservation()
    releases_of(FakeEngine(4), reservation=reservation).tally("round", **question)
    resumed = releases_of(SilentEngine(4), reservation=reservation)
    with pytest.raises(LedgerError, match="another question"):
        resumed.tally("round", **{**question, **change})
    assert resumed.events == []


def test_a_stored_round_belongs_to_its_grid_and_its_kind_of_moment():
    reservation = DiaryReservation()
    ask_moments(releases_of(FakeEngine(4), reservation=reservation), 4, "trace", radius=0.5)
    engine = SilentEngine(4)
    engine.grid = CodeGrid(4, 3.0)
    for resumed, options in [
        (releases_of(engine, reservation=reservation), (4, "trace")),
        (releases_of(SilentEngine(4), reservation=reservation), (1, "diagonal")),
    ]:
        with pytest.raises(LedgerError, match="another question"):
            ask_moments(resumed, *options)


def test_stored_bytes_of_a_wrong_length_are_refused():
    reservation = DiaryReservation()
    ask_tally(releases_of(FakeEngine(4), reservation=reservation), (1, 5, 4))
    stored = reservation.rounds["tally"]
    for damaged in (stored[:-8], stored + bytes(8), b"", stored[:32]):
        reservation.rounds["tally"] = damaged
        with pytest.raises(LedgerError, match=rf"holds {len(damaged)} bytes.*needs {len(stored)}"):
            ask_tally(releases_of(SilentEngine(4), reservation=reservation), (1, 5, 4))


def test_an_answer_of_the_wrong_shape_is_never_broadcast(monkeypatch):
    # One exact value added to many draws could be averaged out.
    engine = FakeEngine(4)
    monkeypatch.setattr(engine, "exact_moments", lambda *_: np.array([[7]]))
    with pytest.raises(ValueError, match="reshape"):
        ask_moments(releases_of(engine), 1, "full")


def test_the_key_is_the_operating_systems(monkeypatch):
    keys = []

    def record(sigma, size, *, key, stream=0):
        keys.append((key, stream))
        return np.zeros(size, dtype=np.int64)

    monkeypatch.setattr(release_module, "rounded_gaussian", record)
    monkeypatch.setattr(release_module, "fresh_key", lambda: bytes([len(keys)]) * 32)
    release = releases_of(FakeEngine(4))
    ask_tally(release, (1, 2, 4))
    ask_moments(release, 2, "full")
    ask_histogram(release, 3)
    # One key a release; the two draws of a matrix take two streams of it.
    assert [(key[0], stream) for key, stream in keys] == [(0, 0), (1, 0), (1, 1), (3, 0)]
