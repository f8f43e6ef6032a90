"""Where rows lie, by counts alone: a histogram of few features, refined level by level.

Each level is a release of the counts of a whole public grid. The grids are nested, so that what a
fine level cannot tell from noise stays with the coarser cell around it.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from cloister._backend import Grid
from cloister.codes import CODE_BOUND, CodeGrid
from cloister.privacy.release import Release
from cloister.seeding import Overview

MOST_AXES = 8
# In few dimensions a cluster fills many bins of a fine grid, and noise hides it there.
FEW_AXES, FEW_AXES_BINS, BINS = 3, 2**16, 2**20
FEW_AXES_LEVELS, LEVELS = 3, 2

# A bin of the first level holds rows if it counts so many standard deviations of noise; one within
# such a bin needs fewer: there are not as many to be mistaken about.
CLEAR_AT_FIRST, CLEAR_WITHIN = 4.0, 3.0

MOST_CELLS = 2**14
"""So many cells, the fullest, are clustered."""

LITTLE = 1e-3  # weight of a second place in a cell, of its first

SPAN = 3.0  # standard deviations to either side of the mean

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Pyramid:
    """Nested public grids over integer projections of the rows; bins of a level halve each way.

    Attributes
    ----------
    directions : array of shape (axes, d)
        Orthonormal: the rows' principal axes, as far as the overview tells them.
    projections : array of shape (axes, d), int16
    origins : array of shape (axes,), int64
    width : int
        Of a bin of the finest level.
    first : array of shape (axes,), int64
        Bins of the first level.
    levels : int
    step : float
        One unit of a projection, in the unit of the rows.
    """

    directions: Floats
    projections: NDArray[np.int16]
    origins: Indices
    width: int
    first: Indices
    levels: int
    step: float

    @classmethod
    def of(cls, grid: CodeGrid, overview: Overview) -> "Pyramid":
        """Lay grids over three standard deviations about the mean, where that is in the ball."""
        axes = np.eye(grid.d) if overview.axes is None else overview.axes
        chosen = np.argsort(-overview.variances, kind="stable")[:MOST_AXES]
        directions, unit = axes[:, chosen].T, CODE_BOUND // 2
        levels = FEW_AXES_LEVELS if len(chosen) <= FEW_AXES else LEVELS
        step = grid.row_clip.step / unit
        middle, reach = directions @ overview.mean, SPAN * np.sqrt(overview.variances[chosen])
        low = np.maximum(middle - reach, -grid.clip_norm)
        high = np.minimum(middle + reach, grid.clip_norm)
        spans = np.maximum(high - low, 2**levels * step)
        first, width = _bins(spans / step, levels)
        origins = np.rint((low + high) / 2 / step).astype(np.int64)
        origins -= first * 2 ** (levels - 1) * width // 2
        projections = np.rint(directions * unit).astype(np.int16, order="C")
        return cls(directions, projections, origins, width, first, levels, step)

    def grid(self, level: int) -> Grid:
        """Return the grid of a level."""
        widths = np.full(len(self.first), self.width_of(level))
        return Grid(self.projections, self.origins, widths, self.first * 2**level)

    def width_of(self, level: int) -> int:
        """Return the width of a bin of this level."""
        return self.width << (self.levels - 1 - level)

    def centres(self, bins: Indices, level: int) -> Floats:
        """Return the middles of bins, of shape (..., axes), in the unit of the rows."""
        return np.asarray((self.origins + (bins + 0.5) * self.width_of(level)) * self.step)

    def spread(self, cells: "Cells") -> float:
        """Return the mean squared distance of rows to the points of cells, if evenly spread."""
        if len(cells.points) == 0:
            return 0.0
        squares = len(self.first) * cells.widths**2 / 12
        return float(cells.noisy_counts @ squares / cells.noisy_counts.sum())


def _bins(spans: Floats, levels: int) -> tuple[Indices, int]:
    """Return the bins of the first level and the least width with which the last is no larger."""
    most = FEW_AXES_BINS if len(spans) <= FEW_AXES else BINS
    across = 2 ** (levels - 1)
    width = float(spans.max()) / across
    first = np.ones(len(spans), np.int64)
    while width > 1:
        narrower = width / 2 ** (1 / 16)
        wanted = np.ceil(spans / (narrower * across)).astype(np.int64)
        if np.prod((wanted * across).astype(np.float64)) > most:
            break
        width, first = narrower, wanted
    return first, max(1, int(np.ceil(width)))


@dataclass(frozen=True)
class Cells:
    """Disjoint parts of the histogram that hold rows.

    Attributes
    ----------
    points : array of shape (m, axes)
    noisy_counts : array of shape (m,)
        Positive.
    widths : array of shape (m,)
        Of the bin around each.
    """

    points: Floats
    noisy_counts: Floats
    widths: Floats

    def at_least(self, size: int, rng: np.random.Generator) -> "Cells":
        """Add random places in the fullest cells, of little weight, to make so many; 0 stay 0."""
        missing, counts = size - len(self.points), self.noisy_counts
        if missing <= 0 or len(self.points) == 0:
            return self
        again = rng.choice(len(counts), missing, p=counts / counts.sum())
        offsets = rng.random((missing, self.points.shape[1])) - 0.5
        places = self.points[again] + self.widths[again, None] * offsets
        return Cells(
            np.concatenate([self.points, places]),
            np.concatenate([counts, LITTLE * counts[again]]),
            np.concatenate([self.widths, self.widths[again]]),
        )


def release_cells(release: Release, pyramid: Pyramid, mu: float) -> Cells:
    """Release the counts of all bins of each level, and keep what stands out of the noise.

    Privacy cost: mu in total, divided evenly; a count has sensitivity 1, and a row lies in one bin
    of a level.
    """
    share = mu / float(np.sqrt(pyramid.levels))
    first, noise = release.histogram("histogram 1", pyramid.grid(0), share)
    table = first[0].reshape(pyramid.first)
    bins = np.argwhere(table > CLEAR_AT_FIRST * noise)
    counts, variances = table[tuple(bins.T)], np.full(len(bins), noise**2)
    found: list[Cells] = []
    for level in range(1, pyramid.levels):
        grid = pyramid.grid(level)
        answer, noise = release.histogram(f"histogram {level + 1}", grid, share)
        table = answer[0].reshape(grid.cells)
        rest, bins, counts = _refine(pyramid, level, table, noise, (bins, counts, variances))
        variances = np.full(len(bins), noise**2)
        found.append(rest)
    last = pyramid.levels - 1
    widths = np.full(len(bins), pyramid.width_of(last) * pyramid.step)
    found.append(Cells(pyramid.centres(bins, last), counts, widths))
    return _fullest(found)


def _refine(
    pyramid: Pyramid,
    level: int,
    table: Floats,
    noise: float,
    parents: tuple[Indices, Floats, Floats],
) -> tuple[Cells, Indices, Floats]:
    """Look into the bins of the level before; return what stays with them, and clear bins within.

    What a bin counts beyond its clear parts stays with it, at the middle of the other parts by
    their counts, if that is clear itself; else it is divided among the clear parts.
    """
    bins, counts, variances = parents
    corners = np.array(list(product((0, 1), repeat=len(pyramid.first))))
    parts = 2 * bins[:, None] + corners
    values = table[tuple(np.moveaxis(parts, -1, 0))]
    clear = values > CLEAR_WITHIN * noise
    n_clear = clear.sum(axis=1)
    rest = counts - np.where(clear, values, 0.0).sum(axis=1)
    stays = (n_clear == 0) | (rest > CLEAR_WITHIN * np.sqrt(variances + n_clear * noise**2))
    stays &= n_clear < len(corners)
    weights = np.where(clear, 0.0, np.maximum(values, 0.0))
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, ~clear)[stays]
    points = (weights[..., None] * pyramid.centres(parts[stays], level)).sum(axis=1)
    points /= weights.sum(axis=1)[:, None]
    left = Cells(
        points, rest[stays], np.full(len(points), pyramid.width_of(level - 1) * pyramid.step)
    )
    divided = np.where(stays, 0.0, rest) / np.maximum(n_clear, 1)
    return left, parts[clear], np.maximum(values + divided[:, None], noise)[clear]


def _fullest(found: list[Cells]) -> Cells:
    points = np.concatenate([cells.points for cells in found])
    counts = np.concatenate([cells.noisy_counts for cells in found])
    widths = np.concatenate([cells.widths for cells in found])
    kept = np.argsort(-counts, kind="stable")[:MOST_CELLS]
    return Cells(points[kept], counts[kept], widths[kept])
