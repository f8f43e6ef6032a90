"""The private course of a Gaussian mixture: a fixed list of releases, and what is made of them.

Every number that leaves a `Release` here is noisy; all else is post-processing. The radii of clips
follow from the public norm and from earlier releases, never from the rows.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cloister.codes import CodeGrid
from cloister.covariance import Covariances
from cloister.mixture_numbers import MixtureNumbers
from cloister.mixture_parameters import POOLED_TYPES
from cloister.mixture_plan import MixturePlan, MixtureRules
from cloister.privacy.release import Release
from cloister.seeding import (
    SAMPLES_PER_CENTRE,
    Overview,
    cluster_samples,
    counts_and_shifts,
    release_overview,
)
from cloister.shrinkage import denoise_spectrum, positive_spectrum, project_to_ball

SEED_SAMPLES = 2000  # public samples a component, to seed components inside a class
MOST_SEED_SAMPLES = 100_000


def fit_mixture(
    release: Release, grid: CodeGrid, rules: MixtureRules, seed: int
) -> tuple[MixtureNumbers, None, MixturePlan]:
    """Run the planned releases of an untilted mixture and turn them into one.

    Parameters
    ----------
    release : Release
        Of the session at hand.
    grid : CodeGrid
        The public grid.
    rules : MixtureRules
        What is public of the fit.
    seed : int
        Of public randomness: the seeds of components.

    Returns
    -------
    numbers : MixtureNumbers
    untilted : None
        There is but one mixture.
    plan : MixturePlan
        The plan that was followed.
    """
    course = MixtureCourse(release, grid, rules)
    overview = course.overview()
    counts, means, within = course.class_means(overview)
    covariance_type, n_components = rules.covariance_type, rules.n_components
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
    return MixtureNumbers(flat / flat.sum(), means, covariances, covariance_of), None, course.plan


class MixtureCourse:
    """One fit's releases; `plan` is what they follow, once there is a number of rows."""

    plan: MixturePlan

    def __init__(self, release: Release, grid: CodeGrid, rules: MixtureRules) -> None:
        self._release = release
        self._grid = grid
        self._rules = rules
        self._mus = rules.mus()

    def overview(self, n: float | None = None) -> Overview:
        """Mean and scatter of all rows, whose number n may be known from a release before."""
        overview = release_overview(
            self._release,
            self._grid,
            self._mus["mean"],
            self._mus["scatter"],
            n_classes=self._rules.n_classes,
            n_hint=n,
        )
        self.plan = self._rules.plan(overview.noisy_n)
        return overview

    def _on_grid(self, centres: NDArray[np.float64]) -> NDArray[np.int16]:
        """Put centres of shape (classes, k, d), or one point for all classes, on the grid."""
        k = centres.shape[1] if centres.ndim == 3 else 1
        shape = (self._rules.n_classes, k, self._grid.d)
        return self._grid.round_centres(np.broadcast_to(centres, shape))

    def _radius(self, factor: float, mean_square: float) -> float:
        """Clip radius: so many root-mean-squares, within reach of the rows."""
        return min(factor * float(np.sqrt(mean_square)), 2 * self._grid.clip_norm)

    def class_means(
        self, overview: Overview
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Counts and means of the classes, and the mean squared distance left within them."""
        mu, centre, scatter = self._mus["class means"], overview.mean, overview.scatter
        radius = self._radius(self.plan.mean_radius, scatter)
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
        radius = self._radius(self.plan.round_radius, within)
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
        n = float(sizes.sum())
        factor = self._rules.moment_radius(name, n)
        if name == "second moments":
            self.plan = self._rules.predicted(replace(self.plan, moment_radius=factor), n)
        radius = self._radius(factor, within)
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
