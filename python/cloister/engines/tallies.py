"""Answers from codes, however they come: the part that all engines of one machine share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister._backend import Grid, Partition, RowArray, SoftmaxRegression
from cloister.codes import Clip, CodeGrid
from cloister.engines.protocol import ExactTally

Block = tuple[RowArray, NDArray[np.int64]]
"""Codes sorted by class, and the offsets of the classes among them."""

Sums = tuple[NDArray[np.int64], ...]
Ask = Callable[[Block, Sums], None]
"""Adds what a kernel says about a block to sums."""


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

    def _add_up(self, ask: Ask, sums: Sums) -> None:
        """Ask about every block."""
        for block in self._blocks():
            ask(block, sums)

    def exact_tally(self, centres: NDArray[np.int16], clip: Clip | None) -> ExactTally:
        """Counts and sums by cell: see `Engine.exact_tally`."""
        counts = np.zeros(centres.shape[:2], dtype=np.int64)
        sums = np.zeros(centres.shape, dtype=np.int64)
        centres = np.ascontiguousarray(centres)

        def ask(block: Block, into: Sums) -> None:
            codes, offsets = block
            _backend.tally(codes, Partition(centres, offsets), clip, *into)

        self._add_up(ask, (counts, sums))
        return ExactTally(counts, sums)

    def exact_moments(
        self, centres: NDArray[np.int16], clip: Clip, group: NDArray[np.int64], moment: str
    ) -> NDArray[np.int64]:
        """Second moments of clipped residuals by group: see `Engine.exact_moments`."""
        d = self.grid.d
        size = {"full": d * (d + 1) // 2, "diagonal": d, "trace": 1}[moment]
        out = np.zeros((int(group.max()) + 1, size), dtype=np.int64)
        centres = np.ascontiguousarray(centres)

        def ask(block: Block, into: Sums) -> None:
            codes, offsets = block
            _backend.moments(codes, Partition(centres, offsets), clip, group, moment, *into)

        self._add_up(ask, (out,))
        return out

    def exact_bins(self, grid: Grid) -> NDArray[np.int64]:
        """Counts by bin of a public grid: see `Engine.exact_bins`."""
        size = int(np.prod(grid.cells, dtype=np.int64))
        counts = np.zeros((self.n_classes, size), dtype=np.int64)
        self._add_up(lambda block, into: _backend.bins(block[0], grid, block[1], *into), (counts,))
        return counts

    def exact_gradient(self, model: SoftmaxRegression) -> NDArray[np.int64]:
        """Sum of clipped gradients of a softmax regression: see `Engine.exact_gradient`."""
        out = np.zeros((self.n_classes, self.grid.d), dtype=np.int64)
        self._add_up(lambda block, into: _backend.gradient(*block, model, *into), (out,))
        return out
