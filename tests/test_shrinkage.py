"""Shrinkage of noisy values: no worse than the noisy ones, and exact without noise."""

import numpy as np
import pytest

from cloister.shrinkage import (
    denoise_spectrum,
    james_stein,
    positive_spectrum,
    project_to_ball,
    safe_counts,
    total_scatter,
)


def test_james_stein_beats_the_noisy_mean(rng):
    truth = rng.normal(size=(500, 40)) * 0.1
    noisy = truth + rng.normal(size=truth.shape)
    shrunk = james_stein(noisy, 1.0)
    assert ((shrunk - truth) ** 2).sum() < 0.2 * ((noisy - truth) ** 2).sum()
    assert (james_stein(noisy, 0.0) == noisy).all()
    assert (james_stein(noisy[:, :2], 100.0) == noisy[:, :2]).all()  # no shrinkage in the plane
    assert np.isfinite(james_stein(np.zeros((1, 5)), 1.0)).all()


def test_denoise_spectrum_beats_raw_and_floored(rng):
    d, noise = 200, 0.05
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    truth = (basis * np.sort(rng.pareto(1.5, size=d) * 0.2)[::-1]) @ basis.T
    draw = rng.normal(size=(d, d)) * noise
    noisy = truth + (draw + draw.T) / 2
    values, vectors = denoise_spectrum(noisy, noise)

    def error(spectrum):
        return np.linalg.norm((vectors * spectrum) @ vectors.T - truth)

    raw = np.linalg.eigvalsh(noisy)
    assert error(values) < 0.8 * error(raw)
    assert error(values) < error(np.maximum(raw, noise * np.sqrt(2 * d)))
    assert (np.diff(values) >= 0).all()


def test_denoise_spectrum_without_noise_is_the_spectrum(rng):
    matrix = np.cov(rng.normal(size=(50, 8)), rowvar=False)
    values, vectors = denoise_spectrum(matrix, 0.0)
    np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-12)


@pytest.mark.parametrize("noise", [0.0, 1e-3, 10.0])
def test_positive_spectrum_is_positive_with_the_known_sum(rng, noise):
    values = positive_spectrum(rng.normal(size=30), 2.0, noise)
    assert (values > 0).all()
    assert values.sum() == pytest.approx(2.0)
    assert (positive_spectrum(np.full(30, -1.0), 2.0, noise) > 0).all()


def test_total_scatter_believes_the_trace_unless_it_is_lost_in_noise():
    mean = np.array([0.6, 0.0])
    assert total_scatter(0.3, 1e-6, mean, 1.0) == pytest.approx(0.3)
    assert total_scatter(-50.0, 100.0, mean, 1.0) == pytest.approx(0.64, abs=0.01)
    assert total_scatter(-1e-9, 0.0, mean, 1.0) > 0


def test_safe_counts_and_ball(rng):
    assert safe_counts(np.array([-5.0, 0.2, 40.0]), 3.0).tolist() == [6.0, 6.0, 40.0]
    points = project_to_ball(rng.normal(size=(50, 4)) * 3, 1.5)
    assert np.linalg.norm(points, axis=1).max() <= 1.5 + 1e-12
    assert (project_to_ball(points, 2.0) == points).all()
