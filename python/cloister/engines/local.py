"""The engine of one machine: codes of all rows in memory, kernels on every core."""

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister._backend import Grid, Partition
from cloister.codes import Clip, CodeGrid
from cloister.engines.protocol import ExactTally
from cloister.errors import InvalidInput
from cloister.sources import ArraySource, ClassLabels


class LocalEngine:
    """Encodes rows once and answers tallies from their codes.

    Parameters
    ----------
    source : ArraySource
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
    Memory is 2 n d bytes of codes, and while they are made 16 n bytes for their order and two
    chunks; with dropped rows a second copy of the codes for a moment. Codes are stored sorted by
    class.
    """

    def __init__(
        self,
        source: ArraySource,
        grid: CodeGrid,
        labels: ClassLabels,
        *,
        on_invalid: str = "error",
        chunk_rows: int | None = None,
    ) -> None:
        self.grid = grid
        self.n_classes = len(labels.classes)
        order = np.argsort(labels.exact_index, kind="stable")
        position = np.empty(source.n, dtype=np.int64)
        position[order] = np.arange(source.n)
        codes = _aligned_codes(source.n, source.d)
        valid = np.empty(source.n, dtype=np.bool_)
        in_place = bool((position == np.arange(source.n)).all())
        for first, rows in source.chunks(chunk_rows):
            here = slice(first, first + len(rows))
            target = codes[here] if in_place else np.empty(rows.shape, dtype=np.int16)
            _backend.encode(rows, grid.row_clip, target, valid[here])
            if not in_place:
                codes[position[here]] = target
        if not valid.all():
            if on_invalid == "error":
                raise InvalidInput(_describe_invalid(valid))
            kept = valid[order]
            codes, order = codes[kept], order[kept]
        self._codes = codes
        classes = np.arange(self.n_classes + 1)
        self._offsets = np.searchsorted(labels.exact_index[order], classes).astype(np.int64)

    def exact_tally(self, centres: NDArray[np.int16], clip: Clip | None) -> ExactTally:
        """Counts and sums by cell: see `Engine.exact_tally`."""
        counts = np.zeros(centres.shape[:2], dtype=np.int64)
        sums = np.zeros(centres.shape, dtype=np.int64)
        partition = Partition(np.ascontiguousarray(centres), self._offsets)
        _backend.tally(self._codes, partition, clip, counts, sums)
        return ExactTally(counts, sums)

    def exact_moments(
        self, centres: NDArray[np.int16], clip: Clip, group: NDArray[np.int64], moment: str
    ) -> NDArray[np.int64]:
        """Second moments of clipped residuals by group: see `Engine.exact_moments`."""
        d = self.grid.d
        size = {"full": d * (d + 1) // 2, "diagonal": d, "trace": 1}[moment]
        out = np.zeros((int(group.max()) + 1, size), dtype=np.int64)
        partition = Partition(np.ascontiguousarray(centres), self._offsets)
        _backend.moments(self._codes, partition, clip, group, moment, out)
        return out

    def exact_bins(self, grid: Grid) -> NDArray[np.int64]:
        """Counts by bin of a public grid: see `Engine.exact_bins`."""
        size = int(np.prod(grid.cells, dtype=np.int64))
        counts = np.zeros((self.n_classes, size), dtype=np.int64)
        _backend.bins(self._codes, grid, self._offsets, counts)
        return counts


def _aligned_codes(n: int, d: int) -> NDArray[np.int16]:
    """Return room for codes that starts a cache line: vectors of them then straddle none."""
    line = 64 // 2
    room = np.empty(n * d + line, dtype=np.int16)
    start = -room.ctypes.data // 2 % line
    return room[start : start + n * d].reshape(n, d)


def _describe_invalid(valid: NDArray[np.bool_]) -> str:
    bad = np.flatnonzero(~valid)
    return (
        f"X has {len(bad)} of {len(valid)} rows with NaN, inf (infinity) or a value beyond "
        f"float32, the first is row {bad[0]}; mend them, or let such rows count for nothing with "
        'on_invalid="drop"'
    )
