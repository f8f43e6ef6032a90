"""Rows that are not resident, as int16 codes: what Lloyd's algorithm asks of `CentredRows`.

A code is a row relative to the mean of all, rounded to a grid of 2^14 steps from the mean to the
farthest row. Codes take 2 bytes a number and sums of them are exact, whatever the source, its
chunks, or the number of threads.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cloister import _backend
from cloister._backend import DeviceArray, Devices, Partition, RowArray
from cloister.centred_rows import Array, CentredRows, checked_variance
from cloister.codes import CodeGrid
from cloister.device_windows import DeviceWindows
from cloister.errors import InvalidInput
from cloister.sources import Source, finite_rows

_NUMBERS = 2**22  # decoded to float32 at a time
_LARGEST_RADIUS = 1e15  # beyond it float32 cannot hold squared distances


@dataclass(frozen=True)
class Extent:
    """What one pass over the rows tells.

    Attributes
    ----------
    n : int
        Number of rows.
    mean : array of shape (d,), float64
    radius : float
        No row is farther from the mean.
    variance : float
        Mean variance of a feature; of unit vectors, about the origin.
    """

    n: int
    mean: Array
    radius: float
    variance: float


class CodeRows:
    """The points ``x = code * step`` of shape (n, d), relative to the shift.

    Parameters
    ----------
    source : Source
        Can be read many times.
    on_sphere : bool
        Scale rows to unit length, and do not shift them.
    cache : bool
        Keep the codes, 2 n d bytes; or read and encode the rows for every call.
    devices : tuple of int
        The first of these GPUs finds the nearest points of kept codes; without any, the processor.

    Attributes
    ----------
    shift : array of shape (d,), float32
    variance : float
        Mean variance of a feature.
    sum_scale : float
        `nearest` adds up points times this scale, which makes them integers; counts are counts.
    """

    def __init__(
        self, source: Source, *, on_sphere: bool, cache: bool, devices: Devices = ()
    ) -> None:
        self._source, self._on_sphere = source, on_sphere
        extent = _extent(source, on_sphere=on_sphere)
        self._n, self.d, self.variance = extent.n, source.d, checked_variance(extent.variance)
        with np.errstate(over="ignore"):  # refused by the next line
            self.shift = extent.mean.astype(np.float32)
        if not extent.radius <= _LARGEST_RADIUS:
            raise InvalidInput(
                f"X has a row {extent.radius:.3g} away from the mean of all rows; distances are "
                f"taken in float32, which holds up to {_LARGEST_RADIUS:.0e}: rescale the data"
            )
        # The shift is the mean rounded to float32, and so are differences from it.
        slack = 1e-6 * (extent.radius + float(np.abs(extent.mean).max()) * math.sqrt(self.d))
        self._grid = CodeGrid(self.d, extent.radius + slack or 1.0)
        self._codes: Array | None = None
        if cache:
            codes = np.empty((self._n, self.d), np.int16)
            for first, part in self._encoded():
                codes[first : first + len(part)] = part
            self._codes = codes
        self._windows = DeviceWindows(self._codes, devices[0]) if devices and cache else None

    def __len__(self) -> int:
        return self._n

    @property
    def sum_scale(self) -> float:
        """Grid steps a unit of the rows."""
        return 1.0 / self._step

    @property
    def _step(self) -> float:
        return self._grid.row_clip.step

    def take(self, indices: Array) -> Array:
        """Return points as a float32 array of shape (len(indices), d)."""
        if self._codes is not None:
            codes = self._codes[indices]
        else:
            indices = np.asarray(indices)
            codes = np.empty((len(indices), self.d), np.int16)
            for first, part in self._blocks():
                here = np.flatnonzero((indices >= first) & (indices < first + len(part)))
                codes[here] = part[indices[here] - first]
        return (codes * self._step).astype(np.float32)

    def nearest(
        self,
        centres: Array,
        *,
        labels: Array | None = None,
        distances: Array | None = None,
        sums: Array | None = None,
        counts: Array | None = None,
    ) -> None:
        """Fill the outputs as `_backend.nearest` does.

        Where no distance is asked for, the centres are rounded to the grid and labels are exact:
        those of the nearest point of the grid in integers.
        """
        if distances is None:
            on_grid = self._grid.round_centres(centres)
            for first, codes in self._counted():
                part = None if labels is None else labels[first : first + len(codes)]
                _count(codes, on_grid, part, sums, counts)
            return
        for here, points, near in self._measurable(centres):
            part = None if labels is None else labels[here]
            _backend.nearest(
                points, near, labels=part, distances=distances[here], sums=sums, counts=counts
            )
            distances[here] *= self._step**2

    def measured(self, centres: Array) -> Iterator[tuple[slice, Array]]:
        """Yield (which rows, their squared distances to all centres), few rows at a time."""
        for here, points, near in self._measurable(centres):
            distances = np.empty((len(points), len(near)), np.float32)
            _backend.all_distances(points, near, distances)
            distances *= np.float32(self._step**2)
            yield here, distances

    def mean_distance(self, centres: Array) -> float:
        """Return the mean squared distance of a point to its centre."""
        distances = np.empty(self._n)
        self.nearest(centres, distances=distances)
        return float(distances.mean())

    def _measurable(self, centres: Array) -> Iterator[tuple[slice, Array, Array]]:
        """Yield points and centres, which may lie between those of the grid, in grid steps."""
        near = (centres / self._step).astype(np.float32)
        rows = max(1, _NUMBERS // self.d)
        for start, codes in self._blocks():
            for first in range(0, len(codes), rows):
                points = codes[first : first + rows].astype(np.float32)
                yield slice(start + first, start + first + len(points)), points, near

    def _blocks(self) -> Iterator[tuple[int, Array]]:
        if self._codes is not None:
            yield 0, self._codes
        else:
            yield from self._encoded()

    def _counted(self) -> Iterator[tuple[int, RowArray]]:
        """Yield (index of first row, codes) where the kernels that count them are."""
        if self._windows is None:
            yield from self._blocks()
            return
        for window, codes in self._windows:
            yield window.start, codes

    def _encoded(self) -> Iterator[tuple[int, Array]]:
        """Read the rows and yield (index of first row, codes)."""
        read = 0
        for first, rows in finite_blocks(self._source):
            points = _points(rows, self._on_sphere, first) - self.shift
            codes, valid = np.empty(points.shape, np.int16), np.empty(len(points), np.bool_)
            read = first + len(rows)
            if read <= self._n:
                _backend.encode(points, self._grid.row_clip, codes, valid)
                yield first, codes
        if read != self._n:
            raise InvalidInput(
                f"X had {self._n} rows when it was read first, and has {read} now; leave it alone "
                "until the fit is done"
            )


def finite_blocks(source: Source) -> Iterator[tuple[int, Array]]:
    """Yield rows, as many at a time for every kind of source.

    Raises
    ------
    InvalidInput
        If a row has NaN, infinity or a value beyond float32.
    """
    for first, chunk in source.chunks(max(1, _NUMBERS // source.d)):
        rows = _backend.on_host(chunk)
        bad = np.flatnonzero(~finite_rows(rows))
        if len(bad):
            raise InvalidInput(
                f"Input X contains NaN, infinity or a value beyond float32 in row "
                f"{first + bad[0]}; leave such rows out or mend them"
            )
        yield first, rows


def _points(rows: Array, on_sphere: bool, first: int) -> Array:
    if not on_sphere:
        return rows
    try:
        return _backend.on_host(CentredRows.on_sphere(rows).values)
    except InvalidInput as error:
        raise InvalidInput(f"in the rows from number {first} on: {error}") from error


def _extent(source: Source, *, on_sphere: bool) -> Extent:
    """Read the rows once, for their number, mean and radius.

    Distances are taken from the mean of the first rows and corrected by its distance to the mean of
    all: a bound, and a close one where the first rows are like the others.
    """
    n, d, radius, squares = 0, source.d, 0.0, 0.0
    total, start = np.zeros(d), np.zeros(d)
    for first, rows in finite_blocks(source):
        n = first + len(rows)
        if on_sphere:
            _points(rows, on_sphere, first)  # refuses rows without a direction
            continue
        points = rows.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite radius is refused
            total += points.sum(axis=0)
            start = total / n if first == 0 else start
            points -= start
            squared_norms = np.einsum("ij,ij->i", points, points)
            squares += float(squared_norms.sum())
            radius = max(radius, float(squared_norms.max()) ** 0.5)
    if on_sphere:
        return Extent(n, np.zeros(d), 1.0, 1.0 / d)
    mean = total / n
    moved = float(np.linalg.norm(mean - start))
    return Extent(n, mean, radius + moved, max(squares / n - moved**2, 0.0) / d)


def _count(
    codes: RowArray, centres: Array, labels: Array | None, sums: Array | None, counts: Array | None
) -> None:
    """Add up the codes by nearest centre of the grid."""
    k, d = centres.shape
    partition = Partition(np.ascontiguousarray(centres[None]), np.array([0, len(codes)]))
    counts = np.zeros(k, np.int64) if counts is None else counts
    sums = np.zeros((k, d), np.int64) if sums is None else sums
    found: RowArray | None = labels
    if labels is not None and isinstance(codes, DeviceArray):
        found = DeviceArray.empty(labels.shape, np.int32, codes.device)
    _backend.tally(codes, partition, None, counts[None], sums[None], found)
    if labels is not None and isinstance(found, DeviceArray):
        found.copy_to(labels)


class CodeAssignment:
    """The nearest point of the grid for every row: see `assignment.Assignment`."""

    def __init__(self, rows: CodeRows, n_clusters: int) -> None:
        self._rows = rows
        self.sum_scale, self.count_scale = rows.sum_scale, 1.0
        self.labels = np.full(len(rows), -1, np.int32)
        self.sums = np.zeros((n_clusters, rows.d), np.int64)
        self.counts = np.zeros(n_clusters, np.int64)

    def update(self, centres: Array) -> int:
        """Assign each row to the nearest of `centres`; return how many rows moved."""
        previous = self.labels.copy()
        self.sums.fill(0)
        self.counts.fill(0)
        self._rows.nearest(centres, labels=self.labels, sums=self.sums, counts=self.counts)
        return int((self.labels != previous).sum())

    def distances(self, centres: Array) -> Array:
        """Return squared distances to the nearest of `centres`."""
        distances = np.empty(len(self._rows))
        self._rows.nearest(centres, distances=distances)
        return distances

    def added(self, indices: Array) -> tuple[Array, Array]:
        """Return what some rows add to sums and to counts."""
        points = self._rows.take(indices).astype(np.float64) * self.sum_scale
        return np.rint(points).astype(np.int64), np.ones(len(indices), np.int64)
