"""Greedy k-means++ on the rows: the distribution of its draws, weights, other kinds of rows."""

import numpy as np
import pytest
import sklearn.cluster

import reference_closest as reference
from cloister import _backend
from cloister.centred_rows import CentredRows
from cloister.kmeans_plusplus import plus_plus


def centred(X):
    return CentredRows.around(X, X.mean(axis=0, dtype=np.float64).astype(np.float32))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    middles = 3 * rng.standard_normal((12, 40), dtype=np.float32)
    X = middles[rng.integers(0, 12, 2500)] + rng.standard_normal((2500, 40), dtype=np.float32)
    return centred(X)


def slow_plus_plus(rows, n_clusters, random_state, weights):
    """The same draws from cumulative sums over all rows."""
    x, n = rows.values - rows.shift, len(rows)
    masses = np.ones(n) if weights is None else weights
    chosen = [np.searchsorted(np.cumsum(masses) / masses.sum(), random_state.uniform(), "right")]
    closest = reference.distances(x, x[chosen])[:, 0]
    while len(chosen) < n_clusters:
        uniform = random_state.uniform(size=2 + int(np.log(n_clusters)))
        ends = np.cumsum(masses * closest)
        drawn = np.searchsorted(ends, uniform * ends[-1], side="right")
        least = np.minimum(reference.distances(x, x[drawn]), closest[:, None])
        best = (masses[:, None] * least).sum(axis=0).argmin()
        closest = least[:, best]
        chosen.append(drawn[best])
    return np.array(chosen)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_draws_are_those_of_cumulative_sums(target, rows, is_weighted):
    weights = np.random.default_rng(1).exponential(size=len(rows)) if is_weighted else None
    expected = slow_plus_plus(rows, 6, np.random.RandomState(8), weights)
    for points in (rows, rows.with_codes(6)):
        found = plus_plus(points, 6, np.random.RandomState(8), weights)
        np.testing.assert_array_equal(found, expected)


def test_weighted_seeds_are_those_of_scikit_learn(rows):
    weights = np.random.default_rng(2).integers(0, 4, len(rows)).astype(np.float64)
    X = (rows.values - rows.shift).astype(np.float64)
    for seed in range(5):
        found = plus_plus(rows, 9, np.random.RandomState(seed), weights)
        _, expected = sklearn.cluster.kmeans_plusplus(
            X, 9, sample_weight=weights, random_state=seed
        )
        np.testing.assert_array_equal(found, expected)


def test_candidates_are_drawn_in_proportion_to_weighted_squared_distances():
    X = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
    rows = CentredRows.around(X, np.zeros(1, np.float32))
    weights = np.array([0.0, 4.0, 2.0, 1.0])
    firsts, seconds = np.zeros(4), np.zeros(4)
    state = np.random.RandomState(0)
    draws = 4000
    for _ in range(draws):  # both candidates of the second centre are drawn independently
        first, second = plus_plus(rows, 2, state, weights)
        firsts[first] += 1
        seconds[second] += first == 1
    np.testing.assert_allclose(firsts / draws, weights / 7, atol=0.025)
    # After row 1: masses 2 and 4 of rows 2 and 3, and row 3 leaves 2 where row 2 leaves 1 (of two
    # candidates, row 2 is taken unless both are row 3).
    np.testing.assert_allclose(seconds / firsts[1], [0, 0, 5 / 9, 4 / 9], atol=0.035)


def test_rows_without_weight_are_never_chosen(rows):
    weights = np.zeros(len(rows))
    weights[100:120] = 1e-9
    chosen = plus_plus(rows, 20, np.random.RandomState(0), weights)
    assert sorted(chosen) == list(range(100, 120))


def test_seeds_repeat_where_there_are_too_few_different_rows():
    X = np.repeat(np.array([[0.0, 1.0], [5.0, 2.0]], np.float32), 2000, axis=0)
    chosen = plus_plus(centred(X), 4, np.random.RandomState(0))
    assert len(np.unique(X[chosen], axis=0)) == 2


def test_threads_and_targets_choose_the_same_rows(rows, restore_threads):
    found = []
    for target in _backend.supported_targets():
        for threads in (1, 3):
            _backend.set_num_threads(threads)
            with _backend.use_target(target):
                fresh = CentredRows.around(rows.values, rows.shift).with_codes(25)
                assert (fresh.screened is not None) == (target == "avx512")
                found.append(plus_plus(fresh, 25, np.random.RandomState(7)))
    for chosen in found[1:]:
        np.testing.assert_array_equal(chosen, found[0])
