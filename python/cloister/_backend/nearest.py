"""Owner-side kernels: the nearest centre of each row, and distances. Nothing here is private."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister._backend import library, neighbours
from cloister._backend.device_array import DeviceArray, RowArray
from cloister._backend.library import address
from cloister._backend.placement import Placement
from cloister.errors import InvalidInput


@dataclass(frozen=True)
class ScreenedRows:
    """Rows as int8 codes, which let `nearest` rule out centres: see kernels.hpp."""

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    norms: NDArray[np.float32]
    errors: NDArray[np.float32]

    def addresses(self, n: int, d: int) -> tuple[int, int, int, int]:
        return (
            address("codes", self.codes, np.uint8, (n, _padded(d)), writeable=True),
            address("scales", self.scales, np.float32, (n,), writeable=True),
            address("norms", self.norms, np.float32, (n,), writeable=True),
            address("errors", self.errors, np.float32, (n,), writeable=True),
        )


@dataclass(frozen=True)
class Changes:
    """What a call of `nearest` did: rows added to a sum, and rows that their list settled."""

    moved: int
    recalled: int


def _padded(d: int) -> int:
    return -(-d // 64) * 64


def screen_rows(rows: NDArray[Any], shift: NDArray[Any] | None) -> ScreenedRows:
    """Return the int8 codes of float32 rows less `shift`."""
    n, d = rows.shape
    out = ScreenedRows(
        np.empty((n, _padded(d)), np.uint8),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
    )
    library.kernels.screen_rows(
        address("rows", rows, np.float32, (n, d)),
        n,
        d,
        address("shift", shift, np.float32, (d,)),
        *out.addresses(n, d),
        library.num_threads(),
        0,
    )
    return out


@dataclass(frozen=True)
class ColumnRanges:
    """Means and ends of the columns of float32 rows: arrays of shape (d,).

    Attributes
    ----------
    mean : float64
    lowest, highest : float32
    """

    mean: NDArray[np.float64]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]


def column_ranges(rows: RowArray) -> ColumnRanges | None:
    """Read float32 rows once; None if a value is NaN or infinite."""
    n, d = rows.shape
    sums = np.zeros((-(-n // library.kernels.range_rows), d))
    lowest, highest = np.empty(d, np.float32), np.empty(d, np.float32)
    place = Placement.of(rows=rows)
    with place.kernels() as kernels:
        is_finite = kernels.column_ranges(
            place.rows("rows", rows, np.float32, (n, d)),
            n,
            d,
            sums.ctypes.data,
            lowest.ctypes.data,
            highest.ctypes.data,
            library.num_threads(),
            0,
        )
    return ColumnRanges(sums.sum(axis=0) / n, lowest, highest) if is_finite else None


def screens_by_codes(d: int, k: int) -> bool:
    """Whether `nearest` is faster with codes, when asked again and again about the same rows."""
    return library.kernels.screens_by_codes(d, k)


def nearest(
    rows: RowArray,
    centres: NDArray[Any],
    *,
    shift: NDArray[Any] | None = None,
    weights: RowArray | None = None,
    screened: ScreenedRows | None = None,
    recollection: neighbours.Recollection | None = None,
    labels: RowArray | None = None,
    distances: RowArray | None = None,
    sums: NDArray[Any] | None = None,
    counts: NDArray[Any] | None = None,
    sum_scale: float = 1.0,
    count_scale: float = 1.0,
    updates: bool = False,
) -> Changes:
    """Find the nearest centre of each row less `shift`, and fill the outputs that are given.

    The results are the same bits for any number of threads, any chunking of the rows, any
    instruction set and any device (`nearest` in kernels.hpp has the order of operations). Rows,
    weights, labels and distances lie on the host, or all on one device.

    Parameters
    ----------
    rows : float32 array of shape (n, d)
    centres : float32 array of shape (k, d)
        In the coordinates of ``rows - shift``.
    shift : float32 array of shape (d,), optional
        Subtracted from each row, in float32.
    weights : float64 array of shape (n,), optional
        Of the rows in sums and counts.
    screened : ScreenedRows, optional
        By `screen_rows` for these rows and this shift: faster, with the same results.
    recollection : Recollection, optional
        Lists of neighbours of these rows, with `screened`: faster again, with the same results.
    labels : int32 array of shape (n,), optional
        Receives the nearest centre, of equally near ones the first.
    distances : float64 array of shape (n,), optional
        Receives the squared distance to the nearest centre.
    sums, counts : int64 arrays of shape (k, d) and (k,), optional
        Added to: ``rint((row - shift) * weight * sum_scale)`` and ``rint(weight * count_scale)``
        for each row of the centre.
    sum_scale, count_scale : float
        Powers of two such that no term exceeds 2^50.
    updates : bool
        Labels, sums and counts are those of an earlier call with these rows: only rows whose
        label changes are taken from one sum and added to another.

    Returns
    -------
    Changes

    Raises
    ------
    InvalidInput, InvalidType
        If an array has another shape, dtype or memory layout, or `updates` is asked for without
        labels.
    """
    (n, d), k = rows.shape, len(centres)
    _check_centres(d, k)
    for name, scale in (("sum_scale", sum_scale), ("count_scale", count_scale)):
        if not (scale > 0 and math.isfinite(scale) and math.frexp(scale)[0] == 0.5):
            raise InvalidInput(f"{name} must be a power of two, got {scale}")
    if updates:
        _check_labels(labels, k)
    if recollection is not None and (screened is None or recollection.recalls > updates):
        raise InvalidInput("recollection needs screened rows, and the labels of the call before")
    changes = np.zeros(2, np.int64)
    lists, alive = neighbours.kernel_arguments(recollection, n, k)
    place = Placement.of(rows=rows, weights=weights, labels=labels, distances=distances)
    if screened is not None:
        place.require_host("screened")
    with place.kernels() as kernels:
        kernels.nearest(
            place.rows("rows", rows, np.float32, (n, d)),
            n,
            d,
            address("shift", shift, np.float32, (d,)),
            place.rows("weights", weights, np.float64, (n,)),
            *((0, 0, 0, 0) if screened is None else screened.addresses(n, d)),
            *lists,
            address("centres", centres, np.float32, (k, d)),
            k,
            place.rows("labels", labels, np.int32, (n,), writeable=True),
            place.rows("distances", distances, np.float64, (n,), writeable=True),
            address("sums", sums, np.int64, (k, d), writeable=True),
            address("counts", counts, np.int64, (k,), writeable=True),
            changes[:1].ctypes.data,
            changes[1:].ctypes.data,
            sum_scale,
            count_scale,
            updates,
            library.num_threads(),
            0,
        )
    del alive
    return Changes(*changes.tolist())


def _check_labels(labels: RowArray | None, k: int) -> None:
    """Labels choose the sums that rows are taken from: one too large would be written past.

    Those on a device are taken to be what an earlier call left there: to look would cost a copy.
    """
    if labels is None:
        raise InvalidInput("updates needs the labels of the earlier call, got None")
    if isinstance(labels, DeviceArray) or not labels.size:
        return
    if not (labels.min() >= 0 and labels.max() < k):
        raise InvalidInput(
            f"updates needs labels in [0, {k}), got [{labels.min()}, {labels.max()}]"
        )


def all_distances(
    rows: RowArray,
    centres: NDArray[Any],
    out: RowArray,
    *,
    shift: NDArray[Any] | None = None,
) -> None:
    """Fill `out`, float32 of shape (n, k), with the squared distances of rows less `shift`.

    Raises
    ------
    InvalidInput, InvalidType
        If an array has another shape, dtype or memory layout.
    """
    (n, d), k = rows.shape, len(centres)
    _check_centres(d, k)
    place = Placement.of(rows=rows, out=out)
    with place.kernels() as kernels:
        kernels.all_distances(
            place.rows("rows", rows, np.float32, (n, d)),
            n,
            d,
            address("shift", shift, np.float32, (d,)),
            address("centres", centres, np.float32, (k, d)),
            k,
            place.rows("out", out, np.float32, (n, k), writeable=True),
            library.num_threads(),
            0,
        )


def _check_centres(d: int, k: int) -> None:
    if d == 0 or not 0 < k < 2**31:
        raise InvalidInput(f"centres must have between 1 and 2^31 rows and d > 0, got {k} and {d}")
