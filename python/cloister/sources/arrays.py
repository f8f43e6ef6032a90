"""Rows from arrays: numpy, memory maps, lists, data frames, anything with `__array__`."""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from cloister._backend import ROW_DTYPES
from cloister.codes import MAX_FEATURES, MAX_ROWS
from cloister.errors import InvalidInput, InvalidType

CHUNK_BYTES = 2**26


class ArraySource:
    """A two-dimensional array, read in chunks of rows that the kernels can take.

    Attributes
    ----------
    n, d : int
        Number of rows and of features.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.n, self.d = array.shape

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of first row, rows) in order.

        Parameters
        ----------
        rows : int, optional
            Rows a chunk; by default as many as fit 64 MiB.
        """
        rows = rows or max(1, CHUNK_BYTES // max(1, self.array.itemsize * self.d))
        for first in range(0, self.n, rows):
            yield first, _kernel_ready(self.array[first : first + rows])


def _kernel_ready(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows in a dtype of the kernels, each row contiguous; a copy only where it must be."""
    rows = np.asarray(rows)  # a subclass (a matrix, say) may mean something else by an operator
    if rows.dtype.name not in ROW_DTYPES or not rows.dtype.isnative:
        # float64 holds every integer of the dtypes that embeddings come in; longdouble rounds.
        with np.errstate(over="ignore"):
            rows = rows.astype(np.float64)
    item = rows.dtype.itemsize
    strided = rows.shape[1] > 1 and rows.strides[1] != item
    if strided or rows.strides[0] % item or rows.strides[0] < 0 or not rows.flags.aligned:
        rows = np.ascontiguousarray(rows)
    return rows


def as_source(rows: Any, name: str = "X") -> ArraySource:
    """Take rows from what a caller gave, without reading them where that can be helped.

    Parameters
    ----------
    rows : array-like of shape (n, d)
        float32, float64, float16 or bfloat16 (ml_dtypes); other real dtypes are converted to
        float64 chunk by chunk. Values beyond float32 count as infinite. A memory map stays on
        disk; its file must keep its length while it is read.
    name : str
        The argument's name in messages.

    Returns
    -------
    ArraySource

    Raises
    ------
    InvalidInput, InvalidType
        For sparse, masked, complex, ragged, text or datetime input, a wrong number of dimensions,
        no row, no feature, more than `MAX_FEATURES` features, or a memory map whose file was cut.
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
    array = _as_array(rows, name)
    if array.ndim != 2:
        raise InvalidInput(
            f"{name}: expected a 2D array of shape (n, d), got {array.ndim}D with shape "
            f"{array.shape}. Reshape your data: {name}.reshape(1, -1) for one row, "
            f"{name}.reshape(-1, 1) for one feature, {name}.reshape(len({name}), -1) for images"
        )
    n, d = array.shape
    if n == 0:
        raise InvalidInput(
            f"{name}: found 0 sample(s) (shape={array.shape}) while a minimum of 1 is required. "
            "Pass at least one row"
        )
    if d == 0:
        raise InvalidInput(
            f"{name}: found 0 feature(s) (shape={array.shape}) while a minimum of 1 is required. "
            "Pass at least one column"
        )
    if d > MAX_FEATURES or n > MAX_ROWS:
        raise InvalidInput(
            f"{name} has shape {array.shape}, but at most {MAX_ROWS} rows and {MAX_FEATURES} "
            "features are supported; use a smaller embedding or split the rows"
        )
    return ArraySource(array)


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
    if array.dtype.kind == "c":
        raise InvalidInput(
            f"{name}: Complex data not supported (dtype {array.dtype}); stack real and imaginary "
            "parts as features"
        )
    if array.dtype.kind not in "fiub" and array.dtype.name not in ROW_DTYPES:
        raise InvalidType(
            f"{name} has dtype {array.dtype}, but rows must be real numbers; pass one real number "
            f"a feature, such as {name}.astype('float32') makes of numbers in text"
        )
    return array


def _refuse_cut_memory_map(rows: Any, name: str) -> None:
    """Reading past the end of a mapped file would kill the process."""
    mapped = None
    while isinstance(rows, np.ndarray):
        mapped = rows if isinstance(rows, np.memmap) else mapped
        rows = rows.base
    if mapped is None or not isinstance(rows, mmap.mmap):
        return
    needed, found = mapped.offset + mapped.nbytes, rows.size()
    if found < needed:
        raise InvalidInput(
            f"{name} maps {needed} bytes of {mapped.filename}, but that file now has {found}: it "
            "was cut short; write it again and map it anew"
        )


def finite_rows(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows hold nothing but numbers that float32 can hold, as the kernels see it."""
    with np.errstate(over="ignore"):
        return np.asarray(np.isfinite(np.asarray(rows).astype(np.float32)).all(axis=1))


def finite_float64(rows: NDArray[Any], first: int, name: str = "X") -> NDArray[np.float64]:
    """Rows of a chunk as float64, for owner-side arithmetic.

    Raises
    ------
    InvalidInput
        If a row has NaN, infinity or a value beyond float32; `first` is the index of the chunk's
        first row.
    """
    bad = np.flatnonzero(~finite_rows(rows))
    if len(bad):
        raise InvalidInput(
            f"{name} has NaN, infinity (inf) or a value beyond float32 in row {first + bad[0]}; "
            "leave such rows out or mend them"
        )
    return np.array(rows, dtype=np.float64)
