"""KMeans: scikit-learn's contract and results, and what cloister promises beyond them."""

import warnings

import numpy as np
import pytest
import sklearn.cluster
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from cloister import _backend
from cloister.centred_rows import CentredRows
from cloister.errors import InvalidInput
from cloister.kmeans import KMeans
from cloister.kmeans_plusplus import plus_plus


@parametrize_with_checks(
    [KMeans(), KMeans(init="random", n_init=2), KMeans(init="k-means||", metric="cosine")],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": "draws depend on the order of the rows"
    },
    xfail_strict=False,
)
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # 4 rows are all that one has
def test_scikit_learn_contract(estimator, check):
    if estimator.metric == "cosine" and check.func.__name__ == "check_estimators_dtypes":
        with pytest.raises(InvalidInput, match="row 15 of X is zero"):  # as documented
            check(estimator)
    else:
        check(estimator)


@pytest.fixture(scope="module")
def blobs():
    X, y = make_blobs(4000, 24, centers=15, cluster_std=1.0, random_state=1)
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def gaussian():
    return np.random.default_rng(2).standard_normal((5000, 20), dtype=np.float32)


def assert_like_scikit_learn(X, n_clusters, start, relative=1e-4):
    ours = KMeans(n_clusters, init=start).fit(X)
    theirs = sklearn.cluster.KMeans(n_clusters, init=start, n_init=1).fit(X)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=relative)
    return ours, theirs


def test_separated_clusters_are_those_of_scikit_learn(blobs):
    X, _ = blobs
    start = X[np.random.default_rng(0).choice(len(X), 15, replace=False)].astype(np.float64)
    ours, theirs = assert_like_scikit_learn(X.astype(np.float64), 15, start)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-5)
    assert ours.n_iter_ == theirs.n_iter_


def test_inertia_without_structure_is_that_of_scikit_learn(gaussian):
    assert_like_scikit_learn(gaussian, 30, gaussian[:30], relative=2e-3)
    ours, theirs = assert_like_scikit_learn(gaussian.astype(np.float64), 3, gaussian[:3])
    assert adjusted_rand_score(ours.labels_, theirs.labels_) > 0.99


def test_fixed_number_of_iterations_agrees(gaussian):
    X, start = gaussian.astype(np.float64), gaussian[:40].astype(np.float64)
    ours = KMeans(40, init=start, max_iter=4, tol=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = sklearn.cluster.KMeans(40, init=start, n_init=1, max_iter=4, tol=0).fit(X)
    assert ours.n_iter_ == theirs.n_iter_ == 4
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-4)
    assert (ours.labels_ == theirs.labels_).mean() > 0.999


def test_seeds_are_those_of_scikit_learn(blobs):
    X, _ = blobs
    rows = CentredRows.around(X, X.mean(axis=0, dtype=np.float64).astype(np.float32))
    for seed in range(5):
        ours = plus_plus(rows, 15, np.random.RandomState(seed))
        _, theirs = sklearn.cluster.kmeans_plusplus(X.astype(np.float64), 15, random_state=seed)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_data_far_from_the_origin(gaussian, dtype):
    offset = 1e4 if dtype == np.float32 else 1e9
    near = gaussian + 4 * np.arange(len(gaussian))[:, None] % 20
    X = (near.astype(np.float64) + offset).astype(dtype)
    start = X[:5].astype(np.float64)
    expected = sklearn.cluster.KMeans(5, init=start - offset, n_init=1).fit(
        X.astype(np.float64) - offset
    )
    found = KMeans(5, init=start).fit(X)
    assert found.inertia_ == pytest.approx(expected.inertia_, rel=1e-4)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_allclose(
        found.cluster_centers_ - offset, expected.cluster_centers_, atol=1e-3
    )


def test_an_outlier_does_not_blur_the_rest(blobs):
    X, y = blobs
    X = np.vstack([X, np.full((1, X.shape[1]), 1e6, np.float32)])
    model = KMeans(16, random_state=0).fit(X)
    assert adjusted_rand_score(y, model.labels_[:-1]) == 1
    assert (model.labels_ == model.labels_[-1]).sum() == 1


def test_one_cluster_is_the_mean(gaussian):
    model = KMeans(1).fit(gaussian)
    X = gaussian.astype(np.float64)
    np.testing.assert_allclose(model.cluster_centers_[0], X.mean(axis=0), atol=1e-7)
    assert model.inertia_ == pytest.approx(((X - X.mean(axis=0)) ** 2).sum(), rel=1e-6)
    assert (model.labels_ == 0).all()


def test_as_many_clusters_as_rows(gaussian):
    model = KMeans(50, random_state=0).fit(gaussian[:50])
    assert sorted(model.labels_) == list(range(50))
    assert model.inertia_ == pytest.approx(0, abs=1e-9)


def test_one_feature():
    X = np.array([[0.0], [1.0], [10.0], [11.0], [20.0]])
    model = KMeans(3, init=[[0.0], [10.0], [20.0]]).fit(X)
    np.testing.assert_array_equal(model.labels_, [0, 0, 1, 1, 2])
    np.testing.assert_allclose(model.cluster_centers_, [[0.5], [10.5], [20.0]])
    assert model.inertia_ == pytest.approx(1.0)


@pytest.mark.parametrize("value", [0.0, 7.25, -1e6])
def test_constant_rows_warn_of_too_few_clusters(value):
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(1\) found smaller .* \(3\)"):
        model = KMeans(3, random_state=0).fit(np.full((10, 4), value))
    assert model.inertia_ == 0
    np.testing.assert_array_equal(model.cluster_centers_, np.full((3, 4), value))
    np.testing.assert_array_equal(model.labels_, np.zeros(10))


def test_empty_clusters_take_the_farthest_rows_as_in_scikit_learn():
    X = np.array([[0.0], [1.0], [2.0], [3.0], [50.0], [90.0]])
    start = np.array([[1.0], [1000.0], [2000.0]])
    for max_iter in (1, 2, 300):
        ours = KMeans(3, init=start, max_iter=max_iter, tol=0).fit(X)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            theirs = sklearn.cluster.KMeans(3, init=start, n_init=1, max_iter=max_iter, tol=0)
            theirs.fit(X)
        np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-6)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert len(np.unique(ours.labels_)) == 3


@pytest.mark.parametrize("max_iter", [1, 2, 5, 300])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_fit_and_predict_agree(gaussian, max_iter, metric):
    X = gaussian + np.float32(3e3)
    model = KMeans(12, max_iter=max_iter, metric=metric, random_state=0).fit(X)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    np.testing.assert_array_equal(
        np.concatenate([model.predict(x) for x in np.split(X, 50)]), model.labels_
    )
    assert model.score(X) == -model.inertia_
    np.testing.assert_array_equal(clone(model).fit_predict(X), model.labels_)


@pytest.mark.parametrize(
    "convert",
    [
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: np.hstack([X, X])[:, : X.shape[1]],
        lambda X: X.astype(np.float64),
        lambda X: X.astype(np.float16),
        lambda X: X.astype(np.int64),
        lambda X: X.tolist(),
    ],
    ids=["fortran", "stepped", "columns", "float64", "float16", "int64", "list"],
)
def test_every_form_of_the_same_numbers_gives_the_same_model(convert):
    X = np.random.default_rng(5).integers(-100, 100, (600, 9)).astype(np.float32)
    expected = KMeans(7, random_state=1).fit(X)
    found = KMeans(7, random_state=1).fit(convert(X))
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    assert found.inertia_ == expected.inertia_


def test_float32_rows_are_not_copied(gaussian):
    assert CentredRows.around(gaussian, np.zeros(20, np.float32)).values is gaussian


def test_threads_and_targets_give_the_same_model(gaussian, restore_threads):
    models = []
    for target in _backend.supported_targets():
        for threads in (1, 2, 8):
            _backend.set_num_threads(threads)
            with _backend.use_target(target):
                models.append(KMeans(9, max_iter=6, random_state=4).fit(gaussian[:1500]))
    for model in models[1:]:
        np.testing.assert_array_equal(model.cluster_centers_, models[0].cluster_centers_)
        np.testing.assert_array_equal(model.labels_, models[0].labels_)
        assert model.inertia_ == models[0].inertia_


def test_row_order_does_not_change_a_bit_of_the_centres(gaussian):
    order = np.random.default_rng(0).permutation(len(gaussian))
    centres = [
        KMeans(9, init=gaussian[:9], max_iter=20).fit(X).cluster_centers_
        for X in (gaussian, gaussian[order])
    ]
    np.testing.assert_array_equal(*centres)


def test_more_runs_never_end_worse(gaussian):
    inertias = [
        KMeans(20, init="random", n_init=n_init, random_state=0).fit(gaussian).inertia_
        for n_init in (1, 4, "auto")
    ]
    assert inertias[0] >= inertias[1] >= inertias[2]
    assert inertias[0] > inertias[2]


def test_cosine_clusters_directions_whatever_the_lengths():
    rng = np.random.default_rng(6)
    directions = np.linalg.qr(rng.standard_normal((16, 16)))[0][:5]
    y = rng.integers(0, 5, 2000)
    X = directions[y] + 0.05 * rng.standard_normal((2000, 16))
    X *= 10.0 ** rng.uniform(-150, 150, (2000, 1))
    model = KMeans(5, metric="cosine", random_state=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) == 1
    np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1, rtol=1e-12)
    unit = X / np.abs(X).max(axis=1, keepdims=True)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ model.cluster_centers_.T
    np.testing.assert_allclose(model.transform(X), 1 - cosines, atol=1e-6)
    assert model.inertia_ == pytest.approx((1 - cosines.max(axis=1)).sum(), rel=1e-5)


def test_transform_is_the_distance_to_each_centre(gaussian):
    model = KMeans(6, random_state=0).fit(gaussian)
    differences = gaussian[:100, None, :].astype(np.float64) - model.cluster_centers_
    expected = np.sqrt((differences**2).sum(axis=2))
    found = model.transform(gaussian[:100])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert list(model.get_feature_names_out()) == [f"kmeans{j}" for j in range(6)]
