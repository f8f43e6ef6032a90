"""Rows as the nearest kernel takes them: float32, relative to a point in their midst.

A float32 array keeps 24 bits of each number. Of data far from the origin they would be spent on
the distance to the origin; differences from the mean spend them on the clusters.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import assert_all_finite

from cloister import _backend
from cloister._backend import ClosestState, DeviceArray, RowArray, on_host
from cloister.errors import InvalidInput

Array = npt.NDArray[Any]

# Squares, and sums of d squares, of such numbers are neither infinite nor zero in float32.
_SMALLEST_SPREAD, _LARGEST_SPREAD = 1e-15, 1e15
_BLOCK = 1 << 20  # numbers converted at a time: no second copy of the rows arises


@dataclass(frozen=True)
class CentredRows:
    """The points ``x = values - shift``, of shape (n, d); a shift of None is zero.

    ``values`` is the caller's own array where that is float32 and C-contiguous.
    """

    values: Any  # an array of the host, or a DeviceArray
    shift: Array | None
    spread: float  # the largest absolute coordinate of a point
    screened: _backend.ScreenedRows | None = None  # the points as codes, where that pays

    @classmethod
    def around(cls, X: RowArray, centre: Array, name: str = "X") -> Self:
        """Return the rows of `X` relative to `centre`, a float32 array of shape (d,).

        Errors call the rows `name`.

        Raises
        ------
        InvalidInput
            If a row is so far away that float32 cannot hold squared distances, or has NaN or
            infinity in an array that `is_ready`.
        """
        if is_ready(X):
            return cls._ready(X, centre, _checked_ranges(X, name), name)
        X = on_host(X)
        values = np.empty(X.shape, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # reported by the next line
            np.subtract(on_host(X), centre, out=values, dtype=np.float64, casting="same_kind")
        return cls(values, None, _checked_spread(name, values.min(), values.max()))

    @classmethod
    def around_mean(cls, X: RowArray) -> tuple[Self, Array]:
        """Return the rows of `X` relative to their mean, and that mean in float64."""
        if is_ready(X):
            ranges = _checked_ranges(X, "X")
            return cls._ready(X, ranges.mean.astype(np.float32), ranges, "X"), ranges.mean
        X = on_host(X)
        with np.errstate(over="ignore", invalid="ignore"):  # reported with the rows' spread
            mean = on_host(X).mean(axis=0, dtype=np.float64)
            return cls.around(X, mean.astype(np.float32)), mean

    @classmethod
    def _ready(cls, X: RowArray, centre: Array, ranges: _backend.ColumnRanges, name: str) -> Self:
        highest = ranges.highest.astype(np.float64) - centre
        lowest = ranges.lowest.astype(np.float64) - centre
        return cls(X, centre, _checked_spread(name, lowest, highest))

    @classmethod
    def on_sphere(cls, X: Array, name: str = "X") -> Self:
        """Return the rows of `X` scaled to unit length, a float32 copy.

        Errors call the rows `name`.

        Raises
        ------
        InvalidInput
            If a row is zero and so has no direction.
        """
        values = np.empty(X.shape, np.float32)
        step = max(1, _BLOCK // X.shape[1])
        for start in range(0, len(X), step):
            block = X[start : start + step].astype(np.float64)
            largest = np.abs(block).max(axis=1, keepdims=True)
            zero = np.flatnonzero(largest == 0)
            if len(zero):
                raise InvalidInput(
                    f"row {start + zero[0]} of {name} is zero: it has no direction, which "
                    "metric='cosine' needs; drop such rows or use metric='euclidean'"
                )
            block /= largest  # before squaring, which could overflow
            block /= np.sqrt((block * block).sum(axis=1, keepdims=True))
            values[start : start + step] = block
        return cls(values, None, 1.0)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def sum_scale(self) -> float:
        """The power of two on which sums of all points are integers within 62 bits."""
        if self.spread == 0:
            return 1.0
        spread_exponent = int(np.frexp(self.spread)[1])
        bits = min(49, 61 - (len(self) - 1).bit_length())
        return float(np.ldexp(1.0, bits - spread_exponent))

    def take(self, indices: Array) -> Array:
        """Return points as a float32 array of shape (len(indices), d)."""
        rows: Array = on_host(self.values)[indices]
        return rows.copy() if self.shift is None else rows - self.shift

    def with_codes(self, n_clusters: int) -> Self:
        """Return these rows with the codes that make repeated questions about them cheap."""
        if not _backend.screens_by_codes(self.values.shape[1], n_clusters):
            return self
        screened = _backend.screen_rows(on_host(self.values), self.shift)
        return replace(self, screened=screened)

    def zeros(self, dtype: Any) -> RowArray:
        """Return a zero for each row, kept where the kernels want it."""
        return np.zeros(len(self), dtype)

    def placed(self, array: Array | None) -> RowArray | None:
        """Return an array with an entry for each row, where the kernels want it."""
        return array

    def nearest(self, centres: Array, **outputs: Any) -> _backend.Changes:
        """Fill the outputs of the nearest kernel, which sees the points of this object."""
        return _backend.nearest(
            self.values, centres, shift=self.shift, screened=self.screened, **outputs
        )

    def all_distances(self, centres: Array, out: Array) -> None:
        """Fill `out`, float32 of shape (n, k), with squared distances."""
        _backend.all_distances(self.values, centres, out, shift=self.shift)

    def closest_state(self, candidates: int) -> ClosestState:
        """Return what k-means++ knows of the rows before there is any centre."""
        return ClosestState.without_centres(len(self), candidates)

    def closest(self, candidates: Array, state: ClosestState, **options: Any) -> Array:
        """Try candidates for the next centre of k-means++: see `_backend.closest`."""
        return _backend.closest(
            self.values, candidates, state, shift=self.shift, screened=self.screened, **options
        )


def is_ready(X: RowArray) -> bool:
    """Whether the kernels take these rows as they lie: those on a device always."""
    if isinstance(X, DeviceArray):
        return True
    return X.dtype == np.float32 and X.ndim == 2 and X.flags.c_contiguous and X.size > 0


def _checked_ranges(X: RowArray, name: str) -> _backend.ColumnRanges:
    ranges = _backend.column_ranges(X)
    if ranges is not None:
        return ranges
    try:
        assert_all_finite(on_host(X), estimator_name="KMeans", input_name=name)
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    raise InvalidInput(f"{name} contains NaN or infinity: drop such rows or mend them")


def _checked_spread(name: str, lowest: Array, highest: Array) -> float:
    spread = float(max(np.abs(lowest).max(), np.abs(highest).max()))
    if not spread <= _LARGEST_SPREAD:  # infinity minus infinity included
        raise InvalidInput(
            f"{name} has a value {spread:.3g} away from the mean of the training rows; distances "
            f"are taken in float32, which holds up to {_LARGEST_SPREAD:.0e}: rescale the data"
        )
    return spread


def checked_variance(variance: float) -> float:
    """Return the mean variance of the features, unless float32 would take it for zero."""
    if 0 < variance < _SMALLEST_SPREAD**2:
        raise InvalidInput(
            f"X has a standard deviation of {variance**0.5:.3g} a feature; distances are taken "
            f"in float32, which needs at least {_SMALLEST_SPREAD:.0e}: rescale X"
        )
    return variance
