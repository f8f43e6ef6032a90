"""The private course of k-means: an overview, first centres, residual rounds.

Every number that leaves a `Release` here is noisy; all else is post-processing. Radii, cells and
rounds follow from public numbers and from earlier releases, never from the rows.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloister.codes import CodeGrid
from cloister.dp_kmeans_plan import SPECTRAL_INITS, KMeansPlan, kmeans_plan
from cloister.dp_kmeans_seeds import Seeds
from cloister.privacy.release import Release
from cloister.seeding import Overview, counts_and_shifts, release_overview
from cloister.shrinkage import project_to_ball, scaled_to_norm

NEGLIGIBLE = 1e-3  # noise that an opened clip may add, as a share of the mean squared distance

LEAST_WITHIN = 1e-4  # of the scatter, left by centres as far as clips are concerned

SURE_COUNT, MOST_RESEEDS, RESEED_OFFSET = 0.1, 20, 0.3


class NoisyCentres(NamedTuple):
    """What the rounds of a fit leave.

    Attributes
    ----------
    centres : array of shape (classes, k, d)
    noisy_counts : array of shape (classes, k)
        Of the last round.
    count_noise : float
        Standard deviation of the noise of each.
    within : float
        Estimate of the mean squared distance of rows to their centre.
    n_rounds : int
    """

    centres: NDArray[np.float64]
    noisy_counts: NDArray[np.float64]
    count_noise: float
    within: float
    n_rounds: int


class KMeansCourse:
    """The releases of one fit, in the order of its plan.

    Parameters
    ----------
    release : Release
        Of the session at hand.
    grid : CodeGrid
        The public grid.
    mu : float
        Gaussian-DP cost of the whole fit.
    shares : mapping
        Share of mu^2 of each release.
    rng : numpy.random.Generator
        Public randomness.
    """

    def __init__(
        self,
        release: Release,
        grid: CodeGrid,
        mu: float,
        shares: Mapping[str, float],
        rng: np.random.Generator,
    ) -> None:
        self._release = release
        self._grid = grid
        self._total = mu
        self._shares = dict(shares)
        self._rng = rng

    def _mu(self, name: str) -> float:
        return self._total * sqrt(self._shares[name])

    def run(
        self,
        init: str,
        start: NDArray[np.float64] | str,
        k: int,
        n_hint: int | None,
        overrides: Mapping[str, Any] | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], int, KMeansPlan]:
        """Return centres, the last round's noisy counts, the number of rounds and the plan.

        Parameters
        ----------
        init : str
            One of `INITS`, or "array".
        start : array of shape (k, d) or str
            Public centres, or `init`.
        k : int
            Centres wanted.
        n_hint : int, optional
            Public number of rows.
        overrides : mapping, optional
            Fields of the plan that the caller fixed.
        """
        overview = release_overview(
            self._release,
            self._grid,
            self._mu("mean"),
            self._mu("scatter"),
            spectrum=init in SPECTRAL_INITS,
            n_hint=n_hint,
        )
        plan = kmeans_plan(init, overview.noisy_n, self._grid.d, k, self._total, overrides)
        found = self.centres(start, k, overview, plan, overview.mean[None])
        return found.centres[0], found.noisy_counts[0], found.n_rounds, plan

    def centres(
        self,
        start: NDArray[np.float64] | str,
        k: int,
        overview: Overview,
        plan: KMeansPlan,
        means: NDArray[np.float64],
    ) -> NoisyCentres:
        """Find and move k centres of each class.

        Parameters
        ----------
        start : array of shape (k, d) or str
            As for `run`.
        k : int
            Centres wanted of each class.
        overview : Overview
            The private Gaussian of the rows about their means.
        plan : KMeansPlan
        means : array of shape (classes, d)
            Noisy means of the classes.
        """
        centres, within = self._first_centres(start, k, overview, plan, means)
        within = max(min(within, overview.scatter), LEAST_WITHIN * overview.scatter)
        return self._rounds(centres, within, overview, means, plan)

    def _first_centres(
        self,
        start: NDArray[np.float64] | str,
        k: int,
        overview: Overview,
        plan: KMeansPlan,
        means: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], float]:
        """Return first centres and the mean squared distance that they are expected to leave."""
        seeds = Seeds(self._release, self._grid, overview, k, self._rng, means)
        if not isinstance(start, str):
            if len(start) == k:
                return start[None], overview.scatter
            return seeds.of_candidates(self._placed(start), self._mu("votes"))
        if start == "histogram":
            return seeds.of_histogram(self._mu("histogram"))
        if start == "random":
            return seeds.samples(k)[None], overview.scatter
        if plan.vote_cells == 0:
            self._leave("votes", "lift", "split")
            return seeds.of_samples()
        cells, noisy_counts, noise, spread = seeds.vote(plan.vote_cells, self._mu("votes"))
        many = (noisy_counts > plan.least_rows).sum(axis=1)
        if 2 * np.median(many) < k:  # too few for a lift
            self._leave("lift", "split")
            return seeds.of_votes(cells, noisy_counts, noise, spread)
        # Stable, as counts tie: a resumed fit must ask the same question on another processor.
        order = np.argsort(-noisy_counts, axis=1, kind="stable")
        kept = order[:, : max(int(many.max()), k)]
        cells = np.take_along_axis(cells, kept[:, :, None], axis=1)
        size = overview.noisy_n / (len(means) * cells.shape[1])
        mu = self._mu("lift")
        radius = self._radius(plan.lift_radius, spread, mu, size)
        centres, within = seeds.lift("lift", cells, radius, spread / 2, mu)
        if plan.splits == 0:
            self._leave("split")
            return centres, within
        size = overview.noisy_n / (len(means) * 2 * k)
        return self._split(seeds, centres, within, size, plan), within

    def _leave(self, *names: str) -> None:
        """Give the shares of releases that are not made to the rounds."""
        self._shares["rounds"] += sum(self._shares.pop(name) for name in names)

    def _split(
        self,
        seeds: Seeds,
        centres: NDArray[np.float64],
        within: float,
        size: float,
        plan: KMeansPlan,
    ) -> NDArray[np.float64]:
        """Ask both halves of every centre's cell for their means, and cluster these anew.

        Clusters that share a centre part where the means released before lie farthest apart, and
        the halves of one cluster are merged again.
        """
        mu = self._mu("split") / float(np.sqrt(plan.splits))
        rms = np.sqrt(within)
        radius = self._radius(plan.lift_radius, within, mu, size)
        for number in range(1, plan.splits + 1):
            offsets = plan.split_offset * rms * seeds.axes(centres)
            halves = np.concatenate([centres + offsets, centres - offsets], axis=1)
            centres, _ = seeds.lift(f"split {number}", halves, radius, 0.0, mu)
        return centres

    def _rounds(
        self,
        centres: NDArray[np.float64],
        within: float,
        overview: Overview,
        means: NDArray[np.float64],
        plan: KMeansPlan,
    ) -> NoisyCentres:
        """Move centres by noisy residual means; the radius follows the scatter left over."""
        mu = self._mu("rounds") / float(np.sqrt(plan.rounds))
        clip_norm, scatter, noiseless = self._grid.clip_norm, overview.scatter, np.isinf(mu)
        centres = self._placed(centres)
        widest = 2 * clip_norm
        for number in range(1, plan.rounds + 1):
            radius = widest if noiseless else min(plan.round_radius * sqrt(within), widest)
            on_grid = self._grid.round_centres(centres)
            tally = self._release.tally(f"round {number}", on_grid, mu, radius=radius)
            counts, shifts = counts_and_shifts(tally)
            moved = project_to_ball(self._grid.decode(on_grid) + shifts, clip_norm)
            if number <= min(MOST_RESEEDS, plan.rounds - 2) and tally.count_noise < SURE_COUNT:
                pairs = zip(moved, tally.noisy_counts, strict=True)
                moved = np.stack([self._reseeded(*pair, within) for pair in pairs])
            before, centres = centres, self._placed(moved)
            shares = counts / counts.sum()
            between = float((shares * ((moved - means[:, None]) ** 2).sum(axis=2)).sum())
            within = max(scatter - between, within / 16, LEAST_WITHIN * scatter)
            if noiseless and np.abs(centres - before).max() < self._grid.row_clip.step:
                break
        return NoisyCentres(centres, tally.noisy_counts, tally.count_noise, within, number)

    def _reseeded(
        self, means: NDArray[np.float64], noisy_counts: NDArray[np.float64], within: float
    ) -> NDArray[np.float64]:
        """Let the centres of empty cells share the fullest ones.

        Only where counts are all but exact: a centre that merely has less than its noise is worth
        more where it is than as a guess elsewhere (measured).
        """
        empty = np.flatnonzero(noisy_counts < 0.5)
        fullest = np.argsort(-noisy_counts, kind="stable")[: len(empty)]
        fullest = fullest[noisy_counts[fullest] > 1.5]
        if len(fullest) == 0:
            return means
        drawn = self._rng.standard_normal((len(fullest), self._grid.d))
        offsets = scaled_to_norm(drawn, RESEED_OFFSET * float(np.sqrt(within)))
        moved = means.copy()
        moved[empty[: len(fullest)]] = means[fullest] - offsets
        moved[fullest] = means[fullest] + offsets
        return moved

    def _radius(self, clip: float, within: float, mu: float, size: float) -> float:
        """Return a clip of residuals in units of their root-mean-square, opened up to 2 R.

        First means, of cells of `size` rows, may have noise of a small share of the mean squared
        distance that is left: the wider the clip, the farther they move.
        """
        widest = 2 * self._grid.clip_norm
        if np.isinf(mu):
            return widest
        affordable = float(np.sqrt(NEGLIGIBLE * within / self._grid.d)) * mu * size
        return float(min(max(clip * within**0.5, affordable), widest))

    def _placed(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put centres where rows can be: into the ball or, with the cosine metric, on its sphere.

        A centre at zero, as of rows that are all zero, gets a public direction.
        """
        if not self._grid.normalize:
            return project_to_ball(points, self._grid.clip_norm)
        lost = ~points.any(axis=-1, keepdims=True)
        drawn = self._rng.standard_normal(points.shape) if lost.any() else points
        return scaled_to_norm(np.where(lost, drawn, points), self._grid.clip_norm)
