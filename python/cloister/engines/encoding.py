"""From a source's chunks to codes: what engines do while they read."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister._backend import RowArray
from cloister.codes import CodeGrid
from cloister.errors import InvalidInput
from cloister.sources import Source


@dataclass(frozen=True)
class EncodedChunk:
    """Codes of a chunk of rows, in a buffer that the next chunk uses again.

    Attributes
    ----------
    first : int
        Index of the first row.
    codes : array of shape (rows, d), int16
    valid : array of shape (rows,), bool
        False where a row had a NaN, an infinity or a value beyond float32.
    """

    first: int
    codes: NDArray[np.int16]
    valid: NDArray[np.bool_]


def encoded_chunks(
    source: Source,
    grid: CodeGrid,
    chunk_rows: int | None,
    n_labels: int | None,
    into: NDArray[np.int16] | None = None,
) -> Iterator[EncodedChunk]:
    """Yield the codes of all rows in order; with `into`, they are written there.

    Raises
    ------
    InvalidInput
        If the source turns out to have another number of rows than it said, or than `n_labels`.
    """
    codes = np.empty((0, source.d), np.int16)
    for first, rows in counted_chunks(source, chunk_rows, n_labels):
        if into is None and len(rows) > len(codes):
            codes = np.empty(rows.shape, np.int16)
        here = codes[: len(rows)] if into is None else into[first : first + len(rows)]
        valid = np.empty(len(rows), np.bool_)
        _backend.encode(rows, grid.encode_clip, here, valid)
        yield EncodedChunk(first, here, valid)


def counted_chunks(
    source: Source, chunk_rows: int | None, n_labels: int | None
) -> Iterator[tuple[int, RowArray]]:
    """Yield the chunks of a source, which must be as many rows as they were said to be.

    Raises
    ------
    InvalidInput
        As `encoded_chunks`; before a row too many is yielded.
    """
    expected, read = source.n if n_labels is None else n_labels, 0
    for first, rows in source.chunks(chunk_rows):
        read = first + len(rows)
        if expected is not None and read > expected:
            break
        yield first, rows
    if expected is not None and read != expected:
        more = "or more " if read > expected else ""
        if n_labels is not None:
            raise InvalidInput(
                f"y has {expected} labels, but X has {read} {more}rows; they must agree"
            )
        raise InvalidInput(
            f"X had {expected} rows when it was opened, but {read} {more}were read; leave it alone "
            "until the fit is done"
        )


class InvalidRows:
    """Counts rows, and invalid ones, and remembers the first of these: for messages to the owner.

    Attributes
    ----------
    count : int
        Invalid rows.
    rows : int
        All rows.
    """

    def __init__(self) -> None:
        self.count, self.rows, self._first = 0, 0, 0

    def see(self, first: int, valid: NDArray[np.bool_]) -> None:
        """Take note of a chunk, whose first row has the index `first`."""
        self.rows = first + len(valid)
        bad = np.flatnonzero(~valid)
        if len(bad) and not self.count:
            self._first = first + int(bad[0])
        self.count += len(bad)

    def refuse(self) -> None:
        """Raise if there was one.

        Raises
        ------
        InvalidInput
        """
        if self.count:
            raise InvalidInput(
                f"X has {self.count} of {self.rows} rows with NaN, inf (infinity) or a value "
                f"beyond float32, the first is row {self._first}; mend them, or let such rows "
                'count for nothing with on_invalid="drop"'
            )


class Readings:
    """Compares what later readings of a source find with the first."""

    def __init__(self) -> None:
        self._first: tuple[int, int] | None = None

    def compare(self, seen: InvalidRows) -> None:
        """Take note of a reading that is complete.

        Raises
        ------
        InvalidInput
            If it found other numbers than the first.
        """
        now = (seen.rows, seen.count)
        if self._first is not None and now != self._first:
            raise InvalidInput(
                f"X changed while it was read: it had {self._first[0]} rows ({self._first[1]} "
                f"invalid) at first, and now has {now[0]} ({now[1]} invalid); leave it alone until "
                "the fit is done, or give cache=True"
            )
        self._first = now


def class_counts(index: NDArray[np.integer], n_classes: int) -> NDArray[np.int64]:
    """Return how many rows each class has; a part at a time, for bincount widens its input."""
    counts = np.zeros(n_classes, np.int64)
    for first in range(0, len(index), 2**20):
        counts += np.bincount(index[first : first + 2**20], minlength=n_classes)
    return counts


def places(
    index: NDArray[np.integer], free: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the stable order of some rows by class, and where the ordered rows go.

    Parameters
    ----------
    index : array of shape (rows,)
        Classes of the rows.
    free : array of shape (classes,), int64
        The next free place of each class; moved on behind these rows.
    """
    order = np.argsort(index, kind="stable")
    counts = np.bincount(index, minlength=len(free))
    starts = np.cumsum(counts) - counts
    target = np.arange(len(index)) + np.repeat(free - starts, counts)
    free += counts
    return order, target
