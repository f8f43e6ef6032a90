"""k-means at the speed of the machine. Not private: see DPKMeans for that."""
# mypy: allow-subclassing-any

import math
import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cloister._backend import DeviceArray, on_host, resolve_devices
from cloister.assignment import Assignment
from cloister.centred_rows import Array, CentredRows, checked_variance, is_ready
from cloister.device_centred_rows import checked_on_device, placed_on
from cloister.errors import InvalidInput, InvalidType
from cloister.kmeans_parameters import STARTS, number_of_runs
from cloister.kmeans_streamed import assigned, fit_codes, resident_or_source, transformed
from cloister.lloyd import lloyd
from cloister.parameters import check_flag
from cloister.sample_weight import check_sample_weight, refuse_weights
from cloister.sources import returned_like


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """k-means by Lloyd's algorithm. It gives no privacy: its results are functions of single rows.

    Drop-in for `sklearn.cluster.KMeans` on dense data. Distances are taken in float32, relative to
    the mean of the training rows, so that data far from the origin loses nothing; sums are exact
    integers. Results are therefore the same bits for any number of threads and any instruction set.
    float32 C-contiguous input is not copied; any other is converted once, to float32 relative to
    the mean.

    Of rows that are not resident (memory maps, file names and patterns, pyarrow objects, iterables
    of batches: see `cloister.sources.as_source`) the int16 codes are clustered: rows about their
    mean, in steps of 2^-14 of the farthest one's distance. `labels_` and `inertia_` are of the rows
    themselves. An iterator that can be read only once is gathered in memory first.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k, at most the number of rows.
    init : {"k-means++", "k-means||", "random"} or array of shape (n_clusters, d)
        By default greedy k-means++ over all rows, whatever k. With thousands of clusters and far
        more rows "k-means||" is faster: 5 rounds draw about k / 2 candidates each, of which
        weighted k-means++ keeps k (Bahmani et al. 2012). Or distinct random rows, or the centres.
    n_init : int or "auto", default="auto"
        Number of runs from different initial centres, of which the one with the smallest
        inertia is kept. "auto" is 10 for ``init="random"`` and 1 otherwise.
    max_iter : int, default=300
        Most iterations of one run.
    tol : float, default=1e-4
        A run ends when the squared movements of its centres add up to at most `tol` times the
        mean variance of the features.
    metric : {"euclidean", "cosine"}, default="euclidean"
        With "cosine" rows are scaled to unit length (a float32 copy) and centres are too after
        each iteration: spherical k-means (Dhillon and Modha 2001).
    cache : bool, default=True
        Keep such codes (2 n d bytes), or read anew for each iteration and k-means++ centre.
    device : {"cpu", "cuda", "cuda:0", "auto"}, default="cpu"
        Where distances are taken, with the same bits: the processor, the first GPU, that GPU, or
        a GPU if there is one. Larger rows than it holds are streamed. float32 arrays on it stay.
    random_state : int, RandomState or None, default=None
        Seeds the choice of initial centres.

    Attributes
    ----------
    cluster_centers_ : float64 array of shape (n_clusters, d)
        Means of the clusters; unit vectors with the cosine metric.
    labels_ : int32 array of shape (n,)
        Nearest centre of each training row, ties to the smallest: what `predict` returns. Of rows
        on a GPU these are their library's, and there; all else is numpy's.
    inertia_ : float
        Sum of squared distances to the nearest centre; with the cosine metric, of one minus
        the cosine.
    n_iter_ : int
        Iterations of the best run.
    n_features_in_ : int
        Number of features d seen by `fit`.

    Raises
    ------
    InvalidInput
        A ValueError: a parameter or array out of range, NaN or infinity, fewer rows than
        clusters, a zero row with the cosine metric, values that float32 cannot square.
    InvalidType
        A TypeError: a parameter or array of a type that is not accepted.

    Examples
    --------
    >>> import numpy as np
    >>> from cloister.kmeans import KMeans
    >>> KMeans(2, random_state=0).fit_predict(np.array([[0.0], [0.1], [5.0]])).tolist()
    [0, 0, 1]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | npt.ArrayLike = "k-means++",
        n_init: int | str = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        metric: str = "euclidean",
        cache: bool = True,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.metric = metric
        self.cache = cache
        self.device = device
        self.random_state = random_state

    def fit(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Find the clusters of `X`.

        Parameters
        ----------
        X : array of shape (n, d)
            Real numbers; float16, float32, float64 or integers. Memory maps and files stay on disk.
        y : ignored
        sample_weight : array of shape (n,), optional
            At least 0: a row of weight 2 counts as two rows, one of weight 0 as none, but for the
            tolerance (as in scikit-learn). Below 2^-50 of the largest, weights count as 0.

        Returns
        -------
        self
        """
        n_init, given = number_of_runs(self), X
        devices = resolve_devices(self.device)
        X, source = resident_or_source(X, cache=check_flag("cache", self.cache), devices=devices)
        if source is not None:
            refuse_weights(sample_weight)
            self._warn_of_duplicates(fit_codes(self, X, source, n_init, devices))
            return self
        data = self._validated(X, reset=True)
        if len(data) < self.n_clusters:
            raise InvalidInput(
                f"n_samples={len(data)} should be >= n_clusters={self.n_clusters}: "
                "pass more rows or ask for fewer clusters"
            )
        weights = check_sample_weight(sample_weight, len(data))
        random_state = check_random_state(self.random_state)
        is_cosine = self.metric == "cosine"
        if is_cosine:
            rows, mean = CentredRows.on_sphere(on_host(data)), np.zeros(data.shape[1])
        else:
            rows, mean = CentredRows.around_mean(data)
        self._shift = mean.astype(np.float32)
        rows = placed_on(devices, rows).with_codes(self.n_clusters)
        tolerance = self.tol * _mean_variance(rows, (mean - self._shift).astype(np.float32))

        options: dict[str, Any] = {"max_iter": self.max_iter, "tolerance": tolerance}
        best = math.inf
        for _ in range(n_init):
            start = self._initial_centres(rows, random_state, weights)
            assignment = Assignment(rows, self.n_clusters, weights)
            result = lloyd(assignment, start, on_sphere=is_cosine, **options)
            centres = result.centres + self._shift
            distances = np.empty(len(rows))
            assignment.update(self._near(centres), distances)
            inertia = self._inertia(distances, weights)
            if inertia < best:
                best = inertia
                self.cluster_centers_ = centres
                labels, self.n_iter_ = assignment.labels, result.n_iter
        self.labels_: Any
        self.labels_, self.inertia_ = returned_like(given, labels), best
        self._warn_of_duplicates(labels)
        return self

    def predict(self, X: npt.ArrayLike) -> Any:
        """Return the nearest centre of each row, an int32 array of shape (n,)."""
        return returned_like(X, assigned(self, X)[0])

    def transform(self, X: npt.ArrayLike) -> Any:
        """Return the distance of each row to each centre, float32 of shape (n, n_clusters).

        With the cosine metric this is one minus the cosine, otherwise the Euclidean distance.
        """
        return returned_like(X, transformed(self, X))

    def score(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Return minus what `inertia_` would be on the rows of `X` and these weights."""
        return -assigned(self, X, sample_weight)[1]

    def _distances(self, rows: CentredRows) -> Array:
        distances = np.empty((len(rows), len(self.cluster_centers_)), np.float32)
        rows.all_distances(self._near(self.cluster_centers_), distances)
        if self.metric == "cosine":  # of unit vectors: |x - c|^2 = 2 - 2 cos
            distances *= np.float32(0.5)
            return distances
        return np.sqrt(distances, out=distances)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _validated(self, X: npt.ArrayLike | DeviceArray, *, reset: bool) -> Any:
        if isinstance(X, DeviceArray):
            return checked_on_device(self, X, reset=reset)
        accepted = [np.float64, np.float32, np.float16]
        # Where rows are not scaled, such ones are read once, by the kernel that finds their spread.
        is_checked = self.metric != "cosine" and isinstance(X, np.ndarray) and is_ready(X)
        try:
            data: Array = validate_data(
                self, X, reset=reset, dtype=accepted, ensure_all_finite=not is_checked
            )
        except TypeError as error:
            raise InvalidType(str(error)) from error
        except ValueError as error:
            raise InvalidInput(str(error)) from error
        return data

    def _rows(self, data: Any) -> CentredRows:
        is_cosine = self.metric == "cosine"
        on_sphere, around = CentredRows.on_sphere, CentredRows.around
        rows = on_sphere(on_host(data)) if is_cosine else around(data, self._shift)
        return placed_on(resolve_devices(self.device), rows)

    def _fitted_rows(self, X: npt.ArrayLike) -> CentredRows:
        check_is_fitted(self)
        return self._rows(self._validated(X, reset=False))

    def _near(self, centres: Array) -> Array:
        return (centres - self._shift).astype(np.float32)

    def _initial_centres(
        self, rows: CentredRows, random_state: np.random.RandomState, weights: Array | None
    ) -> Array:
        if isinstance(self.init, str):
            choose = STARTS[self.init]
            return rows.take(choose(rows, self.n_clusters, random_state, weights))
        try:
            centres = np.asarray(self.init, np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidType(f"init must be a numeric array: {error}") from error
        expected = (self.n_clusters, self.n_features_in_)
        if centres.shape != expected:
            raise InvalidInput(f"init has shape {centres.shape}, but (n_clusters, d) is {expected}")
        if not np.isfinite(centres).all():
            raise InvalidInput("init contains NaN or infinity: pass finite centres")
        if self.metric == "cosine":
            return on_host(CentredRows.on_sphere(centres, "init").values)
        return on_host(CentredRows.around(centres, self._shift, "init").values)

    def _assign(self, rows: CentredRows, centres: Array) -> tuple[Array, Array]:
        """Return labels and squared distances, for fit and predict alike."""
        labels = np.empty(len(rows), np.int32)
        distances = np.empty(len(rows))
        rows.nearest(self._near(centres), labels=labels, distances=distances)
        return labels, distances

    def _inertia(self, distances: Array, weights: Array | None) -> float:
        total = distances.sum() if weights is None else (distances * weights).sum()
        return float(total) * (0.5 if self.metric == "cosine" else 1.0)

    def _warn_of_duplicates(self, labels: Array) -> None:
        found = np.count_nonzero(np.bincount(labels))
        if found < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({found}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=3,
            )


def _mean_variance(rows: CentredRows, mean: Array) -> float:
    """Return the mean over the features of their variances, about a mean of shape (d,)."""
    distances = np.empty(len(rows))
    rows.nearest(mean[None, :], distances=distances)
    return checked_variance(float(distances.mean()) / rows.values.shape[1])
