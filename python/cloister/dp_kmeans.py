"""Differentially private k-means."""

from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin

from cloister.codes import MAX_FEATURES, CodeGrid
from cloister.dp_kmeans_fit import KMeansCourse
from cloister.dp_kmeans_labels import LabelledModel
from cloister.dp_kmeans_parameters import (
    check_size,
    check_statement,
    checked_counts,
    checked_metric,
    kind_of_init,
    plan_overrides,
    public_start,
)
from cloister.dp_kmeans_plan import KMeansPlan, checked_shares, kmeans_plan
from cloister.model_file import model_array, model_value
from cloister.parameters import check_flag, check_integer, feature_attributes, set_features
from cloister.plans import MOST_ROWS
from cloister.privacy.plain_values import public_parameters
from cloister.privacy.session import (
    PrivacyParameters,
    private_session,
    public_seed,
    state_guarantee,
)
from cloister.sources import as_source, encode_labels, require_rereadable, with_features


class DPKMeans(LabelledModel, ClusterMixin, BaseEstimator):
    """k-means under (epsilon, delta)-differential privacy.

    The rows are only ever asked for counts and clipped residual sums of public cells, with noise:
    first as a whole (mean, second moment), then by many cells drawn from what that says, then in
    rounds that move k centres.

    Parameters
    ----------
    n_clusters : int, default=8
    epsilon, delta : float, default=1.0 and 1e-5
        The whole budget of `fit`, exact Gaussian DP. `epsilon=float("inf")` adds no noise.
    clip_norm : float, default=1.0
        Public radius R: rows of larger norm are shortened to it. 1.0 suits unit-norm embeddings.
    metric : {"euclidean", "cosine"}, default="euclidean"
        With "cosine" each row is scaled to norm 1 while it is encoded, and so are the
        centres after each round (spherical k-means, Dhillon and Modha 2001); `clip_norm` stays 1.
        A zero row has no direction: it stays zero and moves no centre.
    init : {"auto", "gaussian", "histogram", "random"} or array of shape (m, d)
        Where centres start: in samples of a private Gaussian, on which the rows vote; in cells of a
        private histogram; at random; or in public points, on which the rows vote if there are more
        than n_clusters. "auto" takes the histogram where it was measured to be better: it needs
        `n_hint` to tell.
    n_rounds : int, optional
        Residual rounds; by default a rule in (n, d, n_clusters, epsilon).
    n_hint : int, optional
        Public guess of the number of rows, used by rules instead of a noisy count.
    plan_overrides : dict, optional
        Fields of the plan (`KMeansPlan`, e.g. `{"shares": {...}}`) to fix instead of the rule.
    on_invalid : {"error", "drop"}, default="error"
        Refuse rows with NaN or infinity, or let them count for nothing.
    cache : bool, default=True
        Keep the codes of all rows (2 n d bytes), or read the rows anew for every question.
    device : {"cpu", "cuda", "cuda:0", "auto"}, default="cpu"
        Where rows are encoded and questions answered, with the same bits: the processor, all GPUs,
        one of them, or GPUs if there are any. Arrays on a GPU need "cuda", and stay there.
    compute_labels : bool, default=False
        Set the owner-side `labels_` after the fit. They are exact, not private and never saved.
    budget : Budget, optional
        The data set's ledger; the whole cost is reserved before any row is read, but for the first
        batch of an iterable, which tells d.
    fit_name : str, optional
        Under which a fit that was interrupted resumes, reusing the releases in the ledger.
    random_state : int, Generator, RandomState or None
        Seeds public randomness only; never the noise.
    unsafe_noise_seed : int, optional
        Repeatable noise for tests and research. The object then states epsilon = infinity.
    encoder_id, row_purity : str, optional
        The public encoder that made the rows, and its purity; see `DPGaussianMixture`.

    Attributes
    ----------
    cluster_centers_ : array of shape (n_clusters, d), float64
    noisy_counts_ : array of shape (n_clusters,), float64
        Rows of each cluster in the last round, with noise.
    n_iter_ : int
        Rounds made.
    plan_ : KMeansPlan or None
        What the fit was to do, from the noisy number of rows; `privacy_.events` are the releases
        that it made. None in models of version 0.1.0.
    privacy_ : PrivacyGuarantee
        `privacy_.statement()` is a paragraph to read.
    labels_ : array of shape (n,), int32
        Owner-side, only with `compute_labels=True`; -1 for rows that were dropped. Of rows on a
        GPU, an array of their library there, as `predict` returns.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from cloister import DPKMeans
    >>> X = np.random.default_rng(0).normal(size=(1000, 8))
    >>> X /= np.linalg.norm(X, axis=1, keepdims=True)
    >>> DPKMeans(n_clusters=4, epsilon=2.0).fit(X).cluster_centers_.shape
    (4, 8)
    """

    _kind = "kmeans"

    def __init__(
        self,
        n_clusters: int = 8,
        epsilon: float = 1.0,
        delta: float = 1e-5,
        *,
        clip_norm: float = 1.0,
        metric: str = "euclidean",
        init: Any = "auto",
        n_rounds: int | None = None,
        n_hint: int | None = None,
        plan_overrides: Any = None,
        on_invalid: str = "error",
        cache: bool = True,
        device: str = "cpu",
        compute_labels: bool = False,
        budget: Any = None,
        fit_name: str | None = None,
        random_state: Any = None,
        unsafe_noise_seed: int | None = None,
        encoder_id: str | None = None,
        row_purity: str | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.epsilon = epsilon
        self.delta = delta
        self.clip_norm = clip_norm
        self.metric = metric
        self.init = init
        self.n_rounds = n_rounds
        self.n_hint = n_hint
        self.plan_overrides = plan_overrides
        self.on_invalid = on_invalid
        self.cache = cache
        self.device = device
        self.compute_labels = compute_labels
        self.budget = budget
        self.fit_name = fit_name
        self.random_state = random_state
        self.unsafe_noise_seed = unsafe_noise_seed
        self.encoder_id = encoder_id
        self.row_purity = row_purity

    def shares(self, d: int | None = None) -> dict[str, float]:
        """Return the releases of `fit`, in order, and the share of mu^2 that each one takes.

        Parameters
        ----------
        d : int, optional
            Number of features, on which `init="auto"` may depend.

        Returns
        -------
        dict of str to float
            From public parameters alone; the shares sum to 1. See `KMeansPlan`.
        """
        return checked_shares(kind_of_init(self, d), plan_overrides(self))

    def plan(self, n_hint: int, d: int) -> KMeansPlan:
        """Return what `fit` would do with n rows of d features, from public numbers alone.

        Parameters
        ----------
        n_hint : int
            Number of rows, public or guessed; a fit without `n_hint` takes its own noisy count.
        d : int
            Number of features.

        Returns
        -------
        KMeansPlan
        """
        n = check_integer("n_hint", n_hint, 1, MOST_ROWS, way_out="how many rows there may be")
        d = check_integer("d", d, 1, MAX_FEATURES, way_out="how many features a row has")
        mu, k = PrivacyParameters.of(self).mu_of_share(1.0), checked_counts(self)
        return kmeans_plan(kind_of_init(self, d), n, d, k, mu, plan_overrides(self))

    def fit(self, X: Any, y: Any = None) -> Self:
        """Release private centres of the rows.

        Parameters
        ----------
        X : rows of shape (n, d)
            Private embeddings of any real dtype: an array-like, a memory map, the name of a file
            or a glob pattern, a pyarrow object, an iterable of batches, or a list of these; see
            `cloister.sources.as_source`.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        InvalidInput, InvalidType, DeviceError
            Before anything is spent.
        BudgetExceeded
            Before any row is read, if `budget` cannot pay.

        Notes
        -----
        Privacy cost: (epsilon, delta) in total, add/remove one row.
        """
        parameters = PrivacyParameters.of(self)
        k, transform = checked_counts(self), checked_metric(self)
        compute_labels = check_flag("compute_labels", self.compute_labels)
        seed = public_seed(self.random_state, self.fit_name)
        source = as_source(X, devices=parameters.devices())
        if compute_labels:
            require_rereadable(source, "leave compute_labels=False")
        features = feature_attributes(with_features(X, source))
        planned = self.plan(self.n_hint or MOST_ROWS, source.d)  # refuses overrides that are none
        start = public_start(self, source.d)
        check_size(k, source.d, planned, start)
        grid = CodeGrid(source.d, parameters.clip_norm, normalize=transform is not None)
        facts = {"public_seed": seed, "plan": (shares := self.shares(source.d))}
        public = public_parameters(self, source.d, facts)
        with private_session(
            parameters, source, lambda: encode_labels(None, source.n), public, grid
        ) as release:
            rng, init = np.random.default_rng(seed), kind_of_init(self, source.d)
            course = KMeansCourse(release, grid, parameters.mu_of_share(1.0), shares, rng)
            centres, noisy_counts, n_iter, plan = course.run(
                init, start, k, self.n_hint, plan_overrides(self)
            )
        # Only now: an object never holds centres of one fit and the guarantee of another.
        set_features(self, features)
        self.cluster_centers_, self.noisy_counts_, self.n_iter_ = centres, noisy_counts, n_iter
        self.plan_: KMeansPlan | None = plan
        self.privacy_ = state_guarantee(release, parameters, transform=transform)
        self.__dict__.pop("labels_", None)  # of an earlier fit
        if compute_labels:
            self.labels_ = self._labels(X, source, parameters.on_invalid)
        return self

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"cluster_centers": self.cluster_centers_, "noisy_counts": self.noisy_counts_}

    def _header(self) -> dict[str, Any]:
        plan = {} if self.plan_ is None else {"plan": asdict(self.plan_)}
        return {"rounds": self.n_iter_, **plan}

    def _restore(
        self,
        path: str | PathLike[str],
        arrays: Mapping[str, NDArray[Any]],
        header: Mapping[str, Any],
    ) -> None:
        check_statement(path, self)
        k, d = self.n_clusters, self.n_features_in_
        self.cluster_centers_ = model_array(path, arrays, "cluster_centers", float, (k, d))
        self.noisy_counts_ = model_array(path, arrays, "noisy_counts", float, (k,))
        self.n_iter_ = model_value(path, header, "rounds", int)
        stored = model_value(path, header, "plan", dict) if "plan" in header else None
        self.plan_ = None if stored is None else KMeansPlan.of_header(stored)
