"""The protocol that every engine serves."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cloister._backend import Grid, SoftmaxRegression
from cloister.codes import Clip, CodeGrid


@dataclass(frozen=True)
class ExactTally:
    """What the rows say, exactly. Private: for `cloister.privacy.release` alone.

    Attributes
    ----------
    exact_counts : array of shape (classes, k), int64
        Rows in each cell.
    exact_sums : array of shape (classes, k, d), int64
        Sum of their codes, or of their clipped residual codes.
    """

    exact_counts: NDArray[np.int64]
    exact_sums: NDArray[np.int64]


class Engine(Protocol):
    """Answers questions about private rows by exact integers, the same on every engine.

    Sums wrap modulo 2^64. Every answer holds a value for every cell of the public partition,
    whether rows fell into it or not.
    """

    @property
    def grid(self) -> CodeGrid:
        """The public grid of the codes."""
        ...

    @property
    def n_classes(self) -> int:
        """Length of the public list of classes."""
        ...

    def exact_tally(self, centres: NDArray[np.int16], clip: Clip | None) -> ExactTally:
        """Counts and sums of rows (or residuals, with `clip`) by cell.

        `centres` has shape (classes, k, d) and lies on the grid.
        """
        ...

    def exact_moments(
        self, centres: NDArray[np.int16], clip: Clip, group: NDArray[np.int64], moment: str
    ) -> NDArray[np.int64]:
        """Second moments of clipped residuals; cell j of class g adds to `group[g * k + j]`."""
        ...

    def exact_bins(self, grid: Grid) -> NDArray[np.int64]:
        """Rows of each class in each bin of a public grid, shape (classes, bins)."""
        ...

    def exact_gradient(self, model: SoftmaxRegression) -> NDArray[np.int64]:
        """Sum over all rows of clipped residuals times clipped rows, shape (classes, d)."""
        ...
