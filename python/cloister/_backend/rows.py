"""Kernels that read rows: encode, and the owner-side nearest."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister._backend import library
from cloister._backend.library import address
from cloister.codes import Clip
from cloister.errors import InvalidInput, InvalidType

ROW_DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}


def encode(
    rows: NDArray[Any], clip: Clip, codes: NDArray[np.int16], valid: NDArray[np.bool_]
) -> None:
    """Write the code of each row, and whether the row was finite."""
    n, d = rows.shape
    dtype = ROW_DTYPES.get(rows.dtype.name)
    if dtype is None or not rows.dtype.isnative:
        raise InvalidType(f"rows must be one of {list(ROW_DTYPES)}, got {rows.dtype}")
    item = rows.dtype.itemsize
    if (d > 1 and rows.strides[1] != item) or (n > 1 and rows.strides[0] % item):
        raise InvalidType(f"rows must have contiguous coordinates, got strides {rows.strides}")
    library.kernels.encode(
        rows.ctypes.data,
        dtype,
        rows.strides[0] // item,
        n,
        d,
        clip.radius,
        clip.target,
        clip.bound,
        address("codes", codes, np.int16, (n, d), writeable=True),
        address("valid", valid, np.bool_, (n,), writeable=True),
        library.num_threads(),
        0,
    )


def nearest(
    rows: NDArray[Any],
    centres: NDArray[Any],
    *,
    shift: NDArray[Any] | None = None,
    labels: NDArray[Any] | None = None,
    distances: NDArray[Any] | None = None,
    all_distances: NDArray[Any] | None = None,
    sums: NDArray[Any] | None = None,
    counts: NDArray[Any] | None = None,
    sum_scale: float = 1.0,
) -> None:
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
    labels : int32 array of shape (n,), optional
        Receives the nearest centre, of equally near ones the first.
    distances : float64 array of shape (n,), optional
        Receives the squared distance to the nearest centre.
    all_distances : float32 array of shape (n, k), optional
        Receives all squared distances.
    sums, counts : int64 arrays of shape (k, d) and (k,), optional
        Added to: ``rint((row - shift) * sum_scale)`` and 1 for each row of the centre.
    sum_scale : float
        A power of two such that no ``abs(row - shift) * sum_scale`` exceeds 2^50.

    Raises
    ------
    InvalidInput, InvalidType
        If an array has another shape, dtype or memory layout.
    """
    (n, d), k = rows.shape, len(centres)
    if d == 0 or not 0 < k < 2**31:
        raise InvalidInput(f"centres must have between 1 and 2^31 rows and d > 0, got {k} and {d}")
    if not (sum_scale > 0 and math.isfinite(sum_scale) and math.frexp(sum_scale)[0] == 0.5):
        raise InvalidInput(f"sum_scale must be a power of two, got {sum_scale}")
    library.kernels.nearest(
        address("rows", rows, np.float32, (n, d)),
        n,
        d,
        address("shift", shift, np.float32, (d,)),
        address("centres", centres, np.float32, (k, d)),
        k,
        address("labels", labels, np.int32, (n,), writeable=True),
        address("distances", distances, np.float64, (n,), writeable=True),
        address("all_distances", all_distances, np.float32, (n, k), writeable=True),
        address("sums", sums, np.int64, (k, d), writeable=True),
        address("counts", counts, np.int64, (k,), writeable=True),
        sum_scale,
        library.num_threads(),
        0,
    )
