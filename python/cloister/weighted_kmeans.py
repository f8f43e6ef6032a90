"""k-means of a few weighted, public points, with many restarts."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from cloister import _backend

MOST_DISTANCES = 2**24
"""All distances between points are kept, in float32, up to this many; beyond, one start is made."""


@contextmanager
def coinciding_centres() -> Iterator[None]:
    """Let centres of public points coincide: later rounds move them, and no row is at fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def weighted_kmeans(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    k: int,
    rng: np.random.Generator,
    *,
    n_init: int = 20,
    max_iter: int = 50,
) -> tuple[NDArray[np.float64], float]:
    """Run Lloyd's iterations from several starts of greedy k-means++; return the best.

    Parameters
    ----------
    points : array of shape (m, d)
        At least k.
    weights : array of shape (m,)
        Positive.
    k : int
    rng : numpy.random.Generator
        Seeds the starts.
    n_init : int
        Starts, where m is small enough for all distances between the points.
    max_iter : int
        Iterations from each start.

    Returns
    -------
    centres : array of shape (k, d)
    inertia : float
        Weighted sum of squared distances to the nearest centre.
    """
    seed = int(rng.integers(2**31))
    # Threads add up in the order in which they end, and a resumed fit must ask the same question.
    # (threadpoolctl is scikit-learn's own dependency.)
    with threadpool_limits(1), coinciding_centres():
        if len(points) ** 2 > MOST_DISTANCES:
            model = KMeans(k, n_init=1, max_iter=max_iter, random_state=seed)
            model.fit(points, sample_weight=weights)
            return model.cluster_centers_, float(model.inertia_)
        best = None
        for start in _starts(points, weights, k, n_init, rng):
            model = KMeans(k, init=start, n_init=1, max_iter=max_iter)
            model.fit(points, sample_weight=weights)
            if best is None or model.inertia_ < best.inertia_:
                best = model
    assert best is not None
    return best.cluster_centers_, float(best.inertia_)


def _starts(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    k: int,
    n_starts: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.float64]]:
    """Yield first centres by greedy k-means++ (Arthur and Vassilvitskii 2007, section 5).

    All starts look their distances up in one table, in which each pair of points is measured once.
    """
    m = len(points)
    near = points - points.mean(axis=0)
    near = (near / max(np.abs(near).max(), np.finfo(np.float64).tiny)).astype(np.float32)
    squares = np.empty((m, m), np.float32)
    _backend.all_distances(near, near, squares)
    shares = (weights / weights.sum()).astype(np.float32)
    trials = 2 + int(math.log(k))
    for _ in range(n_starts):
        chosen = [int(rng.choice(m, p=weights / weights.sum()))]
        closest = squares[chosen[0]]
        for draws in rng.random((k - 1, trials)):
            potential = np.cumsum(closest * shares, dtype=np.float64)
            drawn = np.searchsorted(potential, draws * potential[-1]).clip(max=m - 1)
            left = np.minimum(closest, squares[drawn])
            best = int((left @ shares).argmin())
            closest = left[best]
            chosen.append(int(drawn[best]))
        yield points[chosen]
