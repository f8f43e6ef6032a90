"""The engine of one machine: codes of all rows in memory, kernels on every core."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cloister.codes import CodeGrid
from cloister.engines.encoding import InvalidRows, class_counts, encoded_chunks, places
from cloister.engines.tallies import Block, BlockEngine
from cloister.sources import ClassLabels, Source
from cloister.sources.protocol import rows_a_chunk

_MOVED = 2**16  # rows moved at a time


class LocalEngine(BlockEngine):
    """Encodes rows once and answers tallies from their codes.

    Parameters
    ----------
    source : Source
        The private rows.
    grid : CodeGrid
        The public grid.
    labels : ClassLabels
        The class of each row.
    on_invalid : {"error", "drop"}
        What to do with a row that has a NaN, an infinity or a value beyond float32: refuse the
        data set, or let the row contribute nothing to any answer.
    chunk_rows : int, optional
        Rows read at a time. Answers do not depend on it.

    Raises
    ------
    InvalidInput
        If a row is invalid and `on_invalid="error"`; the message, for the owner, names the row.

    Notes
    -----
    Memory is 2 n d bytes of codes, sorted by class, and while they are made one chunk of rows and
    its codes. Rows find their places class by class: neither an order of all rows nor a second
    copy of the codes is made.
    """

    def __init__(
        self,
        source: Source,
        grid: CodeGrid,
        labels: ClassLabels,
        *,
        on_invalid: str = "error",
        chunk_rows: int | None = None,
    ) -> None:
        super().__init__(grid, len(labels.classes))
        index = labels.exact_index
        n = source.n if index is None else len(index)
        # Codes that have to grow are numpy's own; others start a cache line.
        self._codes = np.empty((0, source.d), np.int16) if n is None else _aligned(n, source.d)
        if index is None:
            starts = np.zeros(1, np.int64)
        else:
            sizes = class_counts(index, self.n_classes)
            starts = np.cumsum(sizes) - sizes
        free, invalid = starts.copy(), InvalidRows()
        n_labels = None if index is None else n
        in_place = index is None and n is not None
        into = self._codes if in_place else None
        for chunk in encoded_chunks(source, grid, chunk_rows, n_labels, into):
            invalid.see(chunk.first, chunk.valid)
            if invalid.count and on_invalid == "error":
                continue  # read on only to count them
            codes, valid = chunk.codes, chunk.valid
            if not valid.all():
                codes = codes[valid]
            if index is None:
                if not in_place or free[0] != chunk.first or len(codes) < len(valid):
                    self._append(codes, int(free[0]))
                free += len(codes)
            else:
                of_chunk = index[chunk.first : chunk.first + len(valid)][valid]
                order, target = places(of_chunk, free)
                self._codes[target] = codes[order]
        if on_invalid == "error":
            invalid.refuse()
        self._close_gaps(starts, free)
        self._offsets = np.concatenate([[0], np.cumsum(free - starts)]).astype(np.int64)

    def _append(self, codes: NDArray[np.int16], first: int) -> None:
        """Write codes at row `first`, growing in place: no second copy of what is there."""
        end = first + len(codes)
        if end > len(self._codes):
            d = self._codes.shape[1]
            self._codes.resize((max(end, first + rows_a_chunk(d)), d), refcheck=False)
        self._codes[first:end] = codes

    def _close_gaps(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Move the classes together where dropped rows left room between them."""
        free = 0
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            for first in range(start, end, _MOVED):
                part = self._codes[first : min(first + _MOVED, end)]
                if first != free:
                    self._codes[free : free + len(part)] = part
                free += len(part)
        self._codes = self._codes[:free]

    def _blocks(self) -> Iterator[Block]:
        yield self._codes, self._offsets


def _aligned(n: int, d: int) -> NDArray[np.int16]:
    """Return room for codes that starts a cache line: vectors of them then straddle none."""
    line = 64 // 2
    room = np.empty(n * d + line, dtype=np.int16)
    start = -room.ctypes.data // 2 % line
    return room[start : start + n * d].reshape(n, d)
