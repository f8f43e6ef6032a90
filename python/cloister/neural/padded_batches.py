"""Rows through a network in batches of one fixed size."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def in_batches(
    function: Callable[[NDArray[Any]], NDArray[Any]],
    rows: NDArray[Any],
    size: int,
    shape: tuple[int, ...],
    dtype: DTypeLike,
) -> NDArray[Any]:
    """Apply a function to rows, `size` at a time; the last batch is padded with zeros.

    Libraries choose an algorithm by the shape of a batch, and another algorithm rounds otherwise:
    where every call has the same shape, the result of a row does not change with the number of
    rows beside it.

    Parameters
    ----------
    function : callable
        From `size` rows to results of shape (size, *shape).
    rows : array of shape (n, ...)
    size : int
        Rows of a call.
    shape : tuple of int
        Shape of a result.
    dtype : dtype
        Of the results.

    Returns
    -------
    array of shape (n, *shape)
    """
    results = np.empty((len(rows), *shape), dtype=dtype)
    for first in range(0, len(rows), size):
        part = np.ascontiguousarray(rows[first : first + size])
        n = len(part)
        if n < size:
            padded = np.zeros((size, *rows.shape[1:]), dtype=rows.dtype)
            padded[:n] = part
            part = padded
        results[first : first + n] = function(part)[:n]
    return results
