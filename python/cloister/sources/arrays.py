"""Rows from arrays: numpy, memory maps, lists, data frames, tensors, anything with `__array__`."""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from cloister._backend import RowArray, on_host
from cloister.errors import InvalidInput, InvalidType
from cloister.sources.protocol import (
    check_row_dtype,
    check_row_shape,
    kernel_ready,
    rows_a_chunk,
)
from cloister.sources.tensors import host_view, widened


class ArraySource:
    """A two-dimensional array, read in chunks of rows that the kernels can take.

    Of a memory map, the pages of a chunk are given back before the next one is touched.

    Attributes
    ----------
    n, d : int
        Number of rows and of features.
    rereadable : bool
        True.
    """

    rereadable = True

    def __init__(self, array: NDArray[Any], *, is_bfloat16: bool = False) -> None:
        self.array = array
        self.n: int = array.shape[0]
        self.d: int = array.shape[1]
        self._is_bfloat16 = is_bfloat16  # the array then holds its bits as uint16
        self._map = shared_map(array)

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of first row, rows) in order: see `Source.chunks`."""
        rows = rows or rows_a_chunk(self.d, self.array.itemsize)
        for first in range(0, self.n, rows):
            chunk = self.array[first : first + rows]
            yield first, widened(chunk) if self._is_bfloat16 else kernel_ready(chunk)
            if self._map is not None:
                self._map.madvise(mmap.MADV_DONTNEED)


def array_source(rows: Any, name: str = "X") -> ArraySource:
    """Take rows from one array-like, without reading them where that can be helped.

    Raises
    ------
    InvalidInput, InvalidType
        As `as_source`.
    """
    if issparse(rows):
        raise InvalidType(
            f"{name} is a sparse matrix; cloister works on dense embeddings: pass "
            f"{name}.toarray(), or embed the rows first"
        )
    if rows is None or isinstance(rows, str | bytes | dict | set):
        raise InvalidType(
            f"{name} must be an array of shape (n, d), got {type(rows).__name__}; pass the rows as "
            "a numpy array"
        )
    rows, is_bfloat16 = host_view(rows, name)
    array = _as_array(rows, name)
    check_row_shape(array.shape, name)
    return ArraySource(array, is_bfloat16=is_bfloat16)


def _as_array(rows: Any, name: str) -> NDArray[Any]:
    if isinstance(rows, np.ma.MaskedArray) and np.ma.is_masked(rows):
        raise InvalidType(f"{name} has masked entries; fill them with {name}.filled(value) first")
    _refuse_cut_memory_map(rows, name)
    try:
        array = rows if isinstance(rows, np.ndarray) else np.asarray(rows)
        if array.dtype == object:
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        # RuntimeError is a tensor's way to refuse (one that has a gradient, say).
        raise InvalidType(
            f"{name} cannot be read as an array of numbers: {error}; pass a numpy array of shape "
            "(n, d), all rows of one length"
        ) from error
    check_row_dtype(array.dtype, name)
    return array


def mapped_file(rows: Any) -> tuple[np.memmap[Any, Any], mmap.mmap] | None:
    """Return the memory map that an array is a view of, if any."""
    mapped = None
    while isinstance(rows, np.ndarray):
        mapped = rows if isinstance(rows, np.memmap) else mapped
        rows = rows.base
    return (mapped, rows) if mapped is not None and isinstance(rows, mmap.mmap) else None


def shared_map(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the map whose pages can be given back and read again, if that is what it is.

    Pages of mode "c" hold what the caller wrote; giving them back would undo it.
    """
    found = mapped_file(array)
    if found is None or found[0].mode == "c" or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    return found[1]


def _refuse_cut_memory_map(rows: Any, name: str) -> None:
    """Reading past the end of a mapped file would kill the process."""
    found = mapped_file(rows)
    if found is None:
        return
    mapped, buffer = found
    needed, has = mapped.offset + mapped.nbytes, buffer.size()
    if has < needed:
        raise InvalidInput(
            f"{name} maps {needed} bytes of {mapped.filename}, but that file now has {has}: it "
            "was cut short; write it again and map it anew"
        )


def finite_rows(rows: RowArray) -> NDArray[np.bool_]:
    """Which rows hold nothing but numbers that float32 can hold, as the kernels see it."""
    with np.errstate(over="ignore"):
        return np.asarray(np.isfinite(np.asarray(on_host(rows)).astype(np.float32)).all(axis=1))


def finite_float64(rows: RowArray, first: int, name: str = "X") -> NDArray[np.float64]:
    """Rows of a chunk as float64, for owner-side arithmetic.

    Raises
    ------
    InvalidInput
        If a row has NaN, infinity or a value beyond float32; `first` is the index of the chunk's
        first row.
    """
    rows = on_host(rows)
    bad = np.flatnonzero(~finite_rows(rows))
    if len(bad):
        raise InvalidInput(
            f"{name} has NaN, infinity (inf) or a value beyond float32 in row {first + bad[0]}; "
            "leave such rows out or mend them"
        )
    return np.array(rows, dtype=np.float64)
