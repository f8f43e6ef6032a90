"""What KMeans refuses: typed errors that name the argument and show what was found."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from cloister.errors import InvalidInput, InvalidType
from cloister.kmeans import KMeans


@pytest.fixture(scope="module")
def gaussian():
    return np.random.default_rng(2).standard_normal((500, 20), dtype=np.float32)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_clusters": 0}, InvalidInput, "n_clusters must be at least 1, got 0"),
        ({"n_clusters": 2.0}, InvalidType, "n_clusters must be an integer, got 2.0"),
        ({"n_clusters": True}, InvalidType, "n_clusters must be an integer, got True"),
        ({"n_clusters": 11}, InvalidInput, "n_samples=10 should be >= n_clusters=11"),
        ({"max_iter": 0}, InvalidInput, "max_iter must be at least 1"),
        ({"tol": -1.0}, InvalidInput, "tol must be finite and at least 0, got -1.0"),
        ({"tol": np.nan}, InvalidInput, "tol must be finite"),
        ({"tol": "small"}, InvalidType, "tol must be a number"),
        ({"metric": "manhattan"}, InvalidInput, "metric must be 'euclidean' or 'cosine'"),
        ({"init": "k-means"}, InvalidInput, "init must be 'k-means"),
        ({"init": np.zeros((3, 3))}, InvalidInput, r"init has shape \(3, 3\), but .* \(2, 3\)"),
        ({"init": np.full((2, 3), np.nan)}, InvalidInput, "init contains NaN"),
        ({"init": np.full((2, 3), 1e30)}, InvalidInput, "init has a value 1e"),
        ({"init": [["a"] * 3] * 2}, InvalidType, "init must be a numeric array"),
        ({"init": np.zeros((2, 3)), "metric": "cosine"}, InvalidInput, "row 0 of init is zero"),
        ({"n_init": "many"}, InvalidInput, "n_init must be 'auto' or an integer, got 'many'"),
        ({"n_init": 0}, InvalidInput, "n_init must be at least 1"),
    ],
)
def test_bad_parameters_are_refused(parameters, error, message):
    X = np.random.default_rng(0).standard_normal((10, 3))
    with pytest.raises(error, match=message):
        KMeans(**({"n_clusters": 2} | parameters)).fit(X)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.array([[1.0, np.nan], [0.0, 0.0]]), InvalidInput, "contains NaN"),
        (np.array([[1.0, np.inf], [0.0, 0.0]]), InvalidInput, "contains infinity"),
        (np.zeros(4), InvalidInput, "Reshape your data"),
        (np.zeros((2, 2, 2)), InvalidInput, "dim 3"),
        (np.zeros((0, 3)), InvalidInput, "0 sample"),
        (np.zeros((3, 0)), InvalidInput, "0 feature"),
        (np.array([[1e30], [0.0]]), InvalidInput, "has a value 5e.29 away from the mean"),
        (np.array([[1.7e308], [-1.7e308], [1.7e308]]), InvalidInput, "rescale the data"),
        (np.array([[1e-30], [0.0]]), InvalidInput, "standard deviation of 5e-31"),
        ([["a"], ["b"]], InvalidInput, "could not convert string"),
        (np.array([[1j], [2.0]]), InvalidInput, "Complex data not supported"),
    ],
)
def test_bad_rows_are_refused(X, error, message):
    with pytest.raises(error, match=message):
        KMeans(2).fit(X)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_the_kernels_take_as_they_lie_are_checked(gaussian, metric, bad):
    X = gaussian.copy()
    X[123, 4] = bad
    model = KMeans(2, metric=metric, random_state=0)
    with pytest.raises(InvalidInput, match=r"NaN|infinity"):
        model.fit(X)
    model.fit(gaussian)
    for method in (model.predict, model.transform, model.score):
        with pytest.raises(InvalidInput, match=r"NaN|infinity"):
            method(X)


def test_zero_rows_have_no_cosine():
    X = np.ones((500, 3), np.float32)
    X[123] = 0
    with pytest.raises(InvalidInput, match="row 123 of X is zero"):
        KMeans(2, metric="cosine").fit(X)


def test_rows_to_predict_are_checked_too(gaussian):
    model = KMeans(2, random_state=0)
    with pytest.raises(NotFittedError):
        model.predict(gaussian)
    model.fit(gaussian)
    with pytest.raises(InvalidInput, match="X has 3 features, but KMeans is expecting 20"):
        model.predict(gaussian[:, :3])
    with pytest.raises(InvalidInput, match=r"has a value 1e\+30 away"):
        model.predict(np.full((1, 20), 1e30))


def test_explicit_centres_need_one_run(gaussian):
    with pytest.warns(RuntimeWarning, match="one run instead of 3"):
        KMeans(2, init=gaussian[:2], n_init=3).fit(gaussian)
