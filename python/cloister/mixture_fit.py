"""The private course of a Gaussian mixture: its releases, and what is made of them.

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
from cloister.mixture_plan import MixturePlan
from cloister.mixture_rules import MixtureRules
from cloister.privacy.release import Release
from cloister.seeding import Overview, counts_and_shifts, release_overview
from cloister.shrinkage import denoise_spectrum, positive_spectrum, project_to_ball

SMALLEST_SCATTER = 1e-6  # of a cell, in units of what is expected


def fit_mixture(
    release: Release, grid: CodeGrid, rules: MixtureRules
) -> tuple[MixtureNumbers, None, MixturePlan]:
    """Run the planned releases of an untilted mixture of one component a class.

    Parameters
    ----------
    release : Release
        Of the session at hand.
    grid : CodeGrid
        The public grid.
    rules : MixtureRules
        What is public of the fit.

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
    scatters = course.scatters("scatters", means[:, None], counts, within)
    covariances = course.second_moments(
        "second moments", means[:, None], counts[:, None], scatters, rules.covariance_type
    )
    return mixture_of(means, counts, covariances, rules), None, course.plan


def mixture_of(
    means: NDArray[np.float64],
    counts: NDArray[np.float64],
    covariances: Covariances,
    rules: MixtureRules,
) -> MixtureNumbers:
    """Put together components (k, d), their counts (k,) and their covariances."""
    if rules.covariance_type == "low_rank":
        covariances = _truncate(covariances)
    covariance_of = np.arange(len(counts)) % len(covariances.rest)
    return MixtureNumbers(counts / counts.sum(), means, covariances, covariance_of)


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
        # What noise alone may make of the difference, which is small where classes stand apart.
        noise = 4 * self._grid.clip_norm**2 / (self._mus["scatter"] * overview.noisy_n)
        least = min(max(noise, 0.01 * scatter), 0.2 * scatter)
        return counts[:, 0], means, max(scatter - between, least)

    def scatters(
        self, name: str, centres: NDArray[np.float64], counts: NDArray[np.float64], within: float
    ) -> NDArray[np.float64]:
        """Mean squared distance of rows to their centre: one value a covariance of the mixture.

        What noise leaves open is taken from `within`, the expected value: it enters the average as
        a measurement of standard deviation `within / 2`.
        """
        group, sizes = _groups(counts, self._rules.covariance_type)
        radius = self._radius(self._rules.moment_radius(name, float(sizes.sum())), within)
        on_grid, mu = self._on_grid(centres), self._mus[name]
        released = self._release.moments(name, on_grid, group, mu, radius=radius, moment="trace")
        values, noise = released.noisy_values[:, 0] / sizes, released.noise / sizes
        prior = (within / 2) ** 2
        blended = (values * prior + within * noise**2) / (prior + noise**2)
        least = np.maximum(np.minimum(2 * noise, within), SMALLEST_SCATTER * within)
        return np.asarray(np.maximum(blended, least))

    def second_moments(
        self,
        name: str,
        centres: NDArray[np.float64],
        counts: NDArray[np.float64],
        scatters: NDArray[np.float64],
        covariance_type: str,
    ) -> Covariances:
        """Covariances about the centres, de-noised and scaled to the known scatters.

        One for all centres if the type is pooled, else one a centre.
        """
        group, sizes = _groups(counts, covariance_type)
        mu, d = self._mus[name], self._grid.d
        n = float(sizes.sum())
        factor = self._rules.moment_radius(name, n)
        if name == "second moments":
            self.plan = self._rules.predicted(replace(self.plan, moment_radius=factor), n)
        radius = self._radius(factor, float(scatters.mean()))
        kind = self._rules.moment_kind(name)
        released = self._release.moments(
            name, self._on_grid(centres), group, mu, radius=radius, moment=kind
        )
        values = released.noisy_values / sizes.reshape(
            (-1,) + (1,) * (released.noisy_values.ndim - 1)
        )
        parts = [
            scaled_covariance(value, released.noise / size, float(scatter))
            for value, size, scatter in zip(values, sizes, scatters, strict=True)
        ]
        if kind == "trace":
            parts = [(np.zeros((0, d)), w, np.full(d, rest[0] / d)) for _, w, rest in parts]
        return Covariances(*(np.stack(arrays) for arrays in zip(*parts, strict=True)))


def _groups(
    counts: NDArray[np.float64], covariance_type: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which covariance each cell has, and how many rows share one."""
    group = np.arange(counts.size) * (covariance_type not in POOLED_TYPES)
    sizes = np.zeros(int(group.max()) + 1)
    np.add.at(sizes, group, counts.ravel())
    return group, sizes


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
