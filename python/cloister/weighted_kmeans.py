"""k-means of a few weighted, public points, with many restarts and a local search."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits

from cloister import _backend

MOST_DISTANCES = 2**24
"""All distances between points are kept, in float32, up to this many; beyond, one start is made."""

MOST_SWAPS = 10
CANDIDATES = 128  # points that a swap is tried with
LEAST_GAIN = 1e-4  # of the inertia, for which a swap is made
ROUNDING = 1e-12  # of squared distances between points whose largest coordinate is 1


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
    """Run Lloyd's iterations from several starts of greedy k-means++, and improve the best.

    Where the best start has two centres in one cluster and one between two others, no iteration of
    Lloyd's mends it; exchanging a centre for a point does.

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
        table, scale = _all_squares(points)
        starts = _starts(points, table, weights, k, n_init, rng)
        models = [_lloyd(points, weights, start, max_iter) for start in starts]
        best = min(models, key=lambda model: model.inertia_)
        for _ in range(MOST_SWAPS):
            start = _swapped(points, table, scale, weights, best.cluster_centers_, rng)
            if start is None:
                break
            model = _lloyd(points, weights, start, max_iter)
            if model.inertia_ > (1 - LEAST_GAIN) * best.inertia_:
                break
            best = model
    return best.cluster_centers_, float(best.inertia_)


def _lloyd(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    start: NDArray[np.float64],
    max_iter: int,
) -> KMeans:
    return KMeans(len(start), init=start, n_init=1, max_iter=max_iter).fit(
        points, sample_weight=weights
    )


def _all_squares(points: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
    """Squared distances of all pairs of points, in float32, and the unit of length they are in."""
    near = points - points.mean(axis=0)
    scale = float(np.abs(near).max()) or 1.0
    near = (near / scale).astype(np.float32)
    squares = np.empty((len(points), len(points)), np.float32)
    _backend.all_distances(near, near, squares)
    return squares, scale


def _swapped(
    points: NDArray[np.float64],
    table: NDArray[np.float32],
    scale: float,
    weights: NDArray[np.float64],
    centres: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64] | None:
    """Put the best of some points in the place of the centre that is missed least.

    Without centre j, its points go to their second nearest or to the new one (the local search of
    Kanungo et al. 2004, with candidates drawn as Lattanzi and Sohler 2019 do). None if no exchange
    gains LEAST_GAIN.
    """
    m, k = len(points), len(centres)
    if k < 2:
        return None
    squares = euclidean_distances(points / scale, centres / scale, squared=True)
    nearest = squares.argmin(axis=1)
    first = squares[np.arange(m), nearest]
    squares[np.arange(m), nearest] = np.inf
    second = squares.min(axis=1)
    losses = first * weights
    if losses.sum() <= ROUNDING * weights.sum():
        return None
    candidates = np.arange(m)
    if m > CANDIDATES:
        candidates = np.unique(rng.choice(m, CANDIDATES, p=losses / losses.sum()))
    kept = np.minimum(table[candidates], first)  # where the point's own centre stays
    extra = np.minimum(table[candidates], second) - kept  # what it costs more where that goes
    by_centre = np.zeros((m, k))
    by_centre[np.arange(m), nearest] = weights
    costs = (kept @ weights)[:, None] + extra @ by_centre
    place = int(costs.argmin())
    if costs.flat[place] > (1 - LEAST_GAIN) * losses.sum():
        return None
    swapped = centres.copy()
    swapped[place % k] = points[candidates[place // k]]
    return swapped


def _starts(
    points: NDArray[np.float64],
    squares: NDArray[np.float32],
    weights: NDArray[np.float64],
    k: int,
    n_starts: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.float64]]:
    """Yield first centres by greedy k-means++ (Arthur and Vassilvitskii 2007, section 5)."""
    m = len(points)
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
