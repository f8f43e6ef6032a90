"""The private course of a Gaussian mixture: a fixed list of releases, and what is made of them.

Every number that leaves a `Release` here is noisy; all else is post-processing. The radii of clips
follow from the public norm and from earlier releases, never from the rows.
"""

import numpy as np
from numpy.typing import NDArray

from cloister.codes import CodeGrid
from cloister.covariance import Covariances
from cloister.mixture_numbers import MixtureNumbers
from cloister.parameters import check_choice, check_integer, check_release_size
from cloister.privacy.release import Release
from cloister.seeding import (
    SAMPLES_PER_CENTRE,
    Overview,
    cluster_samples,
    counts_and_shifts,
    release_overview,
)
from cloister.shrinkage import denoise_spectrum, positive_spectrum, project_to_ball

COVARIANCE_TYPES = ("tied", "full", "diag", "spherical", "low_rank")
POOLED_TYPES = ("tied", "low_rank")

# Radii, in units of the released root-mean-square distance. Where noise does not matter the clip
# opens up to LARGEST_RADIUS, so that it biases nothing.
LARGEST_RADIUS = 16.0
SMALLEST_MEAN_RADIUS = 0.9
FREE_MEAN_NOISE = 0.005  # a clip opens while the noise of a mean stays below this ...
FREE_MOMENT_NOISE = 0.02  # ... and that of an eigenvalue below this part of the average variance
SMALLEST_MOMENT_RADIUS = 0.7

SEED_SAMPLES = 2000  # public samples a component, to seed components inside a class
MOST_SEED_SAMPLES = 100_000


def mixture_plan(n_components: int, covariance_type: str) -> dict[str, float]:
    """Share of mu^2 of each release, in order: a function of public parameters alone.

    Raises
    ------
    InvalidInput, InvalidType
        If a parameter is not as `DPGaussianMixture` describes it.
    """
    check_integer("n_components", n_components, 1, 2**16, way_out="1 suits most private fits")
    check_choice("covariance_type", covariance_type, COVARIANCE_TYPES)
    plan = {"mean": 0.02, "scatter": 0.01, "class means": 0.35, "second moments": 0.62}
    if n_components > 1:
        plan |= {"class means": 0.20, "second moments": 0.37, "components 1": 0.20}
        plan["components 2"] = 0.20
        if covariance_type not in POOLED_TYPES:
            plan |= {"second moments": 0.20, "component second moments": 0.17}
    elif covariance_type in ("diag", "spherical"):
        plan |= {"class means": 0.60, "second moments": 0.37}
    return plan


def check_size(d: int, n_classes: int, n_components: int, covariance_type: str) -> None:
    """Refuse a fit whose largest release would hold too many numbers.

    Raises
    ------
    InvalidInput
        Saying what asks for that much.
    """
    largest = n_classes * n_components * (d + 1)
    if n_components > 1 or covariance_type not in ("diag", "spherical"):
        matrices = n_classes * n_components if covariance_type == "full" else 1
        largest = max(largest, matrices * d * (d + 1) // 2)
    check_release_size(
        f"n_components={n_components} and covariance_type={covariance_type!r} with {n_classes} "
        f"class(es) and {d} features in X",
        largest,
        way_out="use covariance_type='diag' with n_components=1, or a smaller embedding",
    )


def fit_mixture(
    release: Release,
    grid: CodeGrid,
    mus: dict[str, float],
    n_classes: int,
    n_components: int,
    covariance_type: str,
    seed: int,
) -> MixtureNumbers:
    """Run the planned releases and turn them into a mixture.

    Parameters
    ----------
    release : Release
        Of the session at hand.
    grid : CodeGrid
        The public grid.
    mus : dict
        Gaussian-DP cost of each release of `mixture_plan`.
    n_classes, n_components : int
        Classes, and components of each.
    covariance_type : str
        One of `COVARIANCE_TYPES`.
    seed : int
        Of public randomness: the seeds of components.
    """
    course = MixtureCourse(release, grid, mus, n_classes)
    overview = release_overview(release, grid, mus["mean"], mus["scatter"], n_classes=n_classes)
    counts, means, within = course.class_means(overview)
    if n_components == 1:
        covariances = course.second_moments(
            "second moments", means[:, None], counts[:, None], within, covariance_type
        )
    else:
        pooled = course.second_moments(
            "second moments", means[:, None], counts[:, None], within, "tied"
        )
        components = means[:, None] + _component_seeds(pooled, n_components, seed)
        for number in (1, 2):
            components, counts = course.refine(f"components {number}", components, within)
        between = _between(components, means, counts)
        if covariance_type in POOLED_TYPES:
            covariances = without(pooled, between)
        else:
            left = max(within - float(np.trace(between)), 0.1 * within)
            covariances = course.second_moments(
                "component second moments", components, counts, left, covariance_type
            )
        means = components.reshape(-1, grid.d)
    if covariance_type == "low_rank":
        covariances = _truncate(covariances)
    flat = counts.ravel()
    covariance_of = np.arange(len(flat)) % len(covariances.rest)
    return MixtureNumbers(flat / flat.sum(), means, covariances, covariance_of)


class MixtureCourse:
    """One fit's releases, each with the rule for its radius."""

    def __init__(
        self, release: Release, grid: CodeGrid, mus: dict[str, float], n_classes: int
    ) -> None:
        self._release = release
        self._grid = grid
        self._mus = mus
        self._n_classes = n_classes

    def _on_grid(self, centres: NDArray[np.float64]) -> NDArray[np.int16]:
        """Put centres of shape (classes, k, d), or one point for all classes, on the grid."""
        k = centres.shape[1] if centres.ndim == 3 else 1
        shape = (self._n_classes, k, self._grid.d)
        return self._grid.round_centres(np.broadcast_to(centres, shape))

    def _radius(self, rms: float, smallest: float, affordable: float) -> float:
        """Clip radius: `affordable` root-mean-squares, but at least `smallest` and within reach."""
        factor = min(max(affordable, smallest), LARGEST_RADIUS)
        return min(factor * rms, 2 * self._grid.clip_norm)

    def _mean_radius(
        self, mu: float, n: float, scatter: float, *, smallest: float = SMALLEST_MEAN_RADIUS
    ) -> float:
        """Radius of sums of one vector a class, of n rows about one point."""
        # Norm of a mean's noise, in units of the radius.
        noise = np.sqrt(self._grid.d) * self._n_classes / (mu * n)
        return self._radius(np.sqrt(scatter), smallest, _ratio(FREE_MEAN_NOISE, noise))

    def _moment_radius(self, mu_n: float, within: float, covariance_type: str) -> float:
        """Radius of second moments that sum `mu_n / mu` rows each."""
        # Noise of an eigenvalue (of an entry, of the trace) at radius 1, over the average variance
        # at root-mean-square 1; it grows with the squared radius.
        d = self._grid.d
        dimension = {"diag": float(d), "spherical": 1.0}.get(covariance_type, np.sqrt(2) * d**1.5)
        affordable = np.sqrt(_ratio(FREE_MOMENT_NOISE, dimension / mu_n))
        return self._radius(np.sqrt(within), SMALLEST_MOMENT_RADIUS, affordable)

    def class_means(
        self, overview: Overview
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Counts and means of the classes, and the mean squared distance left within them."""
        mu, centre, scatter = self._mus["class means"], overview.mean, overview.scatter
        radius = self._mean_radius(mu, overview.noisy_n, scatter)
        on_grid = self._on_grid(centre)
        tally = self._release.tally("class means", on_grid, mu, radius=radius)
        counts, shifts = counts_and_shifts(tally)
        moved = self._grid.decode(on_grid[:, 0]) + shifts[:, 0]
        means = project_to_ball(moved, self._grid.clip_norm)
        between = float(counts[:, 0] @ (shifts[:, 0] ** 2).sum(axis=1)) / counts.sum()
        return counts[:, 0], means, max(scatter - between, 0.2 * scatter)

    def refine(
        self, name: str, centres: NDArray[np.float64], within: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One residual round: components move to the mean of their rows; counts of each."""
        on_grid = self._on_grid(centres)
        radius = min(np.sqrt(within), 2 * self._grid.clip_norm)
        tally = self._release.tally(name, on_grid, self._mus[name], radius=radius)
        counts, shifts = counts_and_shifts(tally)
        moved = project_to_ball(self._grid.decode(on_grid) + shifts, self._grid.clip_norm)
        return moved, counts

    def second_moments(
        self,
        name: str,
        centres: NDArray[np.float64],
        counts: NDArray[np.float64],
        within: float,
        covariance_type: str,
    ) -> Covariances:
        """Covariances about the centres, de-noised and scaled to the known scatter `within`.

        One for all centres if the type is pooled, else one a centre.
        """
        group = np.arange(counts.size) * (covariance_type not in POOLED_TYPES)
        sizes = np.bincount(group, weights=counts.ravel())
        mu, d = self._mus[name], self._grid.d
        radius = self._moment_radius(mu * float(sizes.mean()), within, covariance_type)
        kind = {"diag": "diagonal", "spherical": "trace"}.get(covariance_type, "full")
        released = self._release.moments(
            name, self._on_grid(centres), group, mu, radius=radius, moment=kind
        )
        values = released.noisy_values / sizes.reshape(
            (-1,) + (1,) * (released.noisy_values.ndim - 1)
        )
        parts = [
            scaled_covariance(value, released.noise / size, within)
            for value, size in zip(values, sizes, strict=True)
        ]
        if kind == "trace":
            parts = [(np.zeros((0, d)), w, np.full(d, rest[0] / d)) for _, w, rest in parts]
        return Covariances(*(np.stack(arrays) for arrays in zip(*parts, strict=True)))


def _ratio(allowed: float, noise: float) -> float:
    return allowed / noise if noise > 0 else np.inf


def scaled_covariance(
    value: NDArray[np.float64], noise: float, within: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Directions, variances and rest of one noisy second moment, scaled to trace `within`.

    Clipping to the radius keeps the shape and loses the scale, which is known from elsewhere.
    """
    if value.ndim == 1:
        target = within if noise else max(float(value.sum()), 1e-12 * within)
        shape = positive_spectrum(value, target, noise)
        return np.zeros((0, len(value))), np.zeros(0), shape
    trace = max(float(np.trace(value)), 1e-12 * within)
    target = max(within, trace) if noise else trace
    scale = target / max(trace, 1e-3 * target)
    values, vectors = denoise_spectrum(value, noise)
    variances = positive_spectrum(values * scale, target, noise * scale)
    return vectors.T, variances, np.full(len(value), variances.min())


def _component_seeds(covariances: Covariances, n_components: int, seed: int) -> NDArray[np.float64]:
    """Offsets of components from their class mean: centres of public samples of the covariance."""
    rng = np.random.default_rng(seed)
    size = SEED_SAMPLES * min(n_components, MOST_SEED_SAMPLES // SEED_SAMPLES)
    size = max(size, SAMPLES_PER_CENTRE * n_components)
    normals = rng.standard_normal((size, covariances.directions.shape[2]))
    roots = np.sqrt(covariances.variances[0])[:, None] * covariances.directions[0]
    return cluster_samples(normals @ roots, n_components, rng, max_iter=50)[0]


def _between(
    components: NDArray[np.float64], means: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scatter of components about their class means, weighted by their counts."""
    offsets = (components - means[:, None]).reshape(-1, means.shape[1])
    weights = counts.ravel() / counts.sum()
    return np.asarray((offsets * weights[:, None]).T @ offsets)


def without(covariances: Covariances, between: NDArray[np.float64]) -> Covariances:
    """Take the scatter of components out of a pooled covariance, staying positive definite."""
    pooled = covariances.matrices()[0]
    variances, vectors = np.linalg.eigh(pooled - between)
    variances = np.maximum(variances, covariances.variances[0].min())
    return Covariances(vectors.T[None], variances[None], covariances.rest)


def _truncate(covariances: Covariances) -> Covariances:
    """Keep the directions above the average variance; spread the rest evenly."""
    variances = covariances.variances[0]
    d = len(variances)
    kept = variances > variances.mean()
    kept[np.argmax(variances)] = d > 1
    rest = variances[~kept].mean() if (~kept).any() else variances.min()
    return Covariances(
        covariances.directions[:, kept], covariances.variances[:, kept], np.full((1, d), rest)
    )
