"""Initial centres for the non-private k-means, read off the rows themselves."""

import math
from typing import Any, Protocol

import numpy as np

from cloister import _backend
from cloister._backend import CANDIDATE_BLOCK
from cloister.centred_rows import Array, CentredRows
from cloister.errors import InvalidInput


class Rows(Protocol):
    """Points of shape (n, d), wherever they are kept."""

    def __len__(self) -> int: ...

    def take(self, indices: Array) -> Array:
        """Return points as a float32 array of shape (len(indices), d)."""
        ...

    def nearest(self, centres: Array, *, labels: Array, distances: Array) -> object:
        """Fill in the nearest centre of each row, and its squared distance."""
        ...


def plus_plus(
    rows: CentredRows,
    n_clusters: int,
    random_state: np.random.RandomState,
    weights: Array | None = None,
) -> Array:
    """Choose rows far from each other by greedy k-means++.

    Each next centre is the best of ``2 + floor(log k)`` candidates, drawn with probability
    proportional to the weighted squared distance to the nearest centre so far (Arthur and
    Vassilvitskii 2007, section 5). All rows take part: there is no subsampling. The draws are made
    as scikit-learn makes them, so that the same `random_state` usually gives the same rows.

    Parameters
    ----------
    rows : CentredRows of shape (n, d)
    n_clusters : int
        At most n.
    random_state : numpy.random.RandomState
        One uniform number is drawn for the first centre, and one for each candidate.
    weights : float64 array of shape (n,), optional
        At least 0, with a finite sum above 0. Rows of weight 0 are never chosen.

    Returns
    -------
    int64 array of shape (n_clusters,)
        Indices of the chosen rows. They repeat if there are fewer different rows.
    """
    trials = 2 + int(math.log(n_clusters))
    candidates = _Candidates(rows, trials, weights)
    chosen = np.empty(n_clusters, np.int64)
    chosen[0] = first = _first_row(len(rows), weights, random_state.uniform())
    drawn, best = np.array([first]), 0
    potentials = candidates.potentials(drawn, -1)
    for j in range(1, n_clusters):
        uniform = random_state.uniform(size=trials)
        drawn = candidates.draw(uniform, potentials[:, best], best, otherwise=first)
        potentials = candidates.potentials(drawn, best)
        best = int(potentials.sum(axis=0).argmin())
        chosen[j] = drawn[best]
    return chosen


def random_rows(
    rows: Rows,
    n_clusters: int,
    random_state: np.random.RandomState,
    weights: Array | None = None,
) -> Array:
    """Choose different rows one after the other, each in proportion to its weight.

    Parameters and return value are those of `plus_plus`; the draws are scikit-learn's.

    Raises
    ------
    InvalidInput
        If fewer than `n_clusters` rows have a weight above 0.
    """
    masses = np.ones(len(rows)) if weights is None else weights
    available = int(np.count_nonzero(masses))
    if available < n_clusters:
        raise InvalidInput(
            f"init='random' needs n_clusters={n_clusters} rows of weight above 0, got {available}: "
            "ask for fewer clusters"
        )
    share = masses / masses.sum()
    return random_state.choice(len(rows), n_clusters, replace=False, p=share)


class _Candidates:
    """What candidates for the next centre would make of the squared distances of all rows."""

    def __init__(self, rows: CentredRows, trials: int, weights: Array | None) -> None:
        self._rows, self._weights, self._placed = rows, weights, rows.placed(weights)
        self._state = rows.closest_state(trials)
        screened = rows.screened
        self._squares = None if screened is None else _backend.code_squares(screened)

    def potentials(self, indices: Array, accepted: int) -> Array:
        """Make a centre of the last candidate number `accepted`, and rows the next candidates.

        Returns, for each block of rows and candidate, the weighted sum of squared distances to the
        nearest centre if the candidate were one.
        """
        return self._rows.closest(
            self._rows.take(indices),
            self._state,
            accepted=accepted,
            weights=self._placed,
            squares=self._squares,
        )

    def draw(self, uniform: Array, sums: Array, accepted: int, otherwise: int) -> Array:
        """Draw a row for each uniform number, in proportion to their potentials.

        `sums` are those of blocks of rows, so that only the blocks that are hit are looked into.
        Where all potentials are zero, `otherwise` is drawn.
        """
        ends = np.cumsum(sums)
        aims = uniform * ends[-1]
        blocks = _first_above(ends, sums, aims)
        drawn = np.full(len(uniform), otherwise, np.int64)
        for i, (block, aim) in enumerate(zip(blocks, aims, strict=True)):
            here = slice(block * CANDIDATE_BLOCK, (block + 1) * CANDIDATE_BLOCK)
            masses = self._state.accepted(here, accepted).astype(np.float64)
            if self._weights is not None:
                masses *= self._weights[here]
            if ends[-1] > 0:
                rest = aim - (ends[block - 1] if block else 0.0)
                drawn[i] = here.start + _first_above(np.cumsum(masses), masses, rest)
        return drawn


def _first_row(n: int, weights: Array | None, uniform: float) -> int:
    if weights is None:
        return min(int(uniform * n), n - 1)
    ends = np.cumsum(weights)
    return int(_first_above(ends, weights, uniform * ends[-1]))


def _first_above(ends: Array, masses: Array, aims: Any) -> Any:
    """Return the first place whose cumulative sum is above the aim, for each aim.

    An aim that rounding has moved to the end gets the last place with a mass.
    """
    places = np.searchsorted(ends, aims, side="right")
    last = len(masses) - 1 - int(np.argmax(masses[::-1] > 0))
    return np.minimum(places, last)
