"""Rows that lie on a device, and results for those who gave them."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister._backend import ROW_DTYPES, DeviceArray, is_on_device
from cloister.errors import InvalidType
from cloister.sources.protocol import check_row_shape

DEVICE_CHUNK_BYTES = 2**30
"""Bytes of rows that are encoded at a time; nothing is copied."""


class DeviceSource:
    """A two-dimensional array on a device, read in chunks of rows as they lie.

    Attributes
    ----------
    n, d : int
        Number of rows and of features.
    rereadable : bool
        True.
    """

    rereadable = True

    def __init__(self, array: DeviceArray) -> None:
        self.array = array
        self.n: int = array.shape[0]
        self.d: int = array.shape[1]

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, DeviceArray]]:
        """Yield (index of first row, rows) in order: see `Source.chunks`."""
        rows = rows or max(1, DEVICE_CHUNK_BYTES // (self.array.dtype.itemsize * self.d))
        for first in range(0, self.n, rows):
            yield first, self.array[first : first + rows]


def device_rows(rows: Any, name: str = "X") -> DeviceArray:
    """Take rows of any library that lie on a device, without a copy.

    Raises
    ------
    InvalidInput, InvalidType
        If they are no table of floating-point numbers, or do not lie one after the other.
    """
    array = DeviceArray.from_foreign(rows, name)
    check_row_shape(array.shape, name)
    if array.dtype_name not in ROW_DTYPES:
        raise InvalidType(
            f"{name} has dtype {array.dtype_name}, but rows on a device must be one of "
            f"{list(ROW_DTYPES)}; convert it there first"
        )
    return array


def returned_like(rows: Any, values: NDArray[Any]) -> Any:
    """Return values of the host to where a caller's rows lie, in the caller's library.

    Parameters
    ----------
    rows : any
        What the caller gave.
    values : array
        With an entry for each row. Strings stay numpy's: no device holds them.

    Returns
    -------
    array
        Of the library and on the device of `rows` if these lie on one; otherwise `values`.
    """
    if not is_on_device(rows) or values.dtype.kind not in "fiub":
        return values
    device = DeviceArray.from_foreign(rows).device
    copy = DeviceArray.copy_of(np.ascontiguousarray(values), device)
    if isinstance(rows, DeviceArray):
        return copy
    if hasattr(rows, "__array_namespace__"):
        return rows.__array_namespace__().from_dlpack(copy)
    # Rows are here, so their library is: this imports nothing.
    library = sys.modules[type(rows).__module__.partition(".")[0]]
    return library.from_dlpack(copy) if hasattr(library, "from_dlpack") else copy
