"""Public transforms of a row: a function of that row alone, so privacy is not touched."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.parameters import check_choice

TRANSFORMS = ("root",)


def apply_transform(name: str | None, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows (n, d) as the transform has them; None leaves them as they are.

    "root" is sign(x) sqrt|x| of every element, then unit norm; rows of zeros stay zero.

    Raises
    ------
    InvalidInput
        If the transform is unknown.
    """
    rows = np.asarray(rows, dtype=np.float32)
    if name is None:
        return rows
    check_choice("transform", name, TRANSFORMS)
    return _unit(np.sign(rows) * np.sqrt(np.abs(rows)))


def invert_transform(name: str | None, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows of unit norm that `apply_transform` maps to the direction of these.

    Raises
    ------
    InvalidInput
        If the transform is unknown.
    """
    rows = np.asarray(rows, dtype=np.float32)
    if name is None:
        return rows
    check_choice("transform", name, TRANSFORMS)
    return _unit(np.sign(rows) * np.square(rows))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.where(norms > 0, norms, 1.0), dtype=np.float32)
