"""The engine of rows that fit no memory: read and encoded anew for every question."""

from collections.abc import Iterator

import numpy as np

from cloister.codes import CodeGrid
from cloister.engines.encoding import InvalidRows, Readings, encoded_chunks, places
from cloister.engines.tallies import Block, BlockEngine
from cloister.sources import ClassLabels, Source, require_rereadable


class StreamedEngine(BlockEngine):
    """Answers as `LocalEngine` does, from one chunk of rows at a time.

    Parameters
    ----------
    source, grid, labels, on_invalid, chunk_rows
        As of `LocalEngine`; the source can be read many times.

    Raises
    ------
    InvalidInput
        If a row is invalid and `on_invalid="error"`, or if the source can be read only once.

    Notes
    -----
    The rows are read once when the engine is made, to count them and to refuse invalid ones, and
    once a question. Memory is one chunk of rows and its codes, twice where there are classes. That
    a row could change between two questions spoils no guarantee: each answer is about rows as
    they were read.
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
        require_rereadable(source, "leave cache=True")
        self._source, self._index, self._chunk_rows = source, labels.exact_index, chunk_rows
        self._on_invalid = on_invalid
        self._readings = Readings()
        for _ in self._blocks():
            pass

    def _blocks(self) -> Iterator[Block]:
        index, invalid = self._index, InvalidRows()
        n_labels = None if index is None else len(index)
        for chunk in encoded_chunks(self._source, self.grid, self._chunk_rows, n_labels):
            invalid.see(chunk.first, chunk.valid)
            codes, valid = chunk.codes, chunk.valid
            if not valid.all():
                codes = codes[valid]
            if index is None:
                yield codes, np.array([0, len(codes)])
                continue
            free = np.zeros(self.n_classes, np.int64)
            order, _ = places(index[chunk.first : invalid.rows][valid], free)
            yield codes[order], np.concatenate([[0], np.cumsum(free)]).astype(np.int64)
        if self._on_invalid == "error":
            invalid.refuse()
        self._readings.compare(invalid)
