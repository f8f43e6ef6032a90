"""Public maps of one row at a time, made before rows are encoded; each is known to everybody.

A transform is part of the definition of a row, so it must be a pure function of that row, bit for
bit: only single IEEE operations an element, and sums in an order that d alone decides. A product
with a matrix is neither, so whitening (`PublicWhitening`) is by a scale for each feature.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cloister._backend import on_host
from cloister.codes import CodeGrid
from cloister.errors import CloisterError, InvalidInput
from cloister.parameters import check_real
from cloister.sources import Source
from cloister.whitening import PublicWhitening

POWER = "power:"
KNOWN = "'root', 'power:P' with P from 1/64 to 1, and a PublicWhitening"
LEAST_EXPONENT = 2**-6
# Exponents are rounded to so many binary digits: each costs a square root an element.
EXPONENT_DIGITS = 24


class RowTransform(Protocol):
    """A public map of a row to a direction; the length of what it returns means nothing."""

    @property
    def name(self) -> str:
        """What a statement calls it; tells it from every other transform."""

    def map(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map rows of shape (n, d); the grid then makes their unit norm."""

    def unmap(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return rows of shape (n, d) that `map` sends to these directions."""

    def check_features(self, d: int) -> None:
        """Raise InvalidInput if rows of d features cannot be mapped."""


@dataclass(frozen=True)
class Power:
    """x -> sign(x) |x|^exponent: "root" has exponent 1/2.

    Attributes
    ----------
    name : str
        "root" or "power:P".
    exponent : float
        P.
    """

    name: str
    exponent: float

    def map(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raise magnitudes to the exponent."""
        if self.name == "root":
            return np.copysign(np.sqrt(np.abs(rows)), rows)
        return np.copysign(_power(np.abs(rows), self.exponent), rows)

    def unmap(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo `map`, with unit norm: the length of a row was forgotten."""
        if self.name == "root":
            return _unit(directions * np.abs(directions))
        magnitudes = np.abs(directions)
        largest = magnitudes.max(axis=1, keepdims=True)  # 1 / exponent is large: avoid underflow
        scaled = magnitudes / np.where(largest > 0, largest, 1)
        return _unit(np.copysign(_power(scaled, 1 / self.exponent), directions))

    def check_features(self, d: int) -> None:
        """Take any number of features."""


def as_transform(value: Any) -> RowTransform | None:
    """Return what a `row_transform` stands for: a parameter, or what a file holds of it.

    Raises
    ------
    InvalidInput, InvalidType
        If it is no transform.
    """
    if value is None or isinstance(value, Power | PublicWhitening):
        return value
    if isinstance(value, Mapping) and set(value) == {"name", "mean", "scale"}:
        return PublicWhitening(value["mean"], value["scale"])
    if value == "root":
        return Power("root", 0.5)
    if isinstance(value, str) and value.startswith(POWER):
        return Power(value, _exponent(value))
    raise InvalidInput(f"row_transform={value!r} is not one of {KNOWN}; choose one of these")


def _exponent(name: str) -> float:
    try:
        given = float(name.removeprefix(POWER))
        return check_real("exponent", given, LEAST_EXPONENT, 1.0, way_out="try 0.25")
    except (ValueError, CloisterError) as error:
        raise InvalidInput(
            f"row_transform={name!r} needs an exponent from {LEAST_EXPONENT} to 1 after the colon; "
            "try 'power:0.25'"
        ) from error


def check_transform(value: Any, clip_norm: float) -> str | None:
    """Check the `row_transform` of an estimator; return what its statement calls it.

    Raises
    ------
    InvalidInput, InvalidType
        If it is no transform, or if `clip_norm` is not the norm that it gives every row.
    """
    transform = as_transform(value)
    if transform is not None and clip_norm != 1.0:
        raise InvalidInput(
            f"clip_norm={clip_norm}, but row_transform={value!r} gives every row norm 1; leave "
            "clip_norm=1.0"
        )
    return transform_name(transform)


def transform_name(transform: RowTransform | None) -> str | None:
    """Return what a statement calls a transform, None for none."""
    return None if transform is None else transform.name


def transformed_grid(transform: Any, d: int, clip_norm: float) -> CodeGrid:
    """Return the grid of transformed rows; it makes the unit norm of those that have one.

    Raises
    ------
    InvalidInput, InvalidType
        If it is no transform, or one of rows of another d.
    """
    found = as_transform(transform)
    if found is not None:
        found.check_features(d)
    return CodeGrid(d, clip_norm, normalize=found is not None)


def apply_transform(transform: Any, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Map rows as the private fit sees them.

    Parameters
    ----------
    transform : "root", "power:P", PublicWhitening or None
        "power:P": x -> sign(x) |x|^P, with P rounded to 24 binary digits; "root": the same with
        P = 1/2. Each is then divided by the norm of the row; what is zero stays zero. None: as
        they are.
    rows : array of shape (n, d)
        Of a floating dtype.

    Returns
    -------
    array of shape (n, d), float32
    """
    mapped, found = _float32(rows), as_transform(transform)
    return mapped if found is None else _unit(found.map(mapped))


def invert_transform(transform: Any, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows that `apply_transform` sends to these directions, but for rounding.

    What the map forgot, the length, is 1 for powers, and for a whitening that of public rows.

    Parameters
    ----------
    transform : as in `apply_transform`
    rows : array of shape (n, d), float32
    """
    found = as_transform(transform)
    return rows if found is None else found.unmap(rows)


class TransformedRows:
    """A source of rows mapped by a transform but for the unit norm, which the grid makes."""

    def __init__(self, transform: RowTransform, source: Source) -> None:
        self._transform, self._source = transform, source

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
            yield first, self._transform.map(_float32(on_host(chunk)))


def transformed_source(transform: Any, source: Source) -> Source:
    """Return the rows that `transformed_grid` encodes as those of `apply_transform`."""
    found = as_transform(transform)
    return source if found is None else TransformedRows(found, source)


def _float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # infinity: refused or dropped when the row is encoded
        return np.asarray(rows, dtype=np.float32)


def _power(values: NDArray[Any], exponent: float) -> NDArray[np.float32]:
    """Products of repeated square roots: bits of a library's power differ by place and processor.

    Powers of a half to which the binary digits of `exponent` point, in float64.
    """
    one = 2**EXPONENT_DIGITS
    whole, digits = divmod(round(exponent * one), one)
    root = values.astype(np.float64)
    result = np.ones_like(root)
    for _ in range(whole):
        result *= root
    while digits:
        np.sqrt(root, out=root)
        digits *= 2
        if digits >= one:
            result *= root
            digits -= one
    return result.astype(np.float32)


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
