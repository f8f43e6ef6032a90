"""Answers from codes, however they come: the part that all engines of one machine share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister._backend import Grid, Partition, SoftmaxRegression
from cloister.codes import Clip, CodeGrid
from cloister.engines.protocol import ExactTally

Block = tuple[NDArray[np.int16], NDArray[np.int64]]
"""Codes sorted by class, and the offsets of the classes among them."""


class BlockEngine(ABC):
    """An engine that adds up what the kernels say about each of its blocks.

    Attributes
    ----------
    grid : CodeGrid
    n_classes : int
    """

    def __init__(self, grid: CodeGrid, n_classes: int) -> None:
        self.grid = grid
        self.n_classes = n_classes

    @abstractmethod
    def _blocks(self) -> Iterator[Block]:
        """Yield the codes of all rows, each row once."""

    def exact_tally(self, centres: NDArray[np.int16], clip: Clip | None) -> ExactTally:
        """Counts and sums by cell: see `Engine.exact_tally`."""
        counts = np.zeros(centres.shape[:2], dtype=np.int64)
        sums = np.zeros(centres.shape, dtype=np.int64)
        centres = np.ascontiguousarray(centres)
        for codes, offsets in self._blocks():
            _backend.tally(codes, Partition(centres, offsets), clip, counts, sums)
        return ExactTally(counts, sums)

    def exact_moments(
        self, centres: NDArray[np.int16], clip: Clip, group: NDArray[np.int64], moment: str
    ) -> NDArray[np.int64]:
        """Second moments of clipped residuals by group: see `Engine.exact_moments`."""
        d = self.grid.d
        size = {"full": d * (d + 1) // 2, "diagonal": d, "trace": 1}[moment]
        out = np.zeros((int(group.max()) + 1, size), dtype=np.int64)
        centres = np.ascontiguousarray(centres)
        for codes, offsets in self._blocks():
            _backend.moments(codes, Partition(centres, offsets), clip, group, moment, out)
        return out

    def exact_bins(self, grid: Grid) -> NDArray[np.int64]:
        """Counts by bin of a public grid: see `Engine.exact_bins`."""
        size = int(np.prod(grid.cells, dtype=np.int64))
        counts = np.zeros((self.n_classes, size), dtype=np.int64)
        for codes, offsets in self._blocks():
            _backend.bins(codes, grid, offsets, counts)
        return counts

    def exact_gradient(self, model: SoftmaxRegression) -> NDArray[np.int64]:
        """Sum of clipped gradients of a softmax regression: see `Engine.exact_gradient`."""
        out = np.zeros((self.n_classes, self.grid.d), dtype=np.int64)
        for codes, offsets in self._blocks():
            _backend.gradient(codes, offsets, model, out)
        return out
