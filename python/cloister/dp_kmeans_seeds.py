"""First centres of a private k-means: from public samples, votes of the rows, a histogram.

A `Release` answers with noise; what is made of the answers is post-processing.
"""

import numpy as np
from numpy.typing import NDArray

from cloister._backend import Grid
from cloister.codes import CODE_BOUND, CodeGrid
from cloister.privacy.release import Release
from cloister.seeding import SAMPLES_PER_CENTRE, Overview, cluster_samples, counts_and_shifts
from cloister.shrinkage import project_to_ball
from cloister.weighted_kmeans import weighted_kmeans

SAMPLES_PER_CELL = 10
SEED_SAMPLES = 10_000
RESTARTS = 10  # of k-means on released means: free but for time
HISTOGRAM_AXES = 3
HISTOGRAM_BINS = 4096


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

    def of_samples(self) -> tuple[NDArray[np.float64], float]:
        """Cluster public samples of the private Gaussian."""
        size = max(SEED_SAMPLES, SAMPLES_PER_CENTRE * self._k)
        centres, spread = cluster_samples(self.samples(size), self._k, self._rng)
        return self._in_classes(centres), spread

    def vote(
        self, cells: int, mu: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
        """Count the rows near each of many public points: k-means centres of public samples.

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
        points, spread = cluster_samples(
            self.samples(SAMPLES_PER_CELL * cells), cells, self._rng, init="random", max_iter=3
        )
        on_grid = self._grid.round_centres(self._in_classes(points))
        noisy_counts, noise = self._release.counts("votes", on_grid, mu)
        return self._grid.decode(on_grid), noisy_counts, noise, spread

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
            kept = np.argsort(-counts)[: max(self._k, int(n_clear))]
            weights = np.maximum(counts[kept], 1e-3 * max(float(counts.max()), 1.0))
            found, left = weighted_kmeans(some[kept], weights, self._k, self._rng, n_init=RESTARTS)
            centres.append(found)
            inertia, total = inertia + left, total + float(weights.sum())
        return np.stack(centres), float(inertia / total + within)

    def of_histogram(self, mu: float) -> tuple[NDArray[np.float64], float]:
        """Cluster public points drawn from a noisy histogram over a few random directions.

        The grid spans three standard deviations about the noisy mean; counts have sensitivity 1.
        Bins below twice their noise are dropped. In more than three dimensions the other
        coordinates are those of the mean.
        """
        grid, overview = self._grid, self._overview
        axes = min(grid.d, HISTOGRAM_AXES)
        directions = np.linalg.qr(self._rng.standard_normal((grid.d, axes)))[0].T
        cells = round(HISTOGRAM_BINS ** (1 / axes))
        unit = CODE_BOUND // 2
        projections = np.rint(directions * unit).astype(np.int16, order="C")
        steps = unit / grid.row_clip.step  # grid units of a projection in one unit of the rows
        half_width = 3 * np.sqrt(overview.scatter / axes)
        width = max(1, round(2 * half_width * steps / cells))
        centre = np.rint(directions @ overview.mean * steps).astype(np.int64)
        origins = centre - cells * width // 2
        public_grid = Grid(projections, origins, np.full(axes, width), np.full(axes, cells))
        noisy_counts, noise = self._release.histogram("histogram", public_grid, mu)
        weights = np.where(noisy_counts[0] > 2 * noise, noisy_counts[0], 0.0)
        if not weights.any():
            weights = np.maximum(noisy_counts[0], 1.0)
        size = max(SEED_SAMPLES, SAMPLES_PER_CENTRE * self._k)
        chosen = self._rng.choice(len(weights), size=size, p=weights / weights.sum())
        places = np.stack(np.unravel_index(chosen, (cells,) * axes), axis=1)
        positions = (origins + (places + self._rng.random(places.shape)) * width) / steps
        offsets = positions - directions @ overview.mean
        points = project_to_ball(overview.mean + offsets @ directions, grid.clip_norm)
        # Restarts are free.
        centres, spread = cluster_samples(points, self._k, self._rng, n_init=10)
        return self._in_classes(centres), spread
