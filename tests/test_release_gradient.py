"""The release of a gradient: its noise, its unit, its question, and what it is good for."""

from dataclasses import fields, replace
from math import inf, sqrt

import numpy as np
import pytest

from cloister.codes import MOMENT_BOUND, Clip, CodeGrid
from cloister.errors import LedgerError
from cloister.privacy import release as release_module
from cloister.privacy.accounting import compose
from fake_engine import (
    MU,
    DiaryReservation,
    FakeEngine,
    SilentEngine,
    ask_gradient,
    releases_of,
    softmax_of,
)
from gradient_steps import GradientSteps
from private_objects import mentions, unexplained, values_of
from test_release import ENOUGH, assert_noise

SENSITIVITY = 2.0**22


def test_the_noise_is_of_the_size_that_is_stated():
    classes = 40
    engine = FakeEngine(ENOUGH // classes, classes)
    engine.grid = CodeGrid(ENOUGH // classes, 2.0)
    noisy = ask_gradient(releases_of(engine), radius=0.5, residual_radius=0.25)
    rows = MOMENT_BOUND - sqrt(ENOUGH // classes) / 2
    residuals = MOMENT_BOUND - sqrt(classes) / 2
    noise = SENSITIVITY / MU * (1 / rows) * (0.25 / residuals)
    assert noisy.noise == pytest.approx(noise, rel=1e-12)
    assert noisy.noisy_gradient.shape == (classes, ENOUGH // classes)
    assert_noise(noisy.noisy_gradient, noise)


@pytest.mark.parametrize("step", [1, -977])
def test_without_noise_the_answer_is_in_units_of_the_radius(step):
    noisy = ask_gradient(releases_of(FakeEngine(3, 2, step)), "exact", inf, residual_radius=0.25)
    unit = 0.25 / (MOMENT_BOUND - sqrt(2) / 2) / (MOMENT_BOUND - sqrt(3) / 2)
    expected = unit * step * np.arange(6).reshape(2, 3)
    np.testing.assert_allclose(noisy.noisy_gradient, expected, rtol=1e-14)
    assert noisy.noise == 0.0


def test_its_event_has_the_sensitivity_of_its_bounds():
    engine, mu = FakeEngine(4, 3), 0.3
    release = releases_of(engine)
    ask_gradient(release, mu=mu)
    smaller = replace(softmax_of(engine), row_clip=Clip(9.0, 60.5, 63))
    release.gradient("smaller", smaller, mu)
    for event, sensitivity in zip(release.events, [SENSITIVITY, 63.0 * 2048], strict=True):
        assert (event.sensitivity, event.sigma) == (sensitivity, pytest.approx(sensitivity / mu))
        assert event.mu == pytest.approx(mu, rel=1e-12)


def test_a_stored_answer_is_reused_and_the_rows_not_asked():
    reservation = DiaryReservation()
    first = ask_gradient(releases_of(FakeEngine(4, 3, 5), reservation=reservation))
    again = ask_gradient(releases_of(SilentEngine(4, 3), reservation=reservation))
    np.testing.assert_array_equal(first.noisy_gradient, again.noisy_gradient)
    assert first.noise == again.noise
    assert reservation.diary == ["draw gradient", "store gradient"]


CHANGES = {
    "centre": np.array([0, 0, 0, 1], dtype=np.int16),
    "row_clip": Clip(100.0, 2047.0, MOMENT_BOUND),
    "weights": np.ones((3, 4), dtype=np.int16),
    "scale": 1e-9,
    "bias": np.array([0.0, 0.0, 5e-324]),
    "residual_clip": Clip(0.5, 2047.0, MOMENT_BOUND),
}


def test_a_stored_answer_belongs_to_every_part_of_its_question():
    engine, reservation = FakeEngine(4, 3), DiaryReservation()
    model = softmax_of(engine)
    releases_of(engine, reservation=reservation).gradient("round", model, MU)
    other_grid = SilentEngine(4, 3)
    other_grid.grid = CodeGrid(4, 3.0)
    others = [(SilentEngine(4, 3), model, MU / 2), (other_grid, model, MU)]
    assert CHANGES.keys() == {field.name for field in fields(model)}
    for name, value in CHANGES.items():
        others.append((SilentEngine(4, 3), replace(model, **{name: value}), MU))
    for silent, question, mu in others:
        resumed = releases_of(silent, reservation=reservation)
        with pytest.raises(LedgerError, match="another question"):
            resumed.gradient("round", question, mu)
        assert resumed.events == []


def test_one_key_of_the_operating_system_a_release(monkeypatch):
    keys = []

    def record(sigma, size, *, key, stream=0):
        keys.append((key, stream, size))
        return np.zeros(size, dtype=np.int64)

    monkeypatch.setattr(release_module, "rounded_gaussian", record)
    monkeypatch.setattr(release_module, "fresh_key", lambda: bytes([len(keys)]) * 32)
    release = releases_of(FakeEngine(4, 3))
    ask_gradient(release, "first")
    ask_gradient(release, "second")
    assert keys == [(bytes(32), 0, 12), (bytes([1]) * 32, 0, 12)]


def clusters(seed, counts, d=24):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    X = 1.2 * np.eye(len(counts), d)[y] + rng.normal(size=(len(y), d)) * 0.4
    return X / np.linalg.norm(X, axis=1, keepdims=True), y


COUNTS = (1009, 1511, 2003)


def test_descent_by_noisy_gradients_finds_the_classes():
    X, y = clusters(0, COUNTS)
    accuracy = {mu: np.mean(GradientSteps(mu).fit(X, y).predict(X) == y) for mu in (1.0, inf)}
    assert accuracy[inf] > 0.95
    assert accuracy[1.0] > 0.93


def test_too_much_noise_hides_them():
    X, y = clusters(0, COUNTS)
    assert np.mean(GradientSteps(1e-4).fit(X, y).predict(X) == y) < 0.8


def test_steps_add_up_to_their_budget():
    model = GradientSteps(0.7, n_steps=5).fit(*clusters(0, COUNTS))
    assert compose([event.mu for event in model.privacy_.events]) == pytest.approx(0.7, rel=1e-9)


def test_nothing_exact_is_in_the_answer():
    rows, other_rows = clusters(1, COUNTS), clusters(2, (1013, 1301, 1907))
    answers = [
        values_of(GradientSteps().fit(*data).last_answer_) for data in (rows, rows, other_rows)
    ]
    assert len(answers[0]) > 70
    assert unexplained(*answers) == []
    assert mentions(answers[0], (*COUNTS, sum(COUNTS))) == []


def test_a_descent_is_the_same_bits_on_any_order_of_rows():
    X, y = clusters(3, (40, 50, 60))
    order = np.random.default_rng(0).permutation(len(X))
    one, other = (
        GradientSteps().fit(rows, labels, unsafe_noise_seed=1)
        for rows, labels in ((X, y), (X[order], y[order]))
    )
    np.testing.assert_array_equal(one.coef_, other.coef_)
