"""Free improvements of noisy releases: their noise is known exactly, so it can be shrunk away.

Post-processing of public numbers only.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression


def james_stein(
    vectors: NDArray[np.float64], noise_variance: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Shrink noisy vectors towards zero (positive-part James and Stein 1961).

    Parameters
    ----------
    vectors : array of shape (..., d)
        Unknown vectors plus Gaussian noise.
    noise_variance : array of shape (...,) or float
        Variance of the noise of a coordinate.

    Returns
    -------
    array of shape (..., d)
        `max(0, 1 - (d - 2) * noise_variance / |vector|^2) * vector`; for d <= 2 unchanged.
    """
    d = vectors.shape[-1]
    squared = np.maximum((vectors**2).sum(axis=-1), np.finfo(np.float64).tiny)
    factor = np.maximum(0.0, 1 - max(d - 2, 0) * np.asarray(noise_variance) / squared)
    return np.asarray(vectors * factor[..., None])


def denoise_spectrum(
    noisy: NDArray[np.float64], noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shrink the eigenvalues of a symmetric matrix seen through Gaussian noise.

    Rotation-invariant shrinkage (Bun, Allez, Bouchaud, Potters 2016): for noise of the Gaussian
    orthogonal ensemble the best estimate keeps the eigenvectors and takes
    `w_i - 2 s^2 h(w_i)`, with s^2 = d noise^2 / 2 and h the real part of the Stieltjes transform
    of the noisy spectrum, here smoothed over s / sqrt(d).

    Parameters
    ----------
    noisy : array of shape (d, d)
        Symmetric.
    noise : float
        Standard deviation of the noise on the diagonal; off it, `noise / sqrt(2)`.

    Returns
    -------
    eigenvalues : array of shape (d,)
        Ascending; may be negative where the noise is large.
    eigenvectors : array of shape (d, d)
        In columns.
    """
    d = len(noisy)
    values, vectors = np.linalg.eigh(noisy)
    if noise == 0 or d == 1:
        return values, vectors
    variance = d * noise**2 / 2
    gaps = values[:, None] - values[None, :]
    transform = (gaps / (gaps**2 + variance / d)).sum(axis=1) / d
    shrunk = isotonic_regression(values - 2 * variance * transform).x
    return np.asarray(shrunk), vectors


def project_to_ball(points: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Shorten points of shape (..., d) to norm `radius`: the rows lie there too."""
    norms = np.linalg.norm(points, axis=-1, keepdims=True)
    return np.asarray(points * np.minimum(1.0, radius / np.maximum(norms, radius)))


def scaled_to_norm(points: NDArray[np.float64], norm: float) -> NDArray[np.float64]:
    """Give points of shape (..., d) this norm; one at zero has no direction and stays there."""
    norms = np.linalg.norm(points, axis=-1, keepdims=True)
    return np.asarray(points * (norm / np.where(norms > 0, norms, 1.0)))


def safe_counts(noisy_counts: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Counts fit to divide by: never below two standard deviations of their noise, nor one row."""
    return np.maximum(noisy_counts, max(2 * noise, 1.0))


def total_scatter(
    noisy_trace: float, noise: float, mean: NDArray[np.float64], clip_norm: float
) -> float:
    """Mean squared distance to the mean: a released trace, tempered by what the ball allows.

    Rows of norm at most R scatter by at most R^2 - |mean|^2. That bound enters the average as a
    measurement of standard deviation R^2 / 4, so it decides only where the trace is lost in noise;
    the result is never so small that a radius derived from it would be noise alone.

    Parameters
    ----------
    noisy_trace, noise : float
        Released mean squared distance, and the standard deviation of its noise.
    mean : array of shape (d,)
        The public point that distances are taken from.
    clip_norm : float
        R.
    """
    squared = clip_norm**2
    bound = max(squared - float(mean @ mean), 0.1 * squared)
    prior = (squared / 4) ** 2
    blended = (noisy_trace * prior + bound * noise**2) / (prior + noise**2)
    return float(np.clip(blended, max(min(2 * noise, bound), 1e-8 * squared), 4 * squared))


def positive_spectrum(
    values: NDArray[np.float64], trace: float, noise: float
) -> NDArray[np.float64]:
    """Make de-noised eigenvalues positive, with a known sum.

    The floor, a fifth of the average or twice the noise, vanishes with the noise.

    Parameters
    ----------
    values : array of shape (d,)
    trace : float
        What they must sum to.
    noise : float
        Standard deviation of the noise of a diagonal entry.
    """
    average = trace / len(values)
    floor = max(min(0.2 * average, 2 * noise), 1e-6 * average)
    scaled = values * (trace / max(float(values.sum()), 0.1 * trace))
    positive = np.maximum(scaled, floor)
    return np.asarray(positive * (trace / positive.sum()))
