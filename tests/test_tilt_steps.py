"""The lengths of a tilted fit's steps: for classes, for directions, and what rare classes gain."""

import numpy as np
import pytest

from cloister import DPGaussianMixture, mixture_tilt
from cloister.covariance import Covariances
from cloister.mixture_tilt import (
    LARGEST_FLOOR,
    RARITY,
    RATE,
    SAMPLING_FLOOR,
    _class_steps,
    _preconditioner,
)


@pytest.mark.parametrize("priors", [[0.5, 0.5], [0.9, 0.09, 0.01], [0.25] * 4, [0.999, 0.001]])
def test_no_step_is_longer_than_the_curvature_allows(priors):
    priors = np.array(priors)
    steps = _class_steps(priors)
    curvature = np.diag(priors) - np.outer(priors, priors)
    assert np.linalg.eigvals(np.diag(steps) @ curvature).real.max() == pytest.approx(1)
    np.testing.assert_allclose(steps / steps[0], np.sqrt(priors[0] / priors))


@pytest.mark.parametrize("noise", [0.0, 0.01, 100.0])
def test_directions_of_little_variance_are_floored_and_the_floor_is_capped(noise):
    variances, n, length = np.array([8.0, 1.0, 1e-6]), 1e4, 2.0
    one = Covariances(np.eye(3)[None], variances[None], np.ones((1, 3)))
    floor = variances.sum() * min(np.hypot(noise, SAMPLING_FLOOR / n), LARGEST_FLOOR)
    expected = RATE * length**2 / np.maximum(variances, floor)
    np.testing.assert_allclose(_preconditioner(one, noise, n, length), np.diag(expected))


def test_a_class_of_one_per_cent_gains_and_the_others_lose_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    d, y = 64, rng.choice(5, size=20_000, p=[0.4, 0.3, 0.19, 0.1, 0.01])
    X = np.eye(d)[y] + 0.5 * rng.normal(size=(len(y), d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)

    def found(rarity):
        monkeypatch.setattr(mixture_tilt, "RARITY", rarity)
        right = [
            DPGaussianMixture(epsilon=2.0, classes=range(5), unsafe_noise_seed=key)
            .fit(X, y)
            .predict(X)
            == y
            for key in range(3)
        ]
        return np.mean(right, axis=0)[y == 4].mean(), np.mean(right)

    alike, by_rarity = found(0.0), found(RARITY)
    assert by_rarity[0] > alike[0] + 0.07
    assert by_rarity[1] > alike[1] - 0.005
