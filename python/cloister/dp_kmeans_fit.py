"""The private course of k-means: an overview, first centres, residual rounds.

Every number that leaves a `Release` here is noisy; all else is post-processing. Radii, cells and
rounds follow from public numbers and from earlier releases, never from the rows.
"""

import numpy as np
from numpy.typing import NDArray

from cloister.codes import CodeGrid
from cloister.privacy.release import Release
from cloister.privacy.session import PrivacyParameters
from cloister.seeding import (
    LIFT_CELLS,
    SAMPLES_PER_CENTRE,
    SEED_SAMPLES,
    Overview,
    cluster_samples,
    counts_and_shifts,
    histogram_samples,
    lift,
    release_overview,
)
from cloister.shrinkage import project_to_ball

INITS = ("gaussian", "histogram", "random")

# Clip of a round's residuals, over their predicted root-mean-square.
ROUND_RADIUS = 0.75


def kmeans_plan(init: str) -> dict[str, float]:
    """Share of mu^2 of each release, in order: a function of public parameters alone.

    `init` is one of `INITS`, or "array" for public centres.
    """
    if init == "gaussian":
        return {"mean": 0.05, "scatter": 0.15, "lift": 0.15, "rounds": 0.65}
    if init == "histogram":
        return {"mean": 0.05, "scatter": 0.05, "histogram": 0.20, "rounds": 0.70}
    return {"mean": 0.02, "scatter": 0.02, "rounds": 0.96}


class KMeansCourse:
    """The releases of one fit, in the order of `kmeans_plan`."""

    def __init__(
        self,
        release: Release,
        grid: CodeGrid,
        parameters: PrivacyParameters,
        plan: dict[str, float],
        rng: np.random.Generator,
    ) -> None:
        self._release = release
        self._grid = grid
        self._parameters = parameters
        self._shares = dict(plan)
        self._rng = rng

    def _mu(self, name: str) -> float:
        return self._parameters.mu_of_share(self._shares[name])

    def run(
        self, start: NDArray[np.float64] | str, k: int, n_rounds: int | None, n_hint: int | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Return centres, the last round's noisy counts, and the number of rounds."""
        overview = release_overview(
            self._release,
            self._grid,
            self._mu("mean"),
            self._mu("scatter"),
            spectrum=isinstance(start, str) and start == "gaussian",
            n_hint=n_hint,
        )
        centres, within = self._seed(start, k, overview)
        rounds = n_rounds or residual_rounds(overview.noisy_n, self._grid.d, k, self._mu("rounds"))
        return self._refine(centres, min(within, overview.scatter), overview, rounds)

    def _seed(
        self, start: NDArray[np.float64] | str, k: int, overview: Overview
    ) -> tuple[NDArray[np.float64], float]:
        """Return first centres and the mean squared distance that they are expected to leave."""
        if not isinstance(start, str):
            return project_to_ball(start, self._grid.clip_norm), overview.scatter
        if start == "histogram":
            samples = histogram_samples(
                self._release, self._grid, overview, k, self._mu("histogram"), self._rng
            )
            samples = project_to_ball(samples, self._grid.clip_norm)
            return cluster_samples(samples, k, self._rng, n_init=10)  # restarts are free
        size = max(SEED_SAMPLES, SAMPLES_PER_CENTRE * k)
        samples = project_to_ball(overview.sample(size, self._rng), self._grid.clip_norm)
        if start == "random":
            return samples[:k], overview.scatter
        cells = lift_cells(overview.noisy_n, self._grid.d, k, self._mu("lift"))
        if cells < 2 * k:
            self._shares["rounds"] += self._shares.pop("lift")
            return cluster_samples(samples, k, self._rng)
        return lift(self._release, self._grid, samples, cells, k, self._mu("lift"), self._rng)

    def _refine(
        self, centres: NDArray[np.float64], within: float, overview: Overview, rounds: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Move centres by noisy residual means; the radius follows the scatter left over."""
        mu = self._mu("rounds") / float(np.sqrt(rounds))
        clip_norm, noiseless = self._grid.clip_norm, np.isinf(mu)
        for number in range(1, rounds + 1):
            radius = 2 * clip_norm if noiseless else min(ROUND_RADIUS * within**0.5, 2 * clip_norm)
            on_grid = self._grid.round_centres(centres)[None]
            tally = self._release.tally(f"round {number}", on_grid, mu, radius=radius)
            counts, shifts = counts_and_shifts(tally)
            before, centres = centres, self._grid.decode(on_grid[0]) + shifts[0]
            centres = project_to_ball(centres, clip_norm)
            shares = counts[0] / counts.sum()
            between = float(shares @ ((centres - overview.mean) ** 2).sum(axis=1))
            within = max(overview.scatter - between, within / 16, 1e-4 * overview.scatter)
            if noiseless and np.abs(centres - before).max() < self._grid.row_clip.step:
                break
        return centres, tally.noisy_counts[0], number


def lift_cells(n: float, d: int, k: int, mu: float) -> int:
    """How many cells a lift affords: a cell's mean gets noise of norm below half its radius."""
    affordable = n * mu / (2.2 * np.sqrt(d)) if np.isfinite(mu) else np.inf
    return int(min(affordable, largest_lift(k)))


def largest_lift(k: int) -> int:
    """Most cells that a lift may have."""
    return min(32 * k, max(LIFT_CELLS, 2 * k))


def residual_rounds(n: float, d: int, k: int, mu: float) -> int:
    """How many rounds the rest of the budget is worth.

    One round with all of it adds k^2 d / (mu n)^2 squared radii of noise to the loss; the rounds
    together may add a twentieth. Without noise: until the centres rest, at most 100.
    """
    if np.isinf(mu):
        return 100
    return int(np.clip(0.05 * (mu * n / k) ** 2 / d, 5, 20))
