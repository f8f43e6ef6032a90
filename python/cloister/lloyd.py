"""Lloyd's iterations on exact integer sums."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from cloister.centred_rows import Array, CentredRows
from cloister.sample_weight import weight_scales


@dataclass(frozen=True)
class LloydResult:
    """Where the iterations ended: centres of shape (k, d), float64, relative to the shift."""

    centres: Array
    n_iter: int


@dataclass(frozen=True)
class _Masses:
    """Weights of the rows (None: all 1), and what makes integers of them in sums and counts."""

    weights: Array | None
    sum_scale: float
    count_scale: float

    @classmethod
    def of(cls, rows: CentredRows, weights: Array | None) -> Self:
        if weights is None:
            return cls(None, rows.sum_scale, 1.0)
        return cls(weights, *weight_scales(rows.spread, weights))

    @property
    def options(self) -> dict[str, Any]:
        """What `nearest` needs to know of them."""
        if self.weights is None:
            return {"sum_scale": self.sum_scale}
        return {
            "weights": self.weights,
            "sum_scale": self.sum_scale,
            "count_scale": self.count_scale,
        }

    def points(self, rows: CentredRows, indices: Array) -> tuple[Array, Array]:
        """Return what the rows add to sums and counts, as the kernel rounds it."""
        points = rows.take(indices).astype(np.float64)
        mass = np.ones(len(indices)) if self.weights is None else self.weights[indices]
        sums = np.rint(points * mass[:, None] * self.sum_scale)
        return sums.astype(np.int64), np.rint(mass * self.count_scale).astype(np.int64)


def lloyd(
    rows: CentredRows,
    centres: Array,
    *,
    max_iter: int,
    tolerance: float,
    on_sphere: bool,
    weights: Array | None = None,
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
    weights : float64 array of shape (n,), optional
        As `check_sample_weight` returns them.
    """
    masses = _Masses.of(rows, weights)
    labels = np.full(len(rows), -1, np.int32)
    previous_labels = np.empty_like(labels)
    sums = np.empty(centres.shape, np.int64)
    counts = np.empty(len(centres), np.int64)
    centres = np.asarray(centres, np.float64)
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        labels, previous_labels = previous_labels, labels
        sums.fill(0)
        counts.fill(0)
        near = centres.astype(np.float32)
        rows.nearest(near, labels=labels, sums=sums, counts=counts, **masses.options)
        relocated = _relocate_empty(rows, masses, near, labels, sums, counts)
        previous, centres = centres, _means(sums, counts, masses, centres, on_sphere)
        # Equal labels have equal sums, bit for bit, so these centres would come again.
        settled = not relocated and np.array_equal(labels, previous_labels)
        if settled or ((centres - previous) ** 2).sum() <= tolerance:
            break
    return LloydResult(centres, n_iter)


def _means(sums: Array, counts: Array, masses: _Masses, previous: Array, on_sphere: bool) -> Array:
    """Return sums as means, or as directions; a cell that has none keeps its centre."""
    points = sums / masses.sum_scale
    sizes = np.sqrt((points * points).sum(axis=1)) if on_sphere else counts / masses.count_scale
    has_mean = sizes > 0
    means = previous.copy()
    means[has_mean] = points[has_mean] / sizes[has_mean, None]
    return means


def _relocate_empty(
    rows: CentredRows, masses: _Masses, centres: Array, labels: Array, sums: Array, counts: Array
) -> bool:
    """Give each empty cell one of the rows farthest from their centres, as scikit-learn does.

    Rows without weight stay where they are: they count as absent.
    """
    empty = np.flatnonzero(counts == 0)
    if len(empty) == 0:
        return False
    distances = np.empty(len(rows))
    rows.nearest(centres, distances=distances)
    if masses.weights is not None:
        distances[np.rint(masses.weights * masses.count_scale) == 0] = 0
    farthest = np.argsort(-distances, kind="stable")[: len(empty)]
    farthest = farthest[distances[farthest] > 0]
    if len(farthest) == 0:  # every row is its centre: fewer different rows than cells
        return False
    empty = empty[: len(farthest)]
    points, mass = masses.points(rows, farthest)
    np.subtract.at(sums, labels[farthest], points)
    np.subtract.at(counts, labels[farthest], mass)
    sums[empty] = points
    counts[empty] = mass
    return True
