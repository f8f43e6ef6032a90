"""What a fit costs: the whole budget, never more, whatever its plan."""

from math import inf, sqrt

import pytest
from sklearn.base import clone

from cloister import DPGaussianMixture, DPKMeans
from cloister.privacy.accounting import mu_from_epsilon

PRIVACY = [(0.1, 1e-6), (1.0, 1e-5), (8.0, 1e-9)]
ESTIMATORS = [
    DPKMeans(5, init=init, n_rounds=rounds)
    for init in ("gaussian", "histogram", "random")
    for rounds in (None, 7)
] + [
    DPGaussianMixture(components, covariance_type, classes=[0, 1])
    for components in (1, 3)
    for covariance_type in ("tied", "full", "diag", "spherical", "low_rank")
]
ESTIMATORS.append(DPGaussianMixture(classes=[0, 1], tilt=False))


@pytest.mark.parametrize(("epsilon", "delta"), PRIVACY)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_a_fit_spends_its_budget_and_never_more(estimator, epsilon, delta, rng):
    X = rng.normal(size=(300, 5))
    y = rng.integers(2, size=300)
    model = clone(estimator).set_params(epsilon=epsilon, delta=delta).fit(X, y)
    mu = mu_from_epsilon(epsilon, delta)
    spent = sqrt(sum((event.sensitivity / event.sigma) ** 2 for event in model.privacy_.events))
    assert mu * (1 - 1e-9) <= spent <= mu
    assert model.privacy_.mu <= mu
    assert epsilon * (1 - 1e-8) <= model.privacy_.epsilon <= epsilon
    assert sum(model.shares().values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_only_an_infinite_epsilon_is_without_noise(estimator, rng):
    X = rng.normal(size=(300, 5))
    y = rng.integers(2, size=300)
    model = clone(estimator).set_params(epsilon=1e6)
    assert all(event.sigma > 0 for event in model.fit(X, y).privacy_.events)
    model.set_params(epsilon=inf).fit(X, y)
    assert all(event.sigma == 0 for event in model.privacy_.events)
    assert model.privacy_.epsilon == model.privacy_.mu == inf
