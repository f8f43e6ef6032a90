"""Initial centres for private k-means: paid for through releases, or independent of the data.

Everything here happens on the public side: a `Release` answers with noise, and what is made of the
answers (samples, k-means on samples, restarts) is post-processing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister._backend import Grid
from cloister.codes import CODE_BOUND, CodeGrid
from cloister.kmeans import KMeans
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
from cloister.weighted_kmeans import coinciding_centres, weighted_kmeans

MAX_SPECTRUM_FEATURES = 2048
"""Beyond this d only the trace of the second moment is released: d^2 noisy values help no more."""

NEGLIGIBLE_NOISE = 1e-3  # of the scatter, in units of R^2
SEED_SAMPLES = 10_000
SAMPLES_PER_CENTRE = 20
LIFT_CELLS = 1024
HISTOGRAM_AXES = 3
HISTOGRAM_BINS = 4096


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
    # No row is further than 2 R from the mean, few are further than R: the wide clip, four times
    # the noise, is for where that is negligible.
    wide = 4 / (mu_scatter * noisy_n) < NEGLIGIBLE_NOISE
    moments = release.moments(
        "scatter",
        np.ascontiguousarray(np.broadcast_to(on_grid, (n_classes, 1, d))),
        np.zeros(n_classes, dtype=np.int64),
        mu_scatter,
        radius=2 * radius if wide else radius,
        moment="full" if whole else "trace",
    )
    value, noise = moments.noisy_values[0] / noisy_n, moments.noise / noisy_n
    if not whole:
        scatter = total_scatter(float(value[0]), noise, mean, radius)
        return Overview(mean, noisy_n, scatter, np.full(d, scatter / d), None)
    scatter = total_scatter(float(np.trace(value)), noise * np.sqrt(d), mean, radius)
    values, axes = denoise_spectrum(value, noise)
    return Overview(mean, noisy_n, scatter, positive_spectrum(values, scatter, noise), axes)


def histogram_samples(
    release: Release,
    grid: CodeGrid,
    overview: Overview,
    k: int,
    mu: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw public points, enough for k centres, from a noisy histogram over a few directions.

    The directions are random and public. The grid spans three standard deviations about the noisy
    mean; counts have sensitivity 1. Bins below twice their noise are dropped. In more than three
    dimensions the other coordinates are those of the mean.
    """
    d = grid.d
    axes = min(d, HISTOGRAM_AXES)
    directions = np.linalg.qr(rng.standard_normal((d, axes)))[0].T
    cells = round(HISTOGRAM_BINS ** (1 / axes))
    unit = CODE_BOUND // 2
    projections = np.rint(directions * unit).astype(np.int16, order="C")
    steps = unit / grid.row_clip.step  # grid units of a projection in one unit of the rows
    half_width = 3 * np.sqrt(overview.scatter / min(d, axes))
    width = max(1, round(2 * half_width * steps / cells))
    centre = np.rint(directions @ overview.mean * steps).astype(np.int64)
    origins = centre - cells * width // 2
    public_grid = Grid(projections, origins, np.full(axes, width), np.full(axes, cells))
    noisy_counts, noise = release.histogram("histogram", public_grid, mu)
    weights = np.where(noisy_counts[0] > 2 * noise, noisy_counts[0], 0.0)
    if not weights.any():
        weights = np.maximum(noisy_counts[0], 1.0)
    size = max(SEED_SAMPLES, SAMPLES_PER_CENTRE * k)
    chosen = rng.choice(len(weights), size=size, p=weights / weights.sum())
    places = np.stack(np.unravel_index(chosen, (cells,) * axes), axis=1)
    positions = (origins + (places + rng.random(places.shape)) * width) / steps
    offsets = positions - directions @ overview.mean
    return np.asarray(overview.mean + offsets @ directions)


def cluster_samples(
    points: NDArray[np.float64],
    k: int,
    rng: np.random.Generator,
    *,
    max_iter: int = 20,
    n_init: int = 1,
) -> tuple[NDArray[np.float64], float]:
    """Run ordinary k-means on public points; return centres and mean squared distance.

    It sees them scaled by a power of two: the same centres whatever unit the rows are in.
    """
    exponent = int(np.frexp(np.abs(points).max())[1])
    seed = int(rng.integers(2**31))
    model = KMeans(k, n_init=n_init, max_iter=max_iter, random_state=seed)
    with coinciding_centres():
        model.fit(np.ldexp(points, -exponent).astype(np.float32))
    centres = np.ldexp(model.cluster_centers_.astype(np.float64), exponent)
    return centres, float(np.ldexp(model.inertia_ / len(points), 2 * exponent))


def lift(
    release: Release,
    grid: CodeGrid,
    samples: NDArray[np.float64],
    cells: int,
    k: int,
    mu: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], float]:
    """Release many cells' counts and means once, then cluster these means by their counts.

    Parameters
    ----------
    samples : array of shape (m, d)
        Public points near the rows; their k-means centres are the cells.
    cells, k : int
        Number of cells and of centres wanted.
    mu : float
        Gaussian-DP cost.

    Returns
    -------
    centres : array of shape (k, d)
    within : float
        Predicted mean squared distance of a row to its centre.
    """
    start, spread = cluster_samples(samples, cells, rng, max_iter=8)
    on_grid = grid.round_centres(start)[None]
    radius = min(0.9 * float(np.sqrt(spread)), 2 * grid.clip_norm)
    tally = release.tally("lift", on_grid, mu, radius=radius)
    _, shifts = counts_and_shifts(tally)
    points = project_to_ball(grid.decode(on_grid[0]) + shifts[0], grid.clip_norm)
    noisy_counts = tally.noisy_counts[0]
    enough = max(k, int((noisy_counts > 2 * tally.count_noise).sum()))
    kept = np.argsort(-noisy_counts)[:enough]  # cells of nothing but noise are dropped
    weights = np.maximum(noisy_counts[kept], 1e-3 * max(float(noisy_counts.max()), 1.0))
    centres, inertia = weighted_kmeans(points[kept], weights, k, rng)
    return centres, float(inertia / weights.sum() + spread / 2)
