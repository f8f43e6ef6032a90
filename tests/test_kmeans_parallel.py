"""k-means||: its draws against the definition, weights, and what it finds."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from cloister import _backend
from cloister.centred_rows import CentredRows
from cloister.kmeans import KMeans
from cloister.kmeans_parallel import parallel
from cloister.kmeans_plusplus import plus_plus


def make_rows(n=1500, d=24, clusters=40, seed=4):
    rng = np.random.default_rng(seed)
    middles = 4 * rng.standard_normal((clusters, d))
    y = rng.integers(0, clusters, n)
    X = (middles[y] + 0.3 * rng.standard_normal((n, d))).astype(np.float32)
    return CentredRows.around(X, X.mean(axis=0, dtype=np.float64).astype(np.float32)), y


def squared_distances(x, centres):
    return ((x[:, None].astype(np.float64) - centres[None]) ** 2).sum(axis=2)


def slow_candidates(x, wanted, random_state, weights, rounds):
    """Algorithm 2 of Bahmani et al. from full tables of distances: candidates and their masses."""
    n = len(x)
    candidates = [random_state.choice(n, 1, replace=False, p=weights / weights.sum())[0]]
    for _ in range(rounds):
        masses = weights * squared_distances(x, x[candidates]).min(axis=1)
        share = wanted * masses / masses.sum()
        candidates += np.flatnonzero(random_state.uniform(size=n) < share).tolist()
    owners = squared_distances(x, x[candidates]).argmin(axis=1)
    return np.array(candidates), np.bincount(owners, weights, minlength=len(candidates))


@pytest.mark.parametrize("is_weighted", [False, True])
def test_candidates_are_those_of_the_definition(target, is_weighted):
    rows, _ = make_rows(n=600)
    x = rows.values - rows.shift
    weights = np.random.default_rng(0).exponential(size=600) if is_weighted else None
    found = parallel(rows, 30, np.random.RandomState(1), weights, rounds=4, oversampling=0.8)
    state = np.random.RandomState(1)
    masses = np.ones(600) if weights is None else weights
    candidates, sizes = slow_candidates(x, 24, state, masses, rounds=4)
    few = CentredRows(x[candidates], None, float(np.abs(x).max()))
    np.testing.assert_array_equal(found, candidates[plus_plus(few, 30, state, sizes)])


def test_every_separated_cluster_gets_a_centre():
    rows, y = make_rows()
    for seed in range(5):
        assert len(np.unique(y[parallel(rows, 40, np.random.RandomState(seed))])) >= 39
    model = KMeans(40, init="k-means||", n_init=3, random_state=0).fit(rows.values)
    assert adjusted_rand_score(y, model.labels_) > 0.999


def test_ends_as_low_as_plus_plus():
    X = np.random.default_rng(2).standard_normal((4000, 10), dtype=np.float32)
    inertias = {
        init: np.mean([KMeans(60, init=init, random_state=s).fit(X).inertia_ for s in range(4)])
        for init in ("k-means++", "k-means||")
    }
    assert inertias["k-means||"] < 1.01 * inertias["k-means++"]


def test_rounds_go_on_until_there_are_enough_candidates():
    rows, _ = make_rows()
    chosen = parallel(rows, 100, np.random.RandomState(0), rounds=1, oversampling=0.05)
    assert len(np.unique(chosen)) == 100


def test_rows_without_weight_are_never_chosen():
    rows, _ = make_rows()
    weights = np.zeros(len(rows))
    weights[::7] = 2.0
    chosen = parallel(rows, 60, np.random.RandomState(0), weights)
    assert len(np.unique(chosen)) == 60
    assert (chosen % 7 == 0).all()


def test_seeds_repeat_where_there_are_too_few_different_rows():
    X = np.repeat(np.array([[0.0, 1.0], [5.0, 2.0], [7.0, 7.0]], np.float32), 50, axis=0)
    rows = CentredRows.around(X, X.mean(axis=0))
    chosen = parallel(rows, 5, np.random.RandomState(0))
    assert len(np.unique(X[chosen], axis=0)) == 3
    assert len(parallel(rows, 1, np.random.RandomState(0))) == 1


def test_threads_and_targets_choose_the_same_rows(restore_threads):
    rows, _ = make_rows(n=3000, d=70)
    found = []
    for target in _backend.supported_targets():
        for threads in (1, 3):
            _backend.set_num_threads(threads)
            with _backend.use_target(target):
                fresh = CentredRows.around(rows.values, rows.shift).with_codes(40)
                found.append(parallel(fresh, 40, np.random.RandomState(7)))
    for chosen in found[1:]:
        np.testing.assert_array_equal(chosen, found[0])


def test_cosine_weights_and_restarts_work_together():
    rows, y = make_rows(clusters=12)
    weights = 1.0 + np.random.default_rng(0).integers(0, 3, len(y))
    for init in ("k-means++", "k-means||", "random"):
        model = KMeans(12, init=init, n_init=6, metric="cosine", random_state=1)
        model.fit(rows.values, sample_weight=weights)
        if init != "random":
            assert adjusted_rand_score(y, model.labels_) > 0.95
        cosines = 1 - model.transform(rows.values).min(axis=1)
        assert model.inertia_ == pytest.approx((weights * (1 - cosines)).sum(), rel=1e-4)
