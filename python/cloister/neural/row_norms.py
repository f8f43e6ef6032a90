"""Norms of rows, each a function of its own row alone, and rows shortened to a bound."""

import numpy as np
from numpy.typing import NDArray

# Embeddings are float32: an embedding of norm just below the bound must not be rounded beyond it.
BELOW = 1 - 2.0**-20


def row_norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean norm of each row of shape (n, d), summed in one fixed order.

    A library's sum may take another order for another n; whole columns added in pairs cannot.
    """
    largest = np.max(np.abs(rows), axis=1, initial=0.0)
    scale = np.where(largest > 0, largest, 1.0)  # squares of finite numbers may be infinite
    squares = np.square(rows / scale[:, None])
    while squares.shape[1] > 1:
        half = squares.shape[1] // 2
        paired = squares[:, :half] + squares[:, half : 2 * half]
        odd = squares[:, 2 * half :]
        squares = np.concatenate([paired, odd], axis=1) if odd.shape[1] else paired
    with np.errstate(over="ignore"):  # a norm may be infinite; such a row is shortened to zero
        return np.asarray(np.sqrt(squares.sum(axis=1)) * scale)


def shorten(rows: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Return rows of norm at most `bound`, also once rounded to float32; short ones unchanged."""
    limit = bound * BELOW
    norms = row_norms(rows)
    factors = np.where(norms > limit, limit / np.where(norms > 0, norms, 1.0), 1.0)
    return np.asarray(rows * factors[:, None])
