"""DPGaussianMixture: what it recovers, samples, scores, saves and states."""

import re

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_digits

from cloister import DPGaussianMixture
from cloister.errors import InvalidInput, InvalidType, PublicClassesWarning
from cloister.mixture_parameters import COVARIANCE_TYPES
from cloister.mixture_plan import mixture_shares
from untouchable import untouchable


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return unit(X), y


@pytest.fixture(scope="module")
def known():
    """40,000 rows of three classes with a known pooled covariance, inside the unit ball."""
    rng = np.random.default_rng(3)
    means = 0.4 * unit(rng.normal(size=(3, 12)))
    root = np.diag(np.linspace(0.02, 0.12, 12)) @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    y = rng.choice(3, size=40_000, p=[0.5, 0.3, 0.2])
    return means[y] + rng.normal(size=(40_000, 12)) @ root, y, means, root.T @ root


def test_recovers_weights_means_and_covariance(known):
    X, y, means, covariance = known
    model = DPGaussianMixture(epsilon=1.0, classes=[0, 1, 2], tilt=False).fit(X, y)
    assert np.abs(model.weights_ - [0.5, 0.3, 0.2]).max() < 0.01
    assert np.linalg.norm(model.means_ - means, axis=1).max() < 0.02
    difference = model.covariances_.matrices()[0] - covariance
    assert np.linalg.norm(difference) < 0.1 * np.linalg.norm(covariance)


def test_error_falls_with_epsilon(known):
    X, y, means, _ = known

    def error(epsilon):
        estimator = DPGaussianMixture(epsilon=epsilon, classes=[0, 1, 2], tilt=False)
        fits = (clone(estimator).fit(X, y) for _ in range(3))
        return np.mean([np.linalg.norm(fit.means_ - means) for fit in fits])

    assert error(0.02) > 3 * error(1.0)


@pytest.mark.parametrize("n_components", [1, 2])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_every_covariance_type_classifies_digits(digits, covariance_type, n_components):
    X, y = digits
    model = DPGaussianMixture(
        n_components, covariance_type, epsilon=20.0, classes=range(10), random_state=0
    ).fit(X, y)
    assert (model.predict(X) == y).mean() > 0.8
    assert model.means_.shape == (10 * n_components, 64)
    assert model.weights_.sum() == pytest.approx(1.0)
    for matrix in model.covariances_.matrices():
        assert np.linalg.eigvalsh(matrix).min() > 0
    rows, labels = model.sample(3000, random_state=1)
    assert rows.dtype == np.float32
    assert (model.predict(rows) == labels).mean() > 0.8


def test_more_epsilon_is_more_accurate_and_infinity_is_lda(digits):
    X, y = digits
    accuracy = [
        (DPGaussianMixture(epsilon=epsilon, classes=range(10)).fit(X, y).predict(X) == y).mean()
        for epsilon in (0.05, 2.0, np.inf)
    ]
    assert accuracy[0] < accuracy[1] < accuracy[2]
    assert accuracy[2] > 0.95


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_score_samples_is_the_log_density(digits, covariance_type):
    X, y = digits
    model = DPGaussianMixture(2, covariance_type, epsilon=50.0, classes=range(10)).fit(X, y)
    matrices = model.covariances_.matrices()
    parts = [
        np.log(weight) + multivariate_normal(mean, matrices[f]).logpdf(X[:40])
        for weight, mean, f in zip(model.weights_, model.means_, model.covariance_of_, strict=True)
    ]
    np.testing.assert_allclose(model.score_samples(X[:40]), logsumexp(parts, axis=0), rtol=1e-6)
    assert model.score(X[:40]) == pytest.approx(model.score_samples(X[:40]).mean())
    probability = model.predict_proba(X[:40])
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    assert (model.classes_[probability.argmax(axis=1)] == model.predict(X[:40])).all()


def test_samples_follow_the_model(known):
    X, y, _, _ = known
    model = DPGaussianMixture(epsilon=4.0, classes=[0, 1, 2]).fit(X, y)
    rows, labels = model.sample(60_000, random_state=5)
    shares = [(labels == c).mean() for c in range(3)]
    np.testing.assert_allclose(shares, model.weights_, atol=0.01)
    for c in range(3):
        np.testing.assert_allclose(rows[labels == c].mean(axis=0), model.means_[c], atol=0.005)
    centred = rows - model.means_[labels]
    expected = model.covariances_.matrices()[0]
    assert np.abs(centred.T @ centred / len(rows) - expected).max() < 0.03 * expected.max()


@pytest.mark.parametrize(("n_components", "covariance_type"), [(1, "tied"), (2, "full")])
def test_samples_come_with_their_posterior_on_demand(digits, n_components, covariance_type):
    X, y = digits
    model = DPGaussianMixture(n_components, covariance_type, epsilon=9.0, classes=range(10))
    rows, labels = model.fit(X, y).sample(500, 3)
    same_rows, same_labels, posterior = model.sample(500, 3, return_proba=True)
    np.testing.assert_array_equal(same_rows, rows)
    np.testing.assert_array_equal(same_labels, labels)
    assert (posterior.shape, posterior.dtype) == ((500, 10), np.float64)
    np.testing.assert_array_equal(posterior, model.predict_proba(rows))
    with pytest.raises(InvalidType, match="return_proba"):
        model.sample(5, 3, return_proba="yes")


def test_random_state_seeds_samples_and_never_the_noise(digits):
    X, y = digits
    first, second = (DPGaussianMixture(classes=range(10), random_state=7).fit(X, y) for _ in "ab")
    assert (first.means_ != second.means_).any()
    assert (first.sample(50)[0] == first.sample(50)[0]).all()
    assert (first.sample(50, random_state=1)[0] != first.sample(50, random_state=2)[0]).any()
    seeded = [DPGaussianMixture(classes=range(10), unsafe_noise_seed=1).fit(X, y) for _ in "ab"]
    assert (seeded[0].means_ == seeded[1].means_).all()
    assert seeded[0].privacy_.epsilon == np.inf


def test_row_order_and_memory_layout_do_not_matter(digits, rng, tmp_path):
    X, y = digits
    order = rng.permutation(len(X))
    path = tmp_path / "rows.npy"
    np.save(path, X)
    variants = [
        (X, y),
        (X[order], y[order]),
        (np.asfortranarray(X), y),
        (np.load(path, mmap_mode="r"), y.astype(np.int8)),
        (X.astype(">f8"), y.tolist()),
    ]
    fits = [
        DPGaussianMixture(2, classes=range(10), random_state=0, unsafe_noise_seed=3).fit(*rows)
        for rows in variants
    ]
    for fit in fits[1:]:
        assert (fit.means_ == fits[0].means_).all()
        assert (fit.covariances_.directions == fits[0].covariances_.directions).all()


def test_classes_may_be_strings_absent_or_read_off_the_labels(digits):
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    with pytest.warns(PublicClassesWarning, match="classes"):
        model = DPGaussianMixture(epsilon=20.0).fit(X, names)
    assert model.classes_.tolist() == sorted(set(names))
    assert "conditional on the list of classes" in model.privacy_.statement()
    assert model.sample(5)[1].dtype.kind == "U"
    listed = DPGaussianMixture(epsilon=20.0, classes=range(12)).fit(X, y)
    assert (listed.predict(X) == y).mean() > 0.85
    assert listed.weights_[10:].max() < 0.02
    assert "conditional" not in listed.privacy_.statement()
    whole = DPGaussianMixture(epsilon=20.0).fit(X)
    assert whole.classes_.tolist() == [0]
    assert whole.score(X) > whole.score(X[:, ::-1])


def test_saved_model_is_the_model(digits, tmp_path):
    X, y = digits
    model = DPGaussianMixture(
        2, "low_rank", classes=range(10), encoder_id="pixels", random_state=0
    ).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    loaded = DPGaussianMixture.load(tmp_path / "model.safetensors")
    assert (loaded.predict_proba(X) == model.predict_proba(X)).all()
    assert (loaded.sample(20, random_state=1)[0] == model.sample(20, random_state=1)[0]).all()
    assert loaded.privacy_ == model.privacy_
    assert loaded.encoder_id == "pixels"
    assert "pixels" in loaded.privacy_.statement()
    loaded.fit(X, y)


@pytest.mark.parametrize("n_components", [1, 2])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_plan_spends_the_budget_once(covariance_type, n_components):
    plan = DPGaussianMixture(n_components, covariance_type, tilt=False).shares()
    assert plan == mixture_shares(n_components, covariance_type)
    assert sum(plan.values()) == pytest.approx(1.0, abs=1e-12)


def test_statement_says_what_an_officer_asks(digits):
    statement = DPGaussianMixture(classes=range(10)).fit(*digits).privacy_.statement()
    for words in ("(1, 1e-05)", "one row", "adding or removing", "Gaussian", "ChaCha20", "encoder",
                  "does not cover", "class means", "sigma"):  # fmt: skip
        assert words in statement


@pytest.mark.parametrize("epsilon", [1.0, 0.1, 1.0000004, 0.12345649, 8.0])
def test_statement_never_claims_less_than_it_costs(digits, epsilon):
    guarantee = DPGaussianMixture(epsilon=epsilon, classes=range(10)).fit(*digits).privacy_
    stated = re.match(r"This object is \((\S+), 1e-05\)", guarantee.statement())[1]
    assert guarantee.epsilon <= float(stated) <= guarantee.epsilon * (1 + 1e-5)
    assert (
        float(re.search(r"equivalently (\S+)-Gaussian", guarantee.statement())[1]) >= guarantee.mu
    )


@pytest.mark.data
def test_real_embeddings_at_epsilon_one(real_data):
    data = real_data("cifar10_mobilenetv2.npz")
    X, X_test = (unit(data[name].astype(np.float32)) for name in ("x_train", "x_test"))
    model = DPGaussianMixture(epsilon=1.0, classes=range(10)).fit(X, data["y_train"])
    assert (model.predict(X_test) == data["y_test"]).mean() > 0.68


def test_components_by_rule_need_a_public_number_of_rows(rng):
    X = 0.2 * rng.standard_normal((4_000, 4))
    own = {"epsilon": 8.0, "random_state": 0}
    model = DPGaussianMixture("auto", n_hint=4_000, **own).fit(X)
    k = len(model.weights_)
    assert 1 < k <= 16
    assert k == len(model.means_) == len(DPGaussianMixture(k, **own).fit(X).means_)
    assert len(DPGaussianMixture("auto", n_hint=10, **own).fit(X).means_) == 1
    y = (X[:, 0] > 0).astype(int)
    tilted = DPGaussianMixture("auto", classes=[0, 1], tilt=True, **own).fit(X, y)
    assert len(tilted.means_) == 2
    with pytest.raises(InvalidInput, match="needs n_hint"):
        DPGaussianMixture("auto", **own).fit(untouchable(X))
    with pytest.raises(InvalidInput, match="n_components"):
        DPGaussianMixture("many", **own).fit(untouchable(X))


def test_a_mixture_of_components_by_rule_is_saved(rng, tmp_path):
    X = 0.2 * rng.standard_normal((4_000, 4))
    model = DPGaussianMixture("auto", epsilon=8.0, n_hint=4_000).fit(X)
    model.save(tmp_path / "m.safetensors")
    loaded = DPGaussianMixture.load(tmp_path / "m.safetensors")
    assert (loaded.means_ == model.means_).all()
    assert loaded.plan_ == model.plan_
    assert loaded.n_components == "auto"
