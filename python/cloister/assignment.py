"""The nearest centre of every row, kept from one iteration to the next so that each costs less."""

import numpy as np

from cloister import _backend
from cloister.centred_rows import Array, CentredRows
from cloister.sample_weight import weight_scales

# With fewer centres a row's list costs as much as all of them do: measured, d = 128 and 512.
_FEWEST_CENTRES = 256
_LIST_LENGTHS = ((2048, 16),)  # up to this many centres, so long; beyond, 24
_CENTRES_PER_MOVER = 32
_MOST_CALLS = 64  # whose lists are in use at a time
# Bounds must hold in float32 and float64 arithmetic alike.
_SAFE = 1 + 1e-6


class Assignment:
    """Labels of all rows, with the exact sums and counts of their clusters.

    Each call of `update` moves rows between sums, exactly, and learns for each row which centres
    are near it, so that later calls need not look at the others. No result depends on that.

    Attributes
    ----------
    rows : CentredRows
    labels : int32 array of shape (n,)
        Nearest centre of each row; a copy, if the rows lie on a device.
    sums : int64 array of shape (k, d)
        ``rint(point * weight * sum_scale)`` added up.
    counts : int64 array of shape (k,)
        ``rint(weight * count_scale)`` added up.
    sum_scale, count_scale : float
        Powers of two.
    recalled : int
        Rows that the last update settled without looking at all centres.
    """

    def __init__(self, rows: CentredRows, n_clusters: int, weights: Array | None = None) -> None:
        self.rows, self._weights, self._placed_weights = rows, weights, rows.placed(weights)
        self.sum_scale, self.count_scale = rows.sum_scale, 1.0
        if weights is not None:
            self.sum_scale, self.count_scale = weight_scales(rows.spread, weights)
        self._labels = rows.zeros(np.int32)
        self.sums = np.zeros((n_clusters, rows.values.shape[1]), np.int64)
        self.counts = np.zeros(n_clusters, np.int64)
        self._centres: Array | None = None
        self.recalled = 0
        self._history = _History(len(rows), n_clusters) if _makes_lists(rows, n_clusters) else None

    @property
    def labels(self) -> Array:
        """Nearest centre of each row."""
        return _backend.on_host(self._labels)

    def update(self, centres: Array, distances: Array | None = None) -> int:
        """Assign each row to the nearest of `centres`, float32; return how many rows moved.

        `distances`, a float64 array of shape (n,), receives their squared distances.
        """
        is_first = self._centres is None
        recollection = None
        if self._history is not None:
            recollection = self._history.next_call(self._centres, centres)
        changes = self.rows.nearest(
            centres,
            labels=self._labels,
            distances=distances,
            sums=self.sums,
            counts=self.counts,
            weights=self._placed_weights,
            sum_scale=self.sum_scale,
            count_scale=self.count_scale,
            recollection=recollection,
            updates=not is_first,
        )
        self.recalled = changes.recalled
        if self._history is not None:
            self._history.learn(changes.recalled)
        self._centres = centres
        return changes.moved

    def distances(self, centres: Array) -> Array:
        """Return squared distances to the nearest of `centres`; 0 where a row has no weight."""
        distances = np.empty(len(self.rows))
        self.rows.nearest(centres, distances=distances)
        if self._weights is not None:
            distances[np.rint(self._weights * self.count_scale) == 0] = 0
        return distances

    def added(self, indices: Array) -> tuple[Array, Array]:
        """Return what some rows add to sums and to counts, as the kernel rounds it."""
        weights = np.ones(len(indices)) if self._weights is None else self._weights[indices]
        points = self.rows.take(indices).astype(np.float64) * weights[:, None] * self.sum_scale
        masses = np.rint(weights * self.count_scale)
        return np.rint(points).astype(np.int64), masses.astype(np.int64)


def _makes_lists(rows: CentredRows, n_clusters: int) -> bool:
    most = _backend.MAX_LISTED_CENTRES
    return rows.screened is not None and _FEWEST_CENTRES <= n_clusters <= most


class _History:
    """Lists of neighbours, how far centres have moved since they were made, and when to make some.

    Lists pay once centres move less than the rows are apart: where they fail they are made again
    after two, four, eight ... calls.
    """

    def __init__(self, n: int, n_clusters: int) -> None:
        length = next((long for k, long in _LIST_LENGTHS if n_clusters <= k), 24)
        self._neighbours = _backend.Neighbours.empty(n, length)
        self._n = n
        self._movers = n_clusters // _CENTRES_PER_MOVER
        self._path = np.zeros(n_clusters)  # length of each centre's path so far
        self._made: dict[int, Array] = {}  # the same when lists were made, by call
        self._call = -1
        self._first_build, self._pause = 2, 1
        self._recalls = self._builds = False

    def next_call(self, previous: Array | None, centres: Array) -> _backend.Recollection | None:
        """Return what the call with `centres`, after one with `previous`, needs to know."""
        self._call += 1
        if previous is not None:
            step = centres.astype(np.float64) - previous
            self._path = self._path + np.sqrt(np.einsum("ij,ij->i", step, step)) * _SAFE
        self._recalls, self._builds = bool(self._made), self._call >= self._first_build
        if self._call > _backend.MAX_CALLS:
            self._recalls = self._builds = False
            return None
        # Lists of calls that are forgotten hold for no distance.
        moved, all_moved = np.full((2, self._call), np.inf)
        movers = np.empty(0, np.int32)
        if self._recalls:
            calls = list(self._made)
            since = self._path - np.stack(list(self._made.values()))
            all_moved[calls] = since.max(axis=1)
            order = np.argsort(since[0])
            movers = order[len(order) - self._movers :].astype(np.int32)
            since[:, movers] = 0
            moved[calls] = since.max(axis=1)
        if self._builds:
            self._made[self._call] = self._path
            if len(self._made) > _MOST_CALLS:
                del self._made[min(self._made)]
        return _backend.Recollection(
            self._neighbours, moved, all_moved, movers, recalls=self._recalls, builds=self._builds
        )

    def learn(self, recalled: int) -> None:
        """Decide when to make lists again, from the number of rows that they settled."""
        if self._recalls and recalled * 8 < self._n:
            self._made.clear()
            self._pause *= 2
            self._first_build = self._call + self._pause
            self._neighbours.calls.fill(-1)
