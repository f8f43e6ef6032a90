"""Weights of rows in KMeans: their checks, and the grids on which weighted sums are integers."""

import numbers

import numpy as np
import numpy.typing as npt

from cloister.centred_rows import Array
from cloister.errors import InvalidInput, InvalidType

_SMALLEST, _LARGEST = 1e-100, 1e100  # of the largest weight: products with rows stay in float64


def check_sample_weight(sample_weight: npt.ArrayLike | None, n: int) -> Array | None:
    """Return the weights as a float64 array of shape (n,), or None for equal ones.

    Parameters
    ----------
    sample_weight : array of shape (n,), a number for all rows, or None
    n : int
        Number of rows.

    Raises
    ------
    InvalidInput
        If the weights have another shape, are negative, NaN or infinite, all zero, or the largest
        is outside [1e-100, 1e100].
    InvalidType
        If they are not real numbers.
    """
    if sample_weight is None:
        return None
    try:
        weights = np.asarray(sample_weight)
    except (TypeError, ValueError) as error:
        raise InvalidType(f"sample_weight must be an array of numbers: {error}") from error
    if weights.dtype.kind not in "fiub":
        raise InvalidType(f"sample_weight must be an array of numbers, got dtype {weights.dtype}")
    if isinstance(sample_weight, numbers.Number):
        weights = np.full(n, weights)
    if weights.shape != (n,):
        raise InvalidInput(
            f"sample_weight has shape {weights.shape}, but X has {n} rows: pass one weight a row"
        )
    weights = np.ascontiguousarray(weights, np.float64)
    if not np.isfinite(weights).all():
        row = int(np.argmin(np.isfinite(weights)))
        raise InvalidInput(f"sample_weight has {weights[row]} in row {row}: pass finite weights")
    if weights.min() < 0:
        row = int(weights.argmin())
        raise InvalidInput(
            f"sample_weight has the negative value {weights[row]} in row {row}: pass weights >= 0"
        )
    if not weights.any():
        raise InvalidInput("sample_weight is all zero: at least one weight must be above zero")
    if not _SMALLEST <= weights.max() <= _LARGEST:
        raise InvalidInput(
            f"the largest sample_weight is {weights.max():.3g}, which is outside "
            f"[{_SMALLEST:.0e}, {_LARGEST:.0e}]: rescale the weights, which changes no centre"
        )
    return weights


def refuse_weights(sample_weight: npt.ArrayLike | None) -> None:
    """Raise InvalidInput if there are weights of rows that are not resident."""
    if sample_weight is not None:
        raise InvalidInput(
            "sample_weight needs rows in memory, but X is a memory map, a file or an iterable: "
            "load the rows, or leave sample_weight out"
        )


def weight_scales(spread: float, weights: Array) -> tuple[float, float]:
    """Return powers of two that make integers of weighted coordinates and of weights.

    A term is at most 2^50 on these scales, and the sum of all is within 62 bits.

    Parameters
    ----------
    spread : float
        The largest absolute coordinate of a row.
    weights : array of shape (n,)

    Returns
    -------
    sum_scale, count_scale : float
        Of ``row * weight`` and of ``weight``.
    """
    largest, total = (int(np.frexp(size)[1]) for size in (weights.max(), weights.sum()))
    coordinate = int(np.frexp(spread)[1]) if spread > 0 else 0
    sum_exponent = min(49 - largest, 61 - total) - coordinate
    count_exponent = min(50 - largest, 61 - total)
    return float(np.ldexp(1.0, sum_exponent)), float(np.ldexp(1.0, count_exponent))
