"""What a training run learns from and is judged by, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Standardised rows (m, d), float32; and their labels (m,), int64, or the probability of every
# class (m, classes), float32.
Batch = tuple[NDArray[np.float32], NDArray[Any]]


class Examples(Protocol):
    """Rows to train on, and others that are held out.

    Attributes
    ----------
    d : int
        Features of a row.
    n : int
        Rows of one epoch.
    n_held_out : int
    """

    d: int
    n: int
    n_held_out: int

    def training(
        self, epoch: int, batch: int, shuffle: Callable[[int], NDArray[np.intp]]
    ) -> Iterator[Batch]:
        """Yield the rows of an epoch (from 1), at most `batch` at a time, in random order.

        `shuffle(n)` draws a permutation of range(n).
        """

    def held_out(self, batch: int) -> Iterator[Batch]:
        """Yield the rows held out, the same ones in the same order at every call."""


class LabelledRows:
    """Rows in memory with their labels, of which some are held out.

    Parameters
    ----------
    rows : array of shape (n, d)
    standardise : callable
        Maps some of the rows to what the network sees, so that the whole set is never copied.
    targets : array of shape (n,), int64
    parts : pair of arrays of indices
        Those to train on, and those held out.
    """

    def __init__(
        self,
        rows: NDArray[Any],
        standardise: Callable[[NDArray[Any]], NDArray[np.float32]],
        targets: NDArray[np.int64],
        parts: tuple[NDArray[np.intp], NDArray[np.intp]],
    ) -> None:
        self._rows, self._standardise, self._targets = rows, standardise, targets
        self._training, self._held_out = parts
        self.d, self.n, self.n_held_out = rows.shape[1], len(parts[0]), len(parts[1])

    def training(
        self, epoch: int, batch: int, shuffle: Callable[[int], NDArray[np.intp]]
    ) -> Iterator[Batch]:
        """Yield the same rows in every epoch, in a new order."""
        del epoch
        return self._batches(self._training[shuffle(self.n)], batch)

    def held_out(self, batch: int) -> Iterator[Batch]:
        """Yield the rows held out."""
        return self._batches(self._held_out, batch)

    def _batches(self, order: NDArray[np.intp], batch: int) -> Iterator[Batch]:
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            yield self._standardise(self._rows[part]), self._targets[part]
