"""Lloyd's iterations on exact integer sums."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cloister.centred_rows import Array


class Rounds(Protocol):
    """The nearest centre of every row, in one round after another: `Assignment`, say."""

    @property
    def labels(self) -> Array:
        """Nearest centre of each row, int32 of shape (n,)."""
        ...

    @property
    def sums(self) -> Array:
        """Integer sums of the weighted points of each cluster, of shape (k, d)."""
        ...

    @property
    def counts(self) -> Array:
        """Integer sums of the weights, of shape (k,)."""
        ...

    @property
    def sum_scale(self) -> float:
        """What weighted points are multiplied by in sums."""
        ...

    @property
    def count_scale(self) -> float:
        """What weights are multiplied by in counts."""
        ...

    def update(self, centres: Array) -> int:
        """Assign each row to the nearest of `centres`, float32; return how many rows moved."""
        ...

    def distances(self, centres: Array) -> Array:
        """Return squared distances to the nearest of `centres`; 0 where a row has no weight."""
        ...

    def added(self, indices: Array) -> tuple[Array, Array]:
        """Return what some rows add to sums and to counts."""
        ...


@dataclass(frozen=True)
class LloydResult:
    """Where the iterations ended: centres of shape (k, d), float64, relative to the shift."""

    centres: Array
    n_iter: int


def lloyd(
    assignment: Rounds, centres: Array, *, max_iter: int, tolerance: float, on_sphere: bool
) -> LloydResult:
    """Move each centre to the mean of its rows until nothing changes or moves but a little.

    Sums are integers: the result is the same bits for any number of threads and any instruction
    set.

    Parameters
    ----------
    assignment : Rounds
        Of n rows to k centres; ends with those to the centres before the last.
    centres : array of shape (k, d)
        Where to start, relative to the shift; k is at most n.
    max_iter : int
    tolerance : float
        Stop when the squared movements of all centres add up to no more than this.
    on_sphere : bool
        Scale means to unit length (spherical k-means; Dhillon and Modha 2001).
    """
    centres = np.asarray(centres, np.float64)
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        near = centres.astype(np.float32)
        moved = assignment.update(near)
        sums, counts, relocated = _relocate_empty(assignment, near)
        points, sizes = sums / assignment.sum_scale, counts / assignment.count_scale
        previous, centres = centres, _means(points, sizes, centres, on_sphere)
        # Equal labels have equal sums, bit for bit, so these centres would come again.
        settled = moved == 0 and not relocated
        if settled or ((centres - previous) ** 2).sum() <= tolerance:
            break
    return LloydResult(centres, n_iter)


def _means(points: Array, sizes: Array, previous: Array, on_sphere: bool) -> Array:
    """Return sums as means, or as directions; a cell that has none keeps its centre."""
    if on_sphere:
        sizes = np.sqrt((points * points).sum(axis=1))
    has_mean = sizes > 0
    means = previous.copy()
    means[has_mean] = points[has_mean] / sizes[has_mean, None]
    return means


def _relocate_empty(assignment: Rounds, centres: Array) -> tuple[Array, Array, bool]:
    """Give each empty cell one of the rows farthest from their centres, as scikit-learn does.

    Rows without weight stay where they are: they count as absent. Returns sums, counts, and whether
    any row was given; the assignment stays as it is.
    """
    sums, counts = assignment.sums, assignment.counts
    empty = np.flatnonzero(counts == 0)
    if len(empty) == 0:
        return sums, counts, False
    distances = assignment.distances(centres)
    farthest = np.argsort(-distances, kind="stable")[: len(empty)]
    farthest = farthest[distances[farthest] > 0]
    if len(farthest) == 0:  # every row is its centre: fewer different rows than cells
        return sums, counts, False
    empty = empty[: len(farthest)]
    points, masses = assignment.added(farthest)
    sums, counts, labels = sums.copy(), counts.copy(), assignment.labels
    np.subtract.at(sums, labels[farthest], points)
    np.subtract.at(counts, labels[farthest], masses)
    sums[empty] = points
    counts[empty] = masses
    return sums, counts, True
