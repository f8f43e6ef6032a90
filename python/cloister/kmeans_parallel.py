"""k-means||: initial centres for many clusters in a few passes over the rows."""

import numpy as np

from cloister.centred_rows import Array, CentredRows
from cloister.kmeans_plusplus import Rows, plus_plus, random_rows

ROUNDS = 5
OVERSAMPLING = 0.5  # expected candidates of a round, in units of the number of clusters
_MOST_ROUNDS = 1000  # should rounds find fewer candidates than clusters: far more than it takes


def parallel(
    rows: Rows,
    n_clusters: int,
    random_state: np.random.RandomState,
    weights: Array | None = None,
    *,
    rounds: int = ROUNDS,
    oversampling: float = OVERSAMPLING,
) -> Array:
    """Choose rows far from each other by k-means|| (Bahmani et al. 2012, algorithm 2).

    From one random row on, each round takes every row on its own as a candidate, with probability
    ``oversampling * n_clusters`` times its share of the weighted squared distances to the nearest
    candidate so far. The candidates, weighted by the rows nearest to them, are then clustered by
    greedy k-means++, which chooses n_clusters of them.

    Parameters
    ----------
    rows : CentredRows of shape (n, d), or other Rows
    n_clusters : int
        At most n.
    random_state : numpy.random.RandomState
    weights : float64 array of shape (n,), optional
        At least 0, with a finite sum above 0. Rows of weight 0 are never chosen.
    rounds : int
        Each costs what a Lloyd iteration with ``oversampling * n_clusters`` centres does. There
        are more if they find fewer candidates than clusters.
    oversampling : float
        Above 0.

    Returns
    -------
    int64 array of shape (n_clusters,)
        Indices of the chosen rows. They repeat if there are fewer different rows.
    """
    candidates = random_rows(rows, 1, random_state, weights)
    closest, owners = _distances(rows, candidates)
    wanted = oversampling * n_clusters
    for round_ in range(_MOST_ROUNDS):
        masses = closest if weights is None else closest * weights
        potential = masses.sum()
        if potential == 0 or (round_ >= rounds and len(candidates) >= n_clusters):
            break
        drawn = np.flatnonzero(random_state.uniform(size=len(rows)) * potential < wanted * masses)
        if len(drawn) == 0:
            continue
        distances, labels = _distances(rows, drawn)
        is_closer = distances < closest
        closest[is_closer] = distances[is_closer]
        owners[is_closer] = labels[is_closer] + len(candidates)
        candidates = np.concatenate([candidates, drawn])
    masses = np.bincount(owners, weights, minlength=len(candidates)).astype(np.float64)
    points = rows.take(candidates)
    few = CentredRows(points, None, float(np.abs(points).max())).with_codes(n_clusters)
    return candidates[plus_plus(few, n_clusters, random_state, masses)]


def _distances(rows: Rows, indices: Array) -> tuple[Array, Array]:
    """Return the squared distance of each row to the nearest of some rows, and which that is."""
    distances, labels = np.empty(len(rows)), np.empty(len(rows), np.int32)
    rows.nearest(rows.take(indices), distances=distances, labels=labels)
    return distances, labels
