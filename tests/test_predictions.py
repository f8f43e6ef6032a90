"""What noise adds is what plans predict, over a small grid of (n, d, k, epsilon)."""

from importlib import import_module
from math import inf, sqrt
from pathlib import Path

import numpy as np
import pytest

from cloister import DPKMeans, KMeans
from cloister.dp_kmeans_plan import kmeans_plan
from cloister.mixture_rules import MixtureRules
from cloister.predictions import added_loss, eigenvalue_noise
from cloister.privacy.accounting import mu_from_epsilon


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
    return import_module("plan_measure")


# The fewer noisy numbers there are, the more seeds a mean of them needs.
@pytest.mark.parametrize(
    ("n", "d", "k", "epsilon", "seeds"),
    [
        (2_000, 2, 2, 0.5, 200),
        (2_000, 16, 2, 0.25, 20),
        (5_000, 4, 16, 4.0, 8),
        (20_000, 64, 16, 1.0, 2),
        (3_000, 128, 4, 8.0, 2),
        (50_000, 8, 64, 8.0, 2),
    ],
)
def test_noise_adds_the_loss_that_is_predicted(measure, n, d, k, epsilon, seeds):
    ratios = [measure.loss_ratio(n, d, k, epsilon, seed) for seed in range(seeds)]
    assert np.mean(ratios) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("d", "least"), [(16, 0.75), (64, 0.9), (256, 0.95)])
@pytest.mark.parametrize(("n", "epsilon"), [(1_000, 0.5), (10_000, 8.0)])
def test_the_largest_eigenvalue_of_noise_is_predicted(measure, n, d, epsilon, least):
    ratios = [measure.eigenvalue_ratio(n, d, epsilon, seed) for seed in range(3)]
    assert least < np.mean(ratios) < 1.05


@pytest.mark.parametrize("d", [2, 32])
def test_a_whole_fit_adds_what_its_plan_predicts(d):
    """From public centres at the best ones, so that noise is all that keeps it from the optimum."""
    n, k = 2_000, 4
    rng = np.random.default_rng(1)
    centres, angles = np.zeros((k, d)), 2 * np.pi * np.arange(k) / k
    centres[:, 0], centres[:, 1] = 0.6 * np.cos(angles), 0.6 * np.sin(angles)
    rows = centres[np.arange(n) % k] + 0.2 / sqrt(d) * rng.standard_normal((n, d))
    best = KMeans(k, init=centres, n_init=1).fit(rows).cluster_centers_
    free = DPKMeans(k, inf, init=best, n_hint=n).fit(rows).score(rows)
    added, predicted = [], []
    for seed in range(20 if d == 2 else 3):
        model = DPKMeans(k, 1.0, init=best, n_hint=n, unsafe_noise_seed=seed).fit(rows)
        added.append(model.score(rows) / free - 1)
        predicted.append(model.plan_.added_loss)
    # Shrinkage towards the centre before, which was right, takes most of the noise where d > 2.
    assert np.mean(added) < 1.3 * np.mean(predicted)
    if d == 2:
        assert np.mean(added) > 0.5 * np.mean(predicted)


@pytest.mark.parametrize("n", [1_000, 10**6])
def test_plans_carry_the_predictions(n):
    mu = mu_from_epsilon(1.0, 1e-5)
    plan = kmeans_plan("gaussian", n, 20, 8, mu, {"rounds": 4, "round_radius": 0.5})
    assert plan.added_loss == pytest.approx(added_loss(n, 20, 8, mu * sqrt(0.6 / 4), 0.5), rel=1e-5)
    clip = 2.0 if n == 10**6 else 1.0  # wide where noise is negligible
    noise = eigenvalue_noise(n, 20, mu * sqrt(0.12), clip)
    assert plan.eigenvalue_noise == pytest.approx(20 * noise, rel=1e-5)
    assert kmeans_plan("random", n, 20, 8, mu).eigenvalue_noise == 0
    assert kmeans_plan("gaussian", n, 20, 8, inf).added_loss == 0

    plan = MixtureRules(20, 3, 1, "tied", tilted=True, mu=mu).plan(n)
    assert plan.added_loss == pytest.approx(
        added_loss(n, 20, 3, mu * 0.2, plan.mean_radius), rel=1e-5
    )
    noise = eigenvalue_noise(n, 20, mu * sqrt(0.05), plan.moment_radius)
    assert plan.eigenvalue_noise == pytest.approx(20 * noise, rel=1e-5)
