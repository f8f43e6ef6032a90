"""Under separation a private mixture recovers the parameters that rows were drawn with.

The bars are those of docs/recovery.md, whose tables are a longer version of the same.
"""

import json
import math
from importlib import import_module

import numpy as np
import pytest

from cloister import DPGaussianMixture
from test_benchmarks import ROOT, run


@pytest.fixture
def mixtures(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("known_mixtures")


def fit(known, epsilon, noise_seed, *, n_components=None, labels=None):
    k, classes = n_components or len(known.means), None if labels is None else [0, 1]
    own = {"epsilon": epsilon, "classes": classes, "unsafe_noise_seed": noise_seed}
    return DPGaussianMixture(k, random_state=0, **own).fit(known.rows, labels)


def pooled(model):
    return np.tensordot(model.weights_, model.covariances_.matrices()[model.covariance_of_], 1)


@pytest.mark.parametrize("noise_seed", range(3))
def test_separated_components_are_recovered(mixtures, noise_seed):
    known = mixtures.known_mixture(100_000, 32, 8, 8.0, seed=noise_seed)
    model = fit(known, 1.0, noise_seed)
    found = mixtures.errors(known, model.means_, model.weights_, pooled(model))
    em = mixtures.errors(known, *mixtures.em_fit(known))
    assert found["mean"] <= 2 * em["mean"] + mixtures.theory(known, model)["noise"]
    assert found["weight"] <= 0.01
    assert found["spectrum"] <= 0.10


def test_without_noise_it_is_as_good_as_em(mixtures):
    known = mixtures.known_mixture(20_000, 8, 6, 10.0)
    model = fit(known, math.inf, None)
    em = mixtures.em_fit(known)
    assert mixtures.apart(em[0], model.means_) < 1e-3 * known.deviation
    np.testing.assert_allclose(pooled(model), em[2], atol=2e-3 * em[2].max())


def test_what_noise_adds_falls_with_epsilon(mixtures):
    known = mixtures.known_mixture(40_000, 16, 4, 8.0)
    best = mixtures.em_fit(known)[0]

    def added(epsilon):
        draws = [fit(known, epsilon, seed).means_ for seed in range(4)]
        return np.mean([mixtures.apart(best, means) for means in draws])

    slope = np.log(added(4.0) / added(0.5)) / np.log(8)
    assert -1.3 < slope < -0.6  # -1 in theory


def test_overlapping_components_are_not_recovered(mixtures):
    # Two deviations apart, rows belong to no component: cells cut what overlaps. No claim is made.
    known = mixtures.known_mixture(100_000, 32, 8, 2.0)
    model = fit(known, 1.0, 0)
    found = mixtures.errors(known, model.means_, model.weights_, pooled(model))
    em = mixtures.errors(known, *mixtures.em_fit(known))
    assert found["mean"] > 2 * em["mean"] + mixtures.theory(known, model)["noise"]


def test_components_of_every_class_are_found(mixtures):
    known = mixtures.known_mixture(60_000, 12, 6, 9.0)
    model = fit(known, 2.0, 0, n_components=3, labels=known.labels % 2)
    for label in (0, 1):
        own = known.means[label::2]
        assert mixtures.apart(own, model.means_[3 * label : 3 * label + 3]) < 0.2 * known.deviation


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
@pytest.mark.parametrize("n_components", [1, 2])
def test_every_component_has_its_own_size(covariance_type, n_components):
    rng = np.random.default_rng(0)
    sizes, d = np.array([0.02, 0.04, 0.08, 0.02]), 8
    means = 0.8 * np.eye(4, d)
    component = rng.integers(0, 4, 80_000)
    rows = means[component] + sizes[component, None] * rng.standard_normal((80_000, d))
    classes = component // n_components
    model = DPGaussianMixture(
        n_components,
        covariance_type,
        epsilon=2.0,
        classes=range(4 // n_components),
        random_state=0,
        unsafe_noise_seed=0,
    ).fit(rows.astype(np.float32), classes)
    order = np.linalg.norm(means[:, None] - model.means_, axis=2).argmin(axis=1)
    traces = np.trace(model.covariances_.matrices(), axis1=1, axis2=2)[model.covariance_of_[order]]
    np.testing.assert_allclose(np.sqrt(traces / d), sizes, rtol=0.1)


def test_the_documented_command_measures_and_fits_slopes(tmp_path):
    docs = tmp_path / "recovery.md"
    docs.write_text((ROOT / "docs" / "recovery.md").read_text())
    out = run(
        "bench_recovery.py",
        *("--axis", "epsilon", "--values", "2", "8", "--seeds", "1"),
        *("--base", "n=8000", "d=4", "k=3", "--json", tmp_path / "out.json", "--tables", docs),
    )
    results = json.loads((tmp_path / "out.json").read_text())
    assert [one["epsilon"] for one in results] == [2.0, 8.0]
    assert all(one["recovered"] for one in results)
    assert "| ε | -" in docs.read_text()
    assert "8,000" in out
