"""Distances between rows of two sets, a chunk at a time: memory is linear in both.

In float64 by matrix products; what rounding leaves of a distance of zero is set to zero, so that
copies are recognised.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput

CHUNK_VALUES = 2**20  # 8 MiB: larger blocks took half as long again
# Relative to |a|^2 + |b|^2: beyond what rounding of some thousand features makes of equal rows.
ZERO = 1e-12

Rows = NDArray[np.float64]


def finite_rows(rows: Any, name: str, d: int | None = None) -> Rows:
    """Return rows of shape (n, d) in float64.

    Raises
    ------
    InvalidInput
        If they have another shape, hold NaN or infinity, or there is none.
    """
    try:
        array: Rows = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be an array of numbers: {error}") from error
    if array.ndim != 2 or 0 in array.shape or (d is not None and array.shape[1] != d):
        raise InvalidInput(
            f"{name} has shape {array.shape}, but (n, {'d' if d is None else d}) with n of at "
            "least 1 is needed; give embeddings of one encoder, one a row"
        )
    if not np.isfinite(array).all():
        raise InvalidInput(f"{name} has NaN or infinity; leave such rows out")
    return array


def squared_distances(a: Rows, b: Rows) -> Iterator[tuple[int, Rows]]:
    """Yield (index of first row, squared distances of some rows of `a` to all of `b`)."""
    squares = np.einsum("ij,ij->i", b, b)
    size = max(1, CHUNK_VALUES // len(b))
    for first in range(0, len(a), size):
        part = a[first : first + size]
        scale = np.einsum("ij,ij->i", part, part)[:, None] + squares
        block = scale - 2 * part @ b.T
        block[block < ZERO * scale] = 0.0
        yield first, block


def nearest(a: Rows, b: Rows) -> tuple[Rows, NDArray[np.intp]]:
    """Return of each row of `a` the distance to the nearest row of `b`, and which that is."""
    places = np.empty(len(a), dtype=np.intp)
    for first, block in squared_distances(a, b):
        places[first : first + len(block)] = block.argmin(axis=1)
    return np.linalg.norm(a - b[places], axis=1), places


def neighbour_radii(rows: Rows, k: int) -> Rows:
    """Return squared distances of each row to its k-th nearest among the others, shape (n,)."""
    radii = np.empty(len(rows))
    for first, block in squared_distances(rows, rows):
        # Itself, at distance zero, is the one before the first.
        radii[first : first + len(block)] = np.partition(block, k, axis=1)[:, k]
    return radii
