"""Covariances: every shape against its dense matrix."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from cloister.covariance import Covariances

D = 6


def covariances(rng, rank):
    directions = np.stack([np.linalg.qr(rng.normal(size=(D, D)))[0][:rank] for _ in range(2)])
    variances = rng.uniform(1.5, 3.0, size=(2, rank))
    rest = rng.uniform(0.2, 1.0, size=(2, D))
    if 0 < rank < D:
        rest[:] = rest[:, :1]
    return Covariances(directions, variances, rest)


@pytest.mark.parametrize("rank", [0, 1, 3, D])
def test_log_density_parts_equal_the_dense_normal(rng, rank):
    model = covariances(rng, rank)
    rows, mean = rng.normal(size=(20, D)), rng.normal(size=D)
    for f, matrix in enumerate(model.matrices()):
        difference = model.whiten(rows, f) - model.whiten(mean[None], f)
        squared = (difference**2).sum(axis=1)
        log_density = -0.5 * (squared + model.log_determinants()[f] + D * np.log(2 * np.pi))
        expected = multivariate_normal(mean, matrix).logpdf(rows)
        np.testing.assert_allclose(log_density, expected, rtol=1e-10)


@pytest.mark.parametrize("rank", [0, 1, 3, D])
def test_sampling_factors_have_these_covariances(rng, rank):
    model = covariances(rng, rank)
    factors, scales = model.sampling_factors()
    for f, matrix in enumerate(model.matrices()):
        made = factors[f].T @ factors[f]
        if scales is not None:
            made = made + np.diag(scales[f] ** 2)
        np.testing.assert_allclose(made, matrix, rtol=1e-5, atol=1e-5)
