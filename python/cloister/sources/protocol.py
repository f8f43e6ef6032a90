"""The protocol that every source of rows serves, and what sources share."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cloister._backend import ROW_DTYPES, RowArray
from cloister.codes import MAX_FEATURES, MAX_ROWS
from cloister.errors import InvalidInput, InvalidType

CHUNK_BYTES = 2**25
"""Bytes of rows read at a time."""


@runtime_checkable
class Source(Protocol):
    """Rows of shape (n, d), read in order and in chunks."""

    @property
    def n(self) -> int | None:
        """Number of rows; None where only reading them all can tell."""
        ...

    @property
    def d(self) -> int:
        """Number of features."""
        ...

    @property
    def rereadable(self) -> bool:
        """Whether `chunks` may be called more than once."""
        ...

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, RowArray]]:
        """Yield (index of first row, rows) in order; rows are in a dtype of the kernels.

        A chunk may lie in a buffer that the next one reuses. Each has as many `rows` as asked for,
        but for the last; by default about as many as fit `CHUNK_BYTES`.
        """
        ...


@runtime_checkable
class TableSource(Source, Protocol):
    """Rows that lie beside other columns, such as their labels."""

    def columns(self) -> list[str]:
        """Names of the columns (keys of arrays) that may hold labels."""
        ...

    def column(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield the entries of one of `columns`, in order and in parts."""
        ...


def rows_a_chunk(d: int, itemsize: int = 4) -> int:
    """Return how many rows fit `CHUNK_BYTES`."""
    return max(1, CHUNK_BYTES // max(1, itemsize * d))


def require_rereadable(source: Source, way_out: str) -> None:
    """Refuse rows that can be read only once.

    Raises
    ------
    InvalidInput
    """
    if not source.rereadable:
        raise InvalidInput(
            f"X is an iterator of batches that can be read 1 time, but 2 or more are needed: "
            f"{way_out}, or pass an object whose __iter__ starts anew (a list of batches, say)"
        )


def kernel_ready(rows: NDArray[Any]) -> NDArray[Any]:
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


def check_row_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Refuse dtypes that are no real numbers.

    Raises
    ------
    InvalidInput, InvalidType
    """
    if dtype.kind == "c":
        raise InvalidInput(
            f"{name}: Complex data not supported (dtype {dtype}); stack real and imaginary "
            "parts as features"
        )
    if dtype.kind not in "fiub" and dtype.name not in ROW_DTYPES:
        raise InvalidType(
            f"{name} has dtype {dtype}, but rows must be real numbers; pass one real number "
            f"a feature, such as {name}.astype('float32') makes of numbers in text"
        )


def check_row_shape(shape: tuple[int, ...], name: str) -> None:
    """Refuse what is no table of at least one row and one feature.

    Raises
    ------
    InvalidInput
    """
    if len(shape) != 2:
        raise InvalidInput(
            f"{name}: expected a 2D array of shape (n, d), got {len(shape)}D with shape "
            f"{shape}. Reshape your data: {name}.reshape(1, -1) for one row, "
            f"{name}.reshape(-1, 1) for one feature, {name}.reshape(len({name}), -1) for images"
        )
    n, d = shape
    if n == 0:
        raise InvalidInput(
            f"{name}: found 0 sample(s) (shape={shape}) while a minimum of 1 is required. "
            "Pass at least one row"
        )
    if d == 0:
        raise InvalidInput(
            f"{name}: found 0 feature(s) (shape={shape}) while a minimum of 1 is required. "
            "Pass at least one column"
        )
    if d > MAX_FEATURES or n > MAX_ROWS:
        raise InvalidInput(
            f"{name} has shape {shape}, but at most {MAX_ROWS} rows and {MAX_FEATURES} "
            "features are supported; use a smaller embedding or split the rows"
        )


def gathered(
    batches: Iterable[NDArray[Any]], d: int, rows: int | None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield batches of any size as chunks of `rows`; small ones are put together.

    Parameters
    ----------
    batches : iterable of arrays of shape (any, d)
        In dtypes of the kernels; each must stay as it is until the next is asked for.
    d : int
    rows : int, optional
        As in `Source.chunks`.
    """
    first, filled = 0, 0
    buffer: NDArray[Any] | None = None
    for batch in batches:
        size = rows or rows_a_chunk(d, batch.dtype.itemsize)
        if buffer is not None and filled == 0 and buffer.dtype != batch.dtype:
            buffer = None
        if buffer is not None and buffer.dtype != batch.dtype:
            # float64 holds every number of the kernels' dtypes.
            buffer, batch = buffer.astype(np.float64), batch.astype(np.float64)  # noqa: PLW2901
        start = 0
        while start < len(batch):
            if filled == 0 and len(batch) - start >= size:  # whole chunks are not copied
                yield first, batch[start : start + size]
                first, start = first + size, start + size
                continue
            if buffer is None:
                buffer = np.empty((size, d), batch.dtype)
            taken = batch[start : start + len(buffer) - filled]
            buffer[filled : filled + len(taken)] = taken
            filled, start = filled + len(taken), start + len(taken)
            if filled == len(buffer):
                yield first, buffer
                first, filled = first + filled, 0
    if buffer is not None and filled:
        yield first, buffer[:filled]


@dataclass(frozen=True)
class FileState:
    """What tells that a file is still the one that was opened."""

    path: str
    size: int
    stamp: tuple[int, int]

    @classmethod
    def of(cls, path: str) -> Self:
        """Look at a file that exists."""
        state = os.stat(path)
        return cls(path, state.st_size, (state.st_mtime_ns, state.st_ino))

    def check(self, name: str) -> None:
        """Refuse a file that was written to since.

        Raises
        ------
        InvalidInput
        """
        try:
            now = FileState.of(self.path)
        except OSError as error:
            raise InvalidInput(
                f"{name}: {self.path!r} ({self.size} bytes) cannot be read any more: {error}; "
                "leave it in place until the fit is done"
            ) from error
        if now != self:
            raise InvalidInput(
                f"{name}: {self.path!r} changed while it was read: it had {self.size} bytes when "
                f"it was opened, and has {now.size} now, of another date; fit again, and leave "
                "the file alone until the fit is done"
            )
