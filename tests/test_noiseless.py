"""epsilon=inf is the same road without noise: compared with numpy on the rows and their codes."""

from math import inf, sqrt

import numpy as np
import pytest
from sklearn.cluster import KMeans as NonPrivateKMeans
from sklearn.datasets import make_blobs

import reference
from cloister import DPGaussianMixture, DPKMeans
from cloister._backend import Partition
from cloister.codes import CODE_BOUND, MOMENT_BOUND, CodeGrid
from cloister.engines import LocalEngine
from cloister.errors import InvalidInput
from private_objects import values_of

D, CLASSES, N = 5, 3, 700


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(8)
    y = rng.integers(CLASSES, size=N)
    X = 0.5 * np.eye(CLASSES, D)[y] + rng.normal(size=(N, D)) * [0.3, 0.2, 0.1, 0.1, 0.05]
    return X / np.maximum(1, np.linalg.norm(X, axis=1, keepdims=True)), y


def mixture(components=1, covariance_type="tied", **options):
    return DPGaussianMixture(
        components, covariance_type, inf, classes=range(CLASSES), random_state=1, **options
    )


ESTIMATORS = [DPKMeans(3, inf, init=i, random_state=1) for i in ("gaussian", "histogram")] + [
    mixture(components, covariance_type)
    for components in (1, 2)
    for covariance_type in ("tied", "full", "diag", "spherical", "low_rank")
]
ESTIMATORS.append(mixture(tilt=True))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_two_fits_without_noise_are_bit_identical(estimator, rows):
    first = values_of(vars(estimator.fit(*rows)))
    assert values_of(vars(estimator.fit(*rows))) == first


@pytest.mark.parametrize("estimator", [ESTIMATORS[0], ESTIMATORS[2]], ids=str)
def test_the_statement_says_that_it_is_not_private(estimator, rows, tmp_path):
    model = estimator.fit(*rows)
    assert model.privacy_.epsilon == model.privacy_.mu == model.privacy_.rho == inf
    statement = model.privacy_.statement()
    assert "NOT differentially private (epsilon = infinity)" in statement
    assert "without noise" in statement
    with pytest.raises(InvalidInput, match="allow_unsafe"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    model.save(tmp_path / "model", allow_unsafe=True)
    loaded = type(model).load(tmp_path / "model")
    assert loaded.privacy_ == model.privacy_


def assert_reference(engine, codes, offsets, name, arguments, answer):
    if name == "exact_tally":
        centres, clip = arguments
        expected = reference.tally(codes, Partition(centres, offsets), clip)
        np.testing.assert_array_equal(answer.exact_counts, expected[0])
        np.testing.assert_array_equal(answer.exact_sums, expected[1])
    else:
        centres, clip, group, moment = arguments
        expected = reference.moments(codes, Partition(centres, offsets), clip, group, moment)
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("components", [1, 2])
def test_every_exact_answer_is_that_of_numpy(components, rows, monkeypatch):
    X, y = rows
    order = np.argsort(y, kind="stable")
    codes, valid = reference.encode(X[order], CodeGrid(D, 1.0).row_clip)
    assert valid.all()
    offsets = np.searchsorted(y[order], np.arange(CLASSES + 1))
    asked = []
    for name in ("exact_tally", "exact_moments"):
        original = getattr(LocalEngine, name)

        def checked(self, *arguments, original=original, name=name):
            answer = original(self, *arguments)
            assert_reference(self, codes, offsets, name, arguments, answer)
            asked.append(name)
            return answer

        monkeypatch.setattr(LocalEngine, name, checked)
    model = mixture(components, "full").fit(X, y)
    assert asked == [
        "exact_moments" if "scatter" in event.name or "moments" in event.name else "exact_tally"
        for event in model.privacy_.events
    ]


def half_steps(radius):
    """Largest rounding error of a coordinate: of a row's code, and of a residual's."""
    row = 1 / (CODE_BOUND - sqrt(D) / 2)
    return row / 2, radius / (CODE_BOUND - sqrt(D) / 2) / 2


def test_weights_and_means_are_those_of_the_rows(rows):
    X, y = rows
    model = mixture(tilt=False).fit(X, y)
    np.testing.assert_allclose(model.weights_, np.bincount(y) / N, rtol=1e-14)
    means = np.array([X[y == g].mean(axis=0) for g in range(CLASSES)])
    worst = sum(half_steps(radius=2.0)) + 1e-7  # rows are read as float32
    assert np.abs(model.means_ - means).max() <= worst
    assert worst < 1e-4


def test_the_pooled_covariance_is_that_of_the_rows(rows):
    X, y = rows
    model = mixture(tilt=False).fit(X, y)
    residuals = X - np.array([X[y == g].mean(axis=0) for g in range(CLASSES)])[y]
    pooled = residuals.T @ residuals / N
    # Rounding moves a residual coordinate by e at most: its products by e (|r_i| + |r_j|) + e^2.
    e = 2.0 / (MOMENT_BOUND - sqrt(D) / 2) / 2 + 3 * sum(half_steps(radius=2.0))
    sizes = np.abs(residuals).mean(axis=0)
    worst = e * (sizes[:, None] + sizes) + e**2
    difference = np.abs(model.covariances_.matrices()[0] - pooled)
    assert (difference <= worst).all()
    assert np.linalg.norm(difference) < 0.01 * np.linalg.norm(pooled)


def test_covariances_of_each_kind_are_those_of_the_rows(rows):
    X, y = rows
    full = mixture(1, "full").fit(X, y).covariances_.matrices()
    diagonal = mixture(1, "diag").fit(X, y).covariances_.matrices()
    spherical = mixture(1, "spherical").fit(X, y).covariances_.matrices()
    for g in range(CLASSES):
        expected = np.cov(X[y == g].T, bias=True)
        size = np.linalg.norm(expected)
        assert np.linalg.norm(full[g] - expected) < 0.01 * size
        assert np.linalg.norm(diagonal[g] - np.diag(np.diag(expected))) < 0.01 * size
        mean = np.trace(expected) / D
        np.testing.assert_allclose(spherical[g], mean * np.eye(D), atol=0.01 * mean)


@pytest.mark.parametrize("init", ["gaussian", "histogram"])
@pytest.mark.parametrize(("d", "k"), [(2, 4), (3, 8)])
def test_kmeans_reaches_the_loss_of_scikit_learn(init, d, k):
    X, _ = make_blobs(4000, d, centers=k, cluster_std=0.7, random_state=k)
    X /= np.linalg.norm(X, axis=1).max()
    model = DPKMeans(k, inf, init=init, random_state=0).fit(X)
    expected = NonPrivateKMeans(k, n_init=10, random_state=0).fit(X).inertia_
    assert -model.score(X) * len(X) <= 1.02 * expected


def test_kmeans_reaches_the_loss_of_scikit_learn_in_many_dimensions():
    X, _ = make_blobs(4000, 32, centers=10, cluster_std=2.0, random_state=3)
    X /= np.linalg.norm(X, axis=1).max()
    model = DPKMeans(10, inf, random_state=0).fit(X)
    expected = NonPrivateKMeans(10, n_init=10, random_state=0).fit(X).inertia_
    assert -model.score(X) * len(X) <= 1.02 * expected


def test_noise_vanishes_as_epsilon_grows(rows):
    exact = mixture().fit(*rows)
    distances = []
    for epsilon in (1e2, 1e4, 1e6, 1e8):
        noisy = mixture().set_params(epsilon=epsilon).fit(*rows)
        distances.append(np.abs(noisy.means_ - exact.means_).max())
    assert distances[0] > distances[1] > distances[3]
    assert distances[3] < 1e-5
