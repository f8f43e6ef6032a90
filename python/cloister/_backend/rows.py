"""The kernel that makes codes of rows."""

import numpy as np

from cloister._backend import library
from cloister._backend.device_array import DeviceArray, RowArray, address_of, dtype_name
from cloister._backend.placement import Placement
from cloister.codes import Clip
from cloister.errors import InvalidType

ROW_DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}


def encode(rows: RowArray, clip: Clip, codes: RowArray, valid: RowArray) -> None:
    """Write the code of each row, and whether the row was finite.

    Parameters
    ----------
    rows : array of shape (n, d), of one of `ROW_DTYPES`
    clip : Clip
    codes : array of shape (n, d), int16
    valid : array of shape (n,), bool
        All three of the host, or of one device.
    """
    n, d = rows.shape
    dtype = ROW_DTYPES.get(dtype_name(rows))
    if dtype is None or not rows.dtype.isnative:
        raise InvalidType(f"rows must be one of {list(ROW_DTYPES)}, got {rows.dtype}")
    place = Placement.of(rows=rows, codes=codes, valid=valid)
    with place.kernels() as kernels:
        kernels.encode(
            address_of(rows),
            dtype,
            _row_stride(rows),
            n,
            d,
            clip.radius,
            clip.target,
            clip.bound,
            place.rows("codes", codes, np.int16, (n, d), writeable=True),
            place.rows("valid", valid, np.bool_, (n,), writeable=True),
            library.num_threads(),
            0,
        )


def _row_stride(rows: RowArray) -> int:
    """Return how many elements lie between the starts of two rows."""
    n, d = rows.shape
    if isinstance(rows, DeviceArray):
        return d
    item = rows.dtype.itemsize
    if (d > 1 and rows.strides[1] != item) or (n > 1 and rows.strides[0] % item):
        raise InvalidType(f"rows must have contiguous coordinates, got strides {rows.strides}")
    return rows.strides[0] // item
