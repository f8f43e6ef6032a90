"""What releases return: noisy numbers in the unit of the rows, and the size of their noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class NoisyTally:
    """Counts and sums of each cell, with noise.

    Attributes
    ----------
    noisy_counts : array of shape (classes, k), float64
        Rows in each cell, plus noise of standard deviation `count_noise`.
    noisy_sums : array of shape (classes, k, d), float64
        Sums of rows or clipped residuals in the rows' unit, plus noise of standard deviation
        `sum_noise` a coordinate.
    """

    noisy_counts: NDArray[np.float64]
    noisy_sums: NDArray[np.float64]
    count_noise: float
    sum_noise: float


@dataclass(frozen=True)
class NoisyMoments:
    """Second moments of clipped residuals, with noise.

    Attributes
    ----------
    noisy_values : array of shape (groups, d, d), (groups, d) or (groups, 1), float64
        Sums of residual products in the squared unit of the rows; the matrices are symmetric.
    noise : float
        Standard deviation of the noise on a diagonal entry; off the diagonal it is
        `noise / sqrt(2)`.
    """

    noisy_values: NDArray[np.float64]
    noise: float


@dataclass(frozen=True)
class NoisyGradient:
    """Sum over rows of the gradient of a softmax regression, both factors clipped, with noise.

    Attributes
    ----------
    noisy_gradient : array of shape (classes, d), float64
        Sum of residual (softmax probabilities less the indicator of the row's class, clipped to
        the model's radius) times row (its difference from the centre, clipped to the model's
        radius and divided by it: of norm at most 1). A step against it lowers the log loss.
    noise : float
        Standard deviation of the noise on each entry.
    """

    noisy_gradient: NDArray[np.float64]
    noise: float


def diagonal_places(d: int) -> NDArray[np.int64]:
    """Places of the diagonal in an upper triangle stored by rows."""
    rows = np.arange(d)
    return rows * d - rows * (rows - 1) // 2


def symmetric(triangle: NDArray[np.float64], d: int) -> NDArray[np.float64]:
    """Return the symmetric (d, d) matrix of an upper triangle stored by rows."""
    matrix = np.zeros((d, d))
    upper = np.triu_indices(d)
    matrix[upper] = triangle
    matrix.T[upper] = triangle
    return matrix
