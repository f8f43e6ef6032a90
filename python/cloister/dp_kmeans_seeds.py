"""First centres of a private k-means: from public samples, votes of the rows, a histogram.

A `Release` answers with noise; what is made of the answers is post-processing.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits

from cloister.codes import CodeGrid
from cloister.dp_kmeans_histogram import Pyramid, release_cells
from cloister.privacy.release import Release
from cloister.seeding import SAMPLES_PER_CENTRE, Overview, cluster_samples, counts_and_shifts
from cloister.shrinkage import project_to_ball
from cloister.weighted_kmeans import weighted_kmeans

SAMPLES_PER_CELL = 10
SEED_SAMPLES = 10_000
CONE_RADIUS = 0.1  # of such points, in root-mean-square distances of rows
CELL_SAMPLES = 4  # a centre, beside the cells of a histogram
UNACCOUNTED = 0.2  # share of the rows that a histogram may fail to place
RESTARTS = 10  # of k-means on released means: free but for time


class Seeds:
    """Ways to k first centres a class; each returns them with the mean squared distance they leave.

    Classes have one private Gaussian, about means of their own; public points are the same in all.

    Parameters
    ----------
    release : Release
        Of the session at hand.
    grid : CodeGrid
        The public grid.
    overview : Overview
        What the first releases said.
    k : int
        Centres wanted of each class.
    rng : numpy.random.Generator
        Public randomness.
    means : array of shape (classes, d)
        Noisy means of the classes; that of the overview where there is one class.
    """

    def __init__(
        self,
        release: Release,
        grid: CodeGrid,
        overview: Overview,
        k: int,
        rng: np.random.Generator,
        means: NDArray[np.float64],
    ) -> None:
        self._release = release
        self._grid = grid
        self._overview = overview
        self._k = k
        self._rng = rng
        self._shifts = means - overview.mean
        self._lifted: tuple[NDArray[np.float64], NDArray[np.float64]]

    def samples(self, size: int) -> NDArray[np.float64]:
        """Draw public points from the private Gaussian, inside the ball."""
        return project_to_ball(self._overview.sample(size, self._rng), self._grid.clip_norm)

    def _in_classes(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Carry public points (m, d) about the overall mean to every class: (classes, m, d)."""
        return project_to_ball(points + self._shifts[:, None], self._grid.clip_norm)

    def directions(self, size: int) -> NDArray[np.float64]:
        """Draw public unit vectors, likelier where the rows vary more."""
        drawn = self._overview.sample(size, self._rng) - self._overview.mean
        norms = np.linalg.norm(drawn, axis=1, keepdims=True)
        return np.asarray(drawn / np.maximum(norms, np.finfo(np.float64).tiny))

    def axes(self, centres: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a direction for each centre in which the last released means about it differ most.

        Clusters that share a centre lie apart in that direction; where there are not two means to
        tell it, the direction is drawn.
        """
        found = np.broadcast_to(self.directions(centres.shape[1]), centres.shape).copy()
        # One thread: a resumed fit must ask the same question.
        with threadpool_limits(1):
            for own, directions, points, weights in zip(centres, found, *self._lifted, strict=True):
                nearest = euclidean_distances(points, own, squared=True).argmin(axis=1)
                for j in np.flatnonzero(np.bincount(nearest, minlength=len(own)) > 1):
                    some = nearest == j
                    mean = np.average(points[some], axis=0, weights=weights[some])
                    spread = (points[some] - mean) * np.sqrt(weights[some])[:, None]
                    directions[j] = np.linalg.svd(spread, full_matrices=False)[2][0]
        return found

    def of_samples(self) -> tuple[NDArray[np.float64], float]:
        """Cluster public samples of the private Gaussian."""
        size = max(SEED_SAMPLES, SAMPLES_PER_CENTRE * self._k)
        centres, spread = cluster_samples(self.samples(size), self._k, self._rng)
        return self._in_classes(centres), spread

    def vote(
        self, cells: int, mu: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
        """Count the rows near each of many public points: k-means centres of public samples.

        Where no spectrum was released they are equally far from the mean, in random directions: in
        so many dimensions all rows would be nearest to the sample that is nearest to the mean.

        A count alone has sensitivity 1 and tells which few of many cells hold the rows.

        Returns
        -------
        points : array of shape (classes, cells, d)
        noisy_counts : array of shape (classes, cells)
        noise : float
            Standard deviation of the noise of a count.
        spread : float
            Mean squared distance of a public sample to its point.
        """
        overview = self._overview
        if overview.axes is None:
            offsets = CONE_RADIUS * np.sqrt(overview.scatter) * self.directions(cells)
            points = project_to_ball(overview.mean + offsets, self._grid.clip_norm)
            return *self._voted(points, mu), (1 + CONE_RADIUS**2) * overview.scatter
        points, spread = cluster_samples(
            self.samples(SAMPLES_PER_CELL * cells), cells, self._rng, init="random", max_iter=3
        )
        return *self._voted(points, mu), spread

    def _voted(
        self, points: NDArray[np.float64], mu: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        on_grid = self._grid.round_centres(self._in_classes(points))
        noisy_counts, noise = self._release.counts("votes", on_grid, mu)
        return self._grid.decode(on_grid), noisy_counts, noise

    def of_votes(
        self,
        points: NDArray[np.float64],
        noisy_counts: NDArray[np.float64],
        noise: float,
        spread: float,
    ) -> tuple[NDArray[np.float64], float]:
        """Cluster the points of a vote, weighted by what their counts have beyond their noise."""
        left = noisy_counts - noise
        return self._cluster(points, left, (left > 0).sum(axis=1), spread)

    def of_candidates(
        self, candidates: NDArray[np.float64], mu: float
    ) -> tuple[NDArray[np.float64], float]:
        """Let the rows vote on public points, more than k, and cluster these by their votes."""
        points, noisy_counts, noise = self._voted(candidates, mu)
        weights = np.maximum(noisy_counts[0] - noise, 1e-3)
        squared = ((points[0] - self._overview.mean) ** 2).sum(axis=1)
        between, scatter = float(weights @ squared / weights.sum()), self._overview.scatter
        return self.of_votes(points, noisy_counts, noise, max(scatter - between, scatter / 16))

    def lift(
        self, name: str, cells: NDArray[np.float64], radius: float, within: float, mu: float
    ) -> tuple[NDArray[np.float64], float]:
        """Release the counts and means of public cells, then cluster the means by the counts.

        Parameters
        ----------
        name : str
            Of the release.
        cells : array of shape (classes, m, d)
            Public points, at least k a class.
        radius : float
            Clip of residuals.
        within : float
            Mean squared distance expected of a row to the mean of its cell.
        mu : float
            Gaussian-DP cost.
        """
        clip_norm = self._grid.clip_norm
        on_grid = self._grid.round_centres(cells)
        tally = self._release.tally(name, on_grid, mu, radius=min(radius, 2 * clip_norm))
        _, shifts = counts_and_shifts(tally)
        points = project_to_ball(self._grid.decode(on_grid) + shifts, clip_norm)
        noisy_counts = tally.noisy_counts
        clear = (noisy_counts > 2 * tally.count_noise).sum(axis=1)
        self._lifted = points, np.maximum(noisy_counts, 1.0)
        return self._cluster(points, noisy_counts, clear, within)

    def _cluster(
        self,
        points: NDArray[np.float64],
        noisy_counts: NDArray[np.float64],
        clear: NDArray[np.int64],
        within: float,
    ) -> tuple[NDArray[np.float64], float]:
        """Cluster the points of the `clear` largest counts a class: the others are only noise."""
        centres, inertia, total = [], 0.0, 0.0
        for some, counts, n_clear in zip(points, noisy_counts, clear, strict=True):
            kept = np.argsort(-counts, kind="stable")[: max(self._k, int(n_clear))]
            weights = np.maximum(counts[kept], 1e-3 * max(float(counts.max()), 1.0))
            found, left = weighted_kmeans(some[kept], weights, self._k, self._rng, n_init=RESTARTS)
            centres.append(found)
            inertia, total = inertia + left, total + float(weights.sum())
        return np.stack(centres), float(inertia / total + within)

    def of_histogram(self, mu: float) -> tuple[NDArray[np.float64], float]:
        """Cluster the cells of a histogram of few features that hold rows, refined level by level.

        Rows that the cells leave unaccounted for are where the private Gaussian has them. Beyond
        `MOST_AXES` dimensions the other coordinates of a cell are those of the mean.
        """
        overview, clip_norm = self._overview, self._grid.clip_norm
        pyramid = Pyramid.of(self._grid, overview)
        cells = release_cells(self._release, pyramid, mu).at_least(self._k, self._rng)
        directions, weights = pyramid.directions, cells.noisy_counts
        points = overview.mean + (cells.points - directions @ overview.mean) @ directions
        outside = float(np.sort(overview.variances)[: -len(directions)].sum())
        spread = outside + pyramid.spread(cells)
        elsewhere = overview.noisy_n - weights.sum()
        if elsewhere > UNACCOUNTED * overview.noisy_n or len(points) < self._k:
            samples = self.samples(CELL_SAMPLES * self._k)
            share = max(elsewhere, 1.0) / len(samples)
            points = np.concatenate([points, samples])
            weights = np.concatenate([weights, np.full(len(samples), share)])
        points = project_to_ball(points, clip_norm)
        centres, inertia = weighted_kmeans(points, weights, self._k, self._rng, n_init=RESTARTS)
        return self._in_classes(centres), float(inertia / weights.sum() + spread)
