"""Lloyd's iterations on exact integer sums."""

from dataclasses import dataclass

import numpy as np

from cloister.assignment import Assignment
from cloister.centred_rows import Array, CentredRows


@dataclass(frozen=True)
class LloydResult:
    """Where the iterations ended.

    Attributes
    ----------
    centres : float64 array of shape (k, d)
        Relative to the shift.
    n_iter : int
    assignment : Assignment
        Of the rows to the centres before the last.
    """

    centres: Array
    n_iter: int
    assignment: Assignment


def lloyd(
    rows: CentredRows, centres: Array, *, max_iter: int, tolerance: float, on_sphere: bool
) -> LloydResult:
    """Move each centre to the mean of its rows until nothing changes or moves but a little.

    Sums are integers on a power-of-two scale: the result is the same bits for any number of
    threads and any instruction set.

    Parameters
    ----------
    rows : CentredRows of shape (n, d)
    centres : array of shape (k, d)
        Where to start, relative to the shift; k is at most n.
    max_iter : int
    tolerance : float
        Stop when the squared movements of all centres add up to no more than this.
    on_sphere : bool
        Scale means to unit length (spherical k-means; Dhillon and Modha 2001).
    """
    assignment = Assignment(rows, len(centres))
    centres = np.asarray(centres, np.float64)
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        near = centres.astype(np.float32)
        moved = assignment.update(near)
        sums, counts, relocated = _relocate_empty(rows, near, assignment)
        previous, centres = centres, _means(sums, counts, rows.sum_scale, centres, on_sphere)
        # Equal labels have equal sums, bit for bit, so these centres would come again.
        settled = moved == 0 and not relocated
        if settled or ((centres - previous) ** 2).sum() <= tolerance:
            break
    return LloydResult(centres, n_iter, assignment)


def _means(sums: Array, counts: Array, scale: float, previous: Array, on_sphere: bool) -> Array:
    """Return sums as means, or as directions; a cell that has none keeps its centre."""
    points = sums / scale
    sizes = np.sqrt((points * points).sum(axis=1)) if on_sphere else counts.astype(np.float64)
    has_mean = sizes > 0
    means = previous.copy()
    means[has_mean] = points[has_mean] / sizes[has_mean, None]
    return means


def _relocate_empty(
    rows: CentredRows, centres: Array, assignment: Assignment
) -> tuple[Array, Array, bool]:
    """Give each empty cell one of the rows farthest from their centres, as scikit-learn does.

    Returns sums, counts, and whether any row was given; the assignment stays as it is.
    """
    sums, counts, labels = assignment.sums, assignment.counts, assignment.labels
    empty = np.flatnonzero(counts == 0)
    if len(empty) == 0:
        return sums, counts, False
    distances = np.empty(len(rows))
    rows.nearest(centres, distances=distances)
    farthest = np.argsort(-distances, kind="stable")[: len(empty)]
    if distances[farthest[0]] == 0:  # every row is its centre: fewer different rows than cells
        return sums, counts, False
    points = np.rint(rows.take(farthest).astype(np.float64) * rows.sum_scale).astype(np.int64)
    sums, counts = sums.copy(), counts.copy()
    np.subtract.at(sums, labels[farthest], points)
    np.subtract.at(counts, labels[farthest], 1)
    sums[empty] = points
    counts[empty] = 1
    return sums, counts, True
