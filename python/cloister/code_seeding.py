"""Greedy k-means++ on codes, with 4 bytes a row beside them."""

import math
from collections.abc import Iterator

import numpy as np

from cloister.centred_rows import Array
from cloister.code_rows import CodeRows

_BLOCK = 2**16  # rows whose distances are added up at a time, whatever the source


def plus_plus_codes(rows: CodeRows, n_clusters: int, random_state: np.random.RandomState) -> Array:
    """Choose points far from each other: see `kmeans_plusplus.plus_plus`.

    The distances of all rows to all candidates are not kept, but measured again for the best one.

    Parameters
    ----------
    rows : CodeRows of shape (n, d)
    n_clusters : int
        At most n.
    random_state : numpy.random.RandomState

    Returns
    -------
    float32 array of shape (n_clusters, d)
        The chosen points, relative to the shift.
    """
    n, trials = len(rows), 2 + int(math.log(n_clusters))
    chosen = np.empty((n_clusters, rows.d), np.float32)
    chosen[0] = rows.take(np.array([min(int(random_state.uniform() * n), n - 1)]))[0]
    closest = np.full(n, np.inf, np.float32)
    _lower(rows, chosen[:1], closest)
    for j in range(1, n_clusters):
        candidates = rows.take(_drawn(closest, random_state.uniform(size=trials)))
        potentials = np.zeros(trials)
        for here, distances in rows.measured(candidates):
            np.minimum(distances, closest[here, None], out=distances)
            potentials += distances.sum(axis=0, dtype=np.float64)
        chosen[j] = candidates[potentials.argmin()]
        _lower(rows, chosen[j : j + 1], closest)
    return chosen


def _lower(rows: CodeRows, centre: Array, closest: Array) -> None:
    for here, distances in rows.measured(centre):
        np.minimum(closest[here], distances[:, 0], out=closest[here])


def _drawn(closest: Array, uniform: Array) -> Array:
    """Return indices drawn with probability proportional to `closest`."""
    ends = np.cumsum([part.sum(dtype=np.float64) for _, part in _parts(closest)])
    indices = np.empty(len(uniform), np.int64)
    for i, place in enumerate(uniform * ends[-1]):
        block = min(int(np.searchsorted(ends, place)), len(ends) - 1)
        first = block * _BLOCK
        part = np.cumsum(closest[first : first + _BLOCK], dtype=np.float64)
        left = place - (ends[block - 1] if block else 0.0)
        indices[i] = first + min(int(np.searchsorted(part, left)), len(part) - 1)
    return indices


def _parts(values: Array) -> Iterator[tuple[int, Array]]:
    for first in range(0, len(values), _BLOCK):
        yield first, values[first : first + _BLOCK]
