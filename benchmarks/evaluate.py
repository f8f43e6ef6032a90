"""One exact judge for all peers, in float64: no figure that a peer states of itself is used."""

from dataclasses import dataclass

import numpy as np

# A float32 product of up to a few thousand terms is this close, relative to the squared norms.
# A label is exact if its centre is no farther than that beyond the nearest.
ROUNDING = 1e-5
# Centres after one step, against the exact means: float32 sums leave 1e-6 to 1e-5, labels that
# are wrong for one row in a thousand leave more than this.
STEP_ERROR = 2e-4
CELLS = 1 << 24


@dataclass
class Nearest:
    """The nearest centre of each row and the squared distance to it."""

    labels: np.ndarray
    squared: np.ndarray


def nearest(rows, centres):
    """Return the exact nearest centres: float64 products, distances of the differences."""
    centres = np.asarray(centres, np.float64)
    half_norms = 0.5 * (centres**2).sum(1)
    labels = np.empty(len(rows), np.int64)
    squared = np.empty(len(rows))
    chunk = max(1, CELLS // max(len(centres), rows.shape[1]))
    for first in range(0, len(rows), chunk):
        part = slice(first, first + chunk)
        values = np.asarray(rows[part], np.float64)
        labels[part] = (values @ centres.T - half_norms).argmax(1)
        squared[part] = ((values - centres[labels[part]]) ** 2).sum(1)
    return Nearest(labels, squared)


def wrong_labels(rows, centres, labels, exact):
    """Return the share of rows whose label is farther than float32 rounding excuses."""
    differ = np.flatnonzero(labels != exact.labels)
    values = np.asarray(rows[differ], np.float64)
    chosen = np.asarray(centres, np.float64)[labels[differ]]
    excess = ((values - chosen) ** 2).sum(1) - exact.squared[differ]
    scale = (values**2).sum(1) + (chosen**2).sum(1)
    return float((excess > ROUNDING * scale).sum() / len(rows))


def step_error(rows, before, after):
    """Return how far `after` is from the exact means of the cells of `before`.

    The mean over rows of their centre's displacement, in units of the mean distance of a row to
    its centre. About sqrt(s k / n) where a share s of labels is wrong.
    """
    cells = nearest(rows, before)
    k = len(before)
    counts = np.bincount(cells.labels, minlength=k)
    sums = np.zeros(before.shape)
    order = np.argsort(cells.labels, kind="stable")
    ends = np.cumsum(counts)
    for j in np.flatnonzero(counts):
        sums[j] = rows[order[ends[j] - counts[j] : ends[j]]].sum(0, dtype=np.float64)
    filled = counts > 0
    exact = sums[filled] / counts[filled, None]
    moved = np.linalg.norm(np.asarray(after, np.float64)[filled] - exact, axis=1)
    return float((counts[filled] * moved).sum() / np.sqrt(cells.squared).sum())
