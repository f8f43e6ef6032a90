"""A first look at private rows as a whole, and k-means of public samples.

Everything here happens on the public side: a `Release` answers with noise, and what is made of the
answers (samples, k-means on samples, restarts) is post-processing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister.codes import CodeGrid
from cloister.kmeans import KMeans
from cloister.predictions import eigenvalue_noise
from cloister.privacy.answers import NoisyTally
from cloister.privacy.release import Release
from cloister.shrinkage import (
    denoise_spectrum,
    james_stein,
    positive_spectrum,
    project_to_ball,
    safe_counts,
    total_scatter,
)
from cloister.weighted_kmeans import coinciding_centres

MAX_SPECTRUM_FEATURES = 2048
"""Beyond this d only the trace of the second moment is released: d^2 noisy values help no more."""

NEGLIGIBLE_NOISE = 1e-3  # of the scatter, in units of R^2
SAMPLES_PER_CENTRE = 20


@dataclass(frozen=True)
class Overview:
    """What a first, cheap pair of releases says of the rows as a whole.

    Attributes
    ----------
    mean : array of shape (d,)
        Noisy mean, on the grid.
    noisy_n : float
        Noisy number of rows, or the public hint.
    scatter : float
        Noisy mean squared distance to `mean`.
    variances : array of shape (d,)
    axes : array of shape (d, d)
        In columns. Both describe a private Gaussian; isotropic where only the trace was released.
    """

    mean: NDArray[np.float64]
    noisy_n: float
    scatter: float
    variances: NDArray[np.float64]
    axes: NDArray[np.float64] | None

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw public points from the private Gaussian."""
        d = len(self.mean)
        deviations = np.sqrt(self.variances)
        # The kernel computes in float32, which holds no squares of very small or large units.
        exponent = int(np.frexp(max(np.abs(self.mean).max(), deviations.max()))[1])
        mean, deviations = np.ldexp(self.mean, -exponent), np.ldexp(deviations, -exponent)
        factors, scales = np.zeros((1, 0, d)), deviations[None].astype(np.float32)
        if self.axes is not None:
            factors = (self.axes * deviations).T[None]
        points = np.empty((n, d), np.float32)
        _backend.sample_mixture(
            int(rng.integers(2**63)),
            0,
            mean[None].astype(np.float32),
            np.ascontiguousarray(factors, dtype=np.float32),
            scales if self.axes is None else None,
            np.zeros(1, np.int64),
            np.zeros(n, np.int32),
            points,
        )
        return np.ldexp(points.astype(np.float64), exponent)


def counts_and_shifts(tally: NoisyTally) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts fit to divide by, and James-Stein means of the sums."""
    counts = safe_counts(tally.noisy_counts, tally.count_noise)
    shifts = tally.noisy_sums / counts[..., None]
    return counts, james_stein(shifts, (tally.sum_noise / counts) ** 2)


def release_overview(
    release: Release,
    grid: CodeGrid,
    mu_mean: float,
    mu_scatter: float,
    *,
    n_classes: int = 1,
    spectrum: bool = False,
    n_hint: float | None = None,
) -> Overview:
    """Release the overall mean and count, then the scatter (or second moment) about that mean.

    Parameters
    ----------
    release : Release
    grid : CodeGrid
    mu_mean, mu_scatter : float
        Gaussian-DP cost of the two releases, named "mean" and "scatter".
    n_classes : int
        Classes of the engine; they are added up.
    spectrum : bool
        Release the whole second moment where d allows it, not just its trace.
    n_hint : float, optional
        Public number of rows, or one released before, used instead of the noisy count.
    """
    d, radius = grid.d, grid.clip_norm
    origin = np.zeros((n_classes, 1, d), dtype=np.int16)
    tally = release.tally("mean", origin, mu_mean, pooled=True)
    counts, means = counts_and_shifts(tally)
    noisy_n = float(counts[0, 0]) if n_hint is None else float(n_hint)
    on_grid = grid.round_centres(project_to_ball(means[0], radius))
    mean = grid.decode(on_grid[0])
    whole = spectrum and d <= MAX_SPECTRUM_FEATURES
    clip = scatter_radius(noisy_n, d, mu_scatter, spectrum=spectrum)
    moments = release.moments(
        "scatter",
        np.ascontiguousarray(np.broadcast_to(on_grid, (n_classes, 1, d))),
        np.zeros(n_classes, dtype=np.int64),
        mu_scatter,
        radius=clip * radius,
        moment="full" if whole else "trace",
    )
    value, noise = moments.noisy_values[0] / noisy_n, moments.noise / noisy_n
    if not whole:
        scatter = total_scatter(float(value[0]), noise, mean, radius)
        return Overview(mean, noisy_n, scatter, np.full(d, scatter / d), None)
    scatter = total_scatter(float(np.trace(value)), noise * np.sqrt(d), mean, radius)
    values, axes = denoise_spectrum(value, noise)
    return Overview(mean, noisy_n, scatter, positive_spectrum(values, scatter, noise), axes)


def scatter_radius(n: float, d: int, mu: float, *, spectrum: bool) -> float:
    """Return the clip of the overview's second moment of n rows, in units of their norm.

    No row is further than 2 R from the mean, few are further than R: the wide clip, four times the
    noise, is for where that is negligible: of an eigenvalue, sqrt(2 d) times an entry's.
    """
    whole = spectrum and d <= MAX_SPECTRUM_FEATURES
    noise = eigenvalue_noise(n, d, mu, 2.0) if whole else 4 / (mu * n)
    return 2.0 if noise < NEGLIGIBLE_NOISE else 1.0


def cluster_samples(
    points: NDArray[np.float64],
    k: int,
    rng: np.random.Generator,
    *,
    init: str = "k-means++",
    max_iter: int = 20,
    n_init: int = 1,
) -> tuple[NDArray[np.float64], float]:
    """Run ordinary k-means on public points; return centres and mean squared distance.

    It sees them scaled by a power of two: the same centres whatever unit the rows are in.
    """
    exponent = int(np.frexp(np.abs(points).max())[1])
    seed = int(rng.integers(2**31))
    model = KMeans(k, init=init, n_init=n_init, max_iter=max_iter, random_state=seed)
    with coinciding_centres():
        model.fit(np.ldexp(points, -exponent).astype(np.float32))
    centres = np.ldexp(model.cluster_centers_.astype(np.float64), exponent)
    return centres, float(np.ldexp(model.inertia_ / len(points), 2 * exponent))
