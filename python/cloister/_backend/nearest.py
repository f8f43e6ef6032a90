"""Owner-side kernels: the nearest centre of each row, and distances. Nothing here is private."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister._backend import library
from cloister._backend.library import address
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


def screens_by_codes(d: int, k: int) -> bool:
    """Whether `nearest` is faster with codes, when asked again and again about the same rows."""
    return library.kernels.screens_by_codes(d, k)


def nearest(
    rows: NDArray[Any],
    centres: NDArray[Any],
    *,
    shift: NDArray[Any] | None = None,
    weights: NDArray[Any] | None = None,
    screened: ScreenedRows | None = None,
    labels: NDArray[Any] | None = None,
    distances: NDArray[Any] | None = None,
    sums: NDArray[Any] | None = None,
    counts: NDArray[Any] | None = None,
    sum_scale: float = 1.0,
    count_scale: float = 1.0,
    updates: bool = False,
) -> int:
    """Find the nearest centre of each row less `shift`, and fill the outputs that are given.

    The results are the same bits for any number of threads, any chunking of the rows and any
    instruction set (`nearest` in kernels.hpp has the order of operations).

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
    int
        Rows added to a sum.

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
    if updates and labels is None:
        raise InvalidInput("updates needs the labels of the earlier call, got None")
    if updates and n and not (labels.min() >= 0 and labels.max() < k):
        raise InvalidInput(f"updates needs labels in [0, {k}), got [{labels.min()}, {labels.max()}]")
    moved = np.zeros(1, np.int64)
    library.kernels.nearest(
        address("rows", rows, np.float32, (n, d)),
        n,
        d,
        address("shift", shift, np.float32, (d,)),
        address("weights", weights, np.float64, (n,)),
        *((0, 0, 0, 0) if screened is None else screened.addresses(n, d)),
        address("centres", centres, np.float32, (k, d)),
        k,
        address("labels", labels, np.int32, (n,), writeable=True),
        address("distances", distances, np.float64, (n,), writeable=True),
        address("sums", sums, np.int64, (k, d), writeable=True),
        address("counts", counts, np.int64, (k,), writeable=True),
        moved.ctypes.data,
        sum_scale,
        count_scale,
        updates,
        library.num_threads(),
        0,
    )
    return int(moved[0])


def all_distances(
    rows: NDArray[Any],
    centres: NDArray[Any],
    out: NDArray[Any],
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
    library.kernels.all_distances(
        address("rows", rows, np.float32, (n, d)),
        n,
        d,
        address("shift", shift, np.float32, (d,)),
        address("centres", centres, np.float32, (k, d)),
        k,
        address("out", out, np.float32, (n, k), writeable=True),
        library.num_threads(),
        0,
    )


def _check_centres(d: int, k: int) -> None:
    if d == 0 or not 0 < k < 2**31:
        raise InvalidInput(f"centres must have between 1 and 2^31 rows and d > 0, got {k} and {d}")
