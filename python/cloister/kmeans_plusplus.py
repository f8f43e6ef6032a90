"""Initial centres for the non-private k-means, read off the rows themselves."""

import math

import numpy as np

from cloister.centred_rows import Array, CentredRows


def plus_plus(rows: CentredRows, n_clusters: int, random_state: np.random.RandomState) -> Array:
    """Choose rows far from each other by greedy k-means++.

    Each next centre is the best of ``2 + floor(log k)`` candidates, drawn with probability
    proportional to the squared distance to the nearest centre so far (Arthur and Vassilvitskii
    2007, section 5). All rows take part: there is no subsampling. The draws are made as
    scikit-learn makes them, so that the same `random_state` usually gives the same rows.

    Parameters
    ----------
    rows : CentredRows of shape (n, d)
    n_clusters : int
        At most n.
    random_state : numpy.random.RandomState

    Returns
    -------
    int64 array of shape (n_clusters,)
        Indices of the chosen rows. They repeat if there are fewer different rows.
    """
    n = len(rows)
    trials = 2 + int(math.log(n_clusters))
    chosen = np.empty(n_clusters, np.int64)
    chosen[0] = min(int(random_state.uniform() * n), n - 1)

    first = np.empty((n, 1), np.float32)
    rows.all_distances(rows.take(chosen[:1]), first)
    closest = first[:, 0]
    candidate_distances = np.empty((n, trials), np.float32)
    for j in range(1, n_clusters):
        cumulative = np.cumsum(closest, dtype=np.float64)
        drawn = random_state.uniform(size=trials) * cumulative[-1]
        candidates = np.minimum(np.searchsorted(cumulative, drawn), n - 1)
        rows.all_distances(rows.take(candidates), candidate_distances)
        np.minimum(candidate_distances, closest[:, None], out=candidate_distances)
        best = int(candidate_distances.sum(axis=0, dtype=np.float64).argmin())
        closest = candidate_distances[:, best].copy()
        chosen[j] = candidates[best]
    return chosen
