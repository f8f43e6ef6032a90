"""Every release of every fit is covered by noise, and the auditor that says so sees a missing one.

`FALSE_POSITIVE_RATE` is that of one event; about 600 are audited here.
"""

import numpy as np
import pytest

from cloister import DPGaussianMixture, DPKMeans
from cloister.privacy import release as release_module
from gradient_steps import GradientSteps
from noise_audit import uncovered_events

TWO = {"classes": [0, 1], "n_hint": 400}
ESTIMATORS = [
    # Fixed, so that every fit has the same draws: noisy votes may or may not afford a lift.
    DPKMeans(3, init="gaussian", n_rounds=2, n_hint=400, plan_overrides={"least_rows": 0.0}),
    DPKMeans(3, init="gaussian", n_rounds=2, n_hint=400, plan_overrides={"least_rows": 1e9}),
    DPKMeans(3, init="gaussian", n_rounds=2, n_hint=400, plan_overrides={"vote_cells": 0}),
    DPKMeans(3, init="histogram", n_rounds=2),
    DPKMeans(3, init="random", n_rounds=2),
    DPKMeans(3, init=np.random.default_rng(5).normal(size=(7, 7)), n_rounds=2),
    DPKMeans(3, metric="cosine", init="random", n_rounds=2),
    DPGaussianMixture(1, "tied", classes=[0, 1], tilt=True),
    DPGaussianMixture(1, "tied", classes=[0, 1], tilt=False),
    DPGaussianMixture(1, "full", classes=[0, 1]),
    DPGaussianMixture(1, "diag", classes=[0, 1]),
    DPGaussianMixture(2, "spherical", **TWO, plan_overrides={"least_rows": 0.0, "rounds": 2}),
    DPGaussianMixture(2, "full", **TWO, plan_overrides={"least_rows": 1e9, "rounds": 2}),
    DPGaussianMixture(2, "low_rank", **TWO, plan_overrides={"vote_cells": 0, "rounds": 2}),
    DPGaussianMixture(1, row_transform="power:0.25", **TWO),
    GradientSteps(),
]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(400, 7))
    return X / np.linalg.norm(X, axis=1, keepdims=True), rng.integers(2, size=400)


def spoil_noise(monkeypatch, spoilt, factor):
    """Multiply the noise of the draw numbered `spoilt`, counted over the fit; return the count."""
    draw = release_module.rounded_gaussian
    made = []

    def spoiling(sigma, size, **options):
        made.append(size)
        noise = draw(sigma, size, **options)
        return noise * factor if len(made) - 1 == spoilt else noise

    monkeypatch.setattr(release_module, "rounded_gaussian", spoiling)
    return made


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_every_event_is_covered(estimator, rows):
    assert uncovered_events(estimator, *rows) == []


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_a_missing_noise_is_seen_wherever_it_is(estimator, rows, monkeypatch):
    with monkeypatch.context() as patch:
        made = spoil_noise(patch, None, 1)
        estimator.fit(*rows)
        draws = len(made)
    assert draws >= len(estimator.privacy_.events)
    for spoilt in range(draws):
        with monkeypatch.context() as patch:
            made = spoil_noise(patch, spoilt, 0)
            found = uncovered_events(estimator, *rows)
        assert len(made) == draws
        assert len(found) == 1, f"draw {spoilt}"


def test_a_tripled_noise_is_seen(rows, monkeypatch):
    spoil_noise(monkeypatch, 0, 3)
    wide = np.tile(rows[0], (1, 20))
    assert uncovered_events(DPKMeans(3, n_rounds=1), wide) == ["mean"]
