"""The kernel that makes codes of rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister._backend import library
from cloister._backend.library import address
from cloister.codes import Clip
from cloister.errors import InvalidType

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
