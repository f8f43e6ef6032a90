"""`sample(temperature=)`: covariances times it, the same bits at 1."""

import numpy as np
import pytest

from cloister import DPGaussianMixture
from cloister.errors import InvalidInput, InvalidType

N = 40_000


@pytest.fixture(scope="module", params=["tied", "diag", "low_rank"])
def model(request):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 3000)
    X = np.eye(5)[y] + 0.2 * rng.normal(size=(3000, 5)) * [1, 2, 1, 0.5, 0.2]
    X /= np.linalg.norm(X, axis=1).max()
    return DPGaussianMixture(1, request.param, epsilon=np.inf, classes=[0, 1], tilt=False).fit(X, y)


def test_temperature_one_is_the_default_bit_for_bit(model):
    for proba in (True, False):
        drawn = model.sample(100, 3, return_proba=proba)
        again = model.sample(100, 3, return_proba=proba, temperature=1.0)
        assert all((a == b).all() for a, b in zip(drawn, again, strict=True))


@pytest.mark.parametrize("temperature", [0.25, 4])
def test_rows_lie_root_temperature_as_far_from_the_same_means(model, temperature):
    rows, labels = model.sample(N, 3)
    warm, warm_labels = model.sample(N, 3, temperature=temperature)
    assert (labels == warm_labels).all()
    means = model.means_[labels]
    expected = np.sqrt(temperature) * (rows - means)
    np.testing.assert_allclose(warm - means, expected, atol=1e-5)


def test_soft_labels_are_the_posterior_of_the_mixture_itself(model):
    rows, _, posterior = model.sample(50, 3, return_proba=True, temperature=0.1)
    np.testing.assert_array_equal(posterior, model.predict_proba(rows))


@pytest.mark.parametrize("temperature", [0, -1, np.nan, np.inf, "hot", None, True])
def test_bad_temperatures_are_refused(model, temperature):
    with pytest.raises((InvalidInput, InvalidType), match=r"^temperature.*1\.0 is the mixture"):
        model.sample(5, temperature=temperature)
