"""Public maps of one row at a time, made before rows are encoded; each is known to everybody.

A transform is part of the definition of a row, so it must be a pure function of that row, bit for
bit: only single IEEE operations an element, and sums in an order that d alone decides.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.codes import CodeGrid
from cloister.errors import InvalidInput
from cloister.parameters import check_choice
from cloister.sources import Source

TRANSFORMS = ("root",)


def check_transform(name: Any, clip_norm: float) -> str | None:
    """Return the `row_transform` of an estimator if it is None or one of `TRANSFORMS`.

    Raises
    ------
    InvalidInput
        If it is none of these, or if `clip_norm` is not the norm that it gives every row.
    """
    if name is None:
        return None
    check_choice("row_transform", name, TRANSFORMS)
    if clip_norm != 1.0:
        raise InvalidInput(
            f"clip_norm={clip_norm}, but row_transform={name!r} gives every row norm 1; leave "
            "clip_norm=1.0"
        )
    return str(name)


def transformed_grid(name: str | None, d: int, clip_norm: float) -> CodeGrid:
    """Return the grid of transformed rows; it makes the unit norm of those that have one."""
    return CodeGrid(d, clip_norm, normalize=name is not None)


def apply_transform(name: str | None, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Map rows as the private fit sees them.

    Parameters
    ----------
    name : "root" or None
        "root": x -> sign(x) sqrt|x|, divided by its norm; a zero row stays zero. None: as they
        are.
    rows : array of shape (n, d)
        Of a floating dtype.

    Returns
    -------
    array of shape (n, d), float32
    """
    mapped = _float32(rows)
    return mapped if _is_identity(name) else _unit(_signed_root(mapped))


def invert_transform(name: str | None, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map rows back: for "root" x = sign(a) a^2, divided by its norm, which the map forgot.

    Parameters
    ----------
    name : "root" or None
    rows : array of shape (n, d), float32
    """
    return rows if _is_identity(name) else _unit(rows * np.abs(rows))


def _is_identity(name: str | None) -> bool:
    """Say whether there is no transform; refuse one that this version does not know."""
    return name is None or not check_choice("row_transform", name, TRANSFORMS)


class TransformedRows:
    """A source of rows mapped by a transform but for the unit norm, which the grid makes."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def n(self) -> int | None:
        """Number of rows, if known."""
        return self._source.n

    @property
    def d(self) -> int:
        """Number of features."""
        return self._source.d

    @property
    def rereadable(self) -> bool:
        """Whether the rows can be read again."""
        return self._source.rereadable

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of first row, mapped rows): see `Source.chunks`."""
        for first, chunk in self._source.chunks(rows):
            yield first, _signed_root(_float32(chunk))


def transformed_source(name: str | None, source: Source) -> Source:
    """Return the rows that `transformed_grid` encodes as those of `apply_transform`."""
    return source if name is None else TransformedRows(source)


def _float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # infinity: refused or dropped when the row is encoded
        return np.asarray(rows, dtype=np.float32)


def _signed_root(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.copysign(np.sqrt(np.abs(rows)), rows)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.sqrt(_sums(rows.astype(np.float64) ** 2))
    return np.asarray(rows / np.where(norms > 0, norms, 1.0), dtype=np.float32)


def _sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum each row by halves: elementwise, so that neither processor nor batch changes a bit."""
    while values.shape[1] > 1:
        half = (values.shape[1] + 1) // 2
        rest = values.shape[1] - half
        folded = values[:, :half].copy()
        folded[:, :rest] += values[:, half:]
        values = folded
    return values
