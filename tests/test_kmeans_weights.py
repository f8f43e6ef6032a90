"""KMeans with sample_weight: repeated rows, scikit-learn, empty clusters, refusals."""

import warnings

import numpy as np
import pytest
import sklearn.cluster
from sklearn.exceptions import ConvergenceWarning

from cloister.assignment import Assignment
from cloister.centred_rows import CentredRows
from cloister.errors import InvalidInput, InvalidType
from cloister.kmeans import KMeans
from cloister.lloyd import lloyd


@pytest.fixture(scope="module")
def gaussian():
    return np.random.default_rng(2).standard_normal((2000, 20), dtype=np.float32)


def weighted_problem(metric="euclidean"):
    rng = np.random.default_rng(8)
    X = rng.standard_normal((900, 7)) + 3 * rng.integers(-1, 2, (900, 7))
    X = X + 5 if metric == "cosine" else X
    return X, rng.integers(0, 5, 900)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("factor", [1.0, 1e-30, 1e60])
def test_weights_count_as_repeated_rows(metric, factor):
    X, counts = weighted_problem(metric)
    start = X[np.flatnonzero(counts)[:9]]
    options = {"init": start, "metric": metric, "max_iter": 25, "tol": 0}
    weighted = KMeans(9, **options).fit(X, sample_weight=counts * factor)
    repeated = KMeans(9, **options).fit(np.repeat(X, counts, axis=0))
    np.testing.assert_allclose(
        weighted.cluster_centers_, repeated.cluster_centers_, rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(np.repeat(weighted.labels_, counts), repeated.labels_)
    assert weighted.inertia_ / factor == pytest.approx(repeated.inertia_, rel=1e-6)
    assert weighted.n_iter_ == repeated.n_iter_
    assert weighted.score(X, sample_weight=counts * factor) == -weighted.inertia_


def test_weighted_sums_are_those_of_repeated_rows_to_float64_rounding():
    X, counts = weighted_problem()
    X = X.astype(np.float32) - X.astype(np.float32).mean(axis=0)
    rows = CentredRows.around(X, np.zeros(7, np.float32))
    again = CentredRows.around(np.repeat(X, counts, axis=0), np.zeros(7, np.float32))
    options = {"max_iter": 30, "tolerance": 0, "on_sphere": False}
    weights = counts.astype(np.float64)
    weighted = lloyd(Assignment(rows, 6, weights), X[counts > 0][:6], **options)
    repeated = lloyd(Assignment(again, 6), X[counts > 0][:6], **options)
    np.testing.assert_allclose(weighted.centres, repeated.centres, rtol=0, atol=2e-14)
    assert weighted.n_iter == repeated.n_iter > 5


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_weighted_fits_are_those_of_scikit_learn(init):
    X, counts = weighted_problem()
    weights = counts * 0.37
    for seed in range(3):
        ours = KMeans(9, init=init, n_init=1, random_state=seed).fit(X, sample_weight=weights)
        theirs = sklearn.cluster.KMeans(9, init=init, n_init=1, random_state=seed)
        theirs.fit(X, sample_weight=weights)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-5)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
        assert ours.score(X[:50], sample_weight=weights[:50]) == pytest.approx(
            theirs.score(X[:50], sample_weight=weights[:50]), rel=1e-5
        )


def test_equal_weights_change_nothing(gaussian):
    for init in ("k-means++", "random"):
        plain = KMeans(5, init=init, n_init=1, random_state=3).fit(gaussian)
        for weights in (np.ones(len(gaussian)), 2, np.full(len(gaussian), 0.25)):
            model = KMeans(5, init=init, n_init=1, random_state=3)
            labels = model.fit_predict(gaussian, sample_weight=weights)
            np.testing.assert_array_equal(labels, plain.labels_)
            np.testing.assert_allclose(
                model.cluster_centers_, plain.cluster_centers_, rtol=0, atol=1e-12
            )


def test_empty_clusters_take_the_farthest_rows_that_have_weight():
    X = np.array([[0.0], [1.0], [2.0], [3.0], [50.0], [90.0], [700.0]])
    weights = np.array([1.0, 2.0, 1.0, 1.0, 3.0, 2.0, 0.0])
    start = np.array([[1.0], [1000.0], [2000.0]])
    for max_iter in (1, 2, 300):
        ours = KMeans(3, init=start, max_iter=max_iter, tol=0).fit(X, sample_weight=weights)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            theirs = sklearn.cluster.KMeans(3, init=start, n_init=1, max_iter=max_iter, tol=0)
            theirs.fit(X[:-1], sample_weight=weights[:-1])
        np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-5)
        np.testing.assert_array_equal(ours.labels_[:-1], theirs.labels_)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1.0] * 19, InvalidInput, r"shape \(19,\), but X has 20 rows"),
        (np.ones((20, 1)), InvalidInput, r"shape \(20, 1\), but X has 20 rows"),
        ([1.0] * 19 + [-2.5], InvalidInput, r"negative value -2.5 in row 19"),
        ([1.0] * 4 + [np.nan] + [1.0] * 15, InvalidInput, "nan in row 4"),
        ([np.inf] + [1.0] * 19, InvalidInput, "inf in row 0"),
        ([0.0] * 20, InvalidInput, "sample_weight is all zero"),
        ([1e-200] * 20, InvalidInput, "largest sample_weight is 1e-200, which is outside"),
        ([1e200] * 20, InvalidInput, "rescale the weights"),
        (["heavy"] * 20, InvalidType, "must be an array of numbers, got dtype"),
        ([1j] * 20, InvalidType, "must be an array of numbers, got dtype complex128"),
        ([0.0] * 19 + [1.0], InvalidInput, "n_clusters=2 rows of weight above 0, got 1"),
    ],
)
def test_bad_weights_are_refused(weights, error, message):
    X = np.arange(40.0).reshape(20, 2)
    with pytest.raises(error, match=message):
        KMeans(2, init="random").fit(X, sample_weight=weights)
    if "n_clusters" not in message:
        with pytest.raises(error, match=message):
            KMeans(2).fit(X).score(X, sample_weight=weights)
