"""A differentially private Gaussian mixture: the model behind synthetic embeddings."""

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted

from cloister.codes import CodeGrid
from cloister.mixture_fit import check_size, fit_mixture, mixture_plan
from cloister.mixture_numbers import MixtureNumbers, mixture_numbers
from cloister.model_file import model_value
from cloister.parameters import check_flag, check_integer, feature_attributes, set_features
from cloister.privacy.session import (
    PrivacyParameters,
    private_session,
    public_parameters,
    public_seed,
    state_guarantee,
)
from cloister.private_model import PrivateModel
from cloister.sources import (
    as_source,
    encode_labels,
    find_labels,
    finite_float64,
    public_classes,
    rows_a_chunk,
    with_features,
)


class DPGaussianMixture(PrivateModel, DensityMixin, BaseEstimator):
    """Gaussian mixture of the rows of each class, under (epsilon, delta)-differential privacy.

    Fitted by a fixed list of noisy releases: the overall mean, the scatter about it, counts and
    means of the classes, and second moments within them (with more components a class, rounds that
    move them). One row counts in one class and one cell, so classes and cells share the budget.

    Parameters
    ----------
    n_components : int, default=1
        Components a class. One is best at small epsilon and for small classes.
    covariance_type : {"tied", "full", "diag", "spherical", "low_rank"}, default="tied"
        "tied": one covariance for all components, pooled within classes. "full": one a component.
        "diag" and "spherical": variances a component. "low_rank": tied, with equal variance in all
        but the strongest directions.
    epsilon, delta : float, default=1.0 and 1e-5
        The whole budget of `fit`, exact Gaussian DP. `epsilon=float("inf")` adds no noise.
    classes : array-like of shape (classes,), optional
        The public list of classes. By default the labels present are taken, with a warning: they
        are thereby public, and the statement says so.
    clip_norm : float, default=1.0
        Public radius R: rows of larger norm are shortened to it. 1.0 suits unit-norm embeddings.
    on_invalid : {"error", "drop"}, default="error"
        Refuse rows with NaN or infinity, or let them count for nothing.
    cache : bool, default=True
        Keep the codes of all rows (2 n d bytes), or read the rows anew for every question.
    budget : Budget, optional
        The data set's ledger; the whole cost is reserved before any row is read, but for the first
        batch of an iterable, which tells d.
    fit_name : str, optional
        Under which a fit that was interrupted resumes, reusing the releases in the ledger.
    random_state : int, Generator, RandomState or None
        Seeds public randomness only (seeds of components, `sample`); never the noise.
    unsafe_noise_seed : int, optional
        Repeatable noise for tests and research. The object then states epsilon = infinity.
    encoder_id : str, optional
        Name of the public encoder that made the rows; travels with the model.

    Attributes
    ----------
    classes_ : array of shape (classes,)
    weights_ : array of shape (classes * n_components,)
        Noisy; components of class g are `g * n_components` on.
    means_ : array of shape (classes * n_components, d), float64
    covariances_ : Covariances
        `covariances_.matrices()` gives them dense.
    privacy_ : PrivacyGuarantee
        `privacy_.statement()` is a paragraph to read.
    n_features_in_ : int

    References
    ----------
    "Private Training & Data Generation by Clustering Embeddings", arXiv 2506.16661.

    Examples
    --------
    >>> import numpy as np
    >>> from cloister import DPGaussianMixture
    >>> X = np.random.default_rng(0).normal(size=(1000, 8))
    >>> X /= np.linalg.norm(X, axis=1, keepdims=True)
    >>> model = DPGaussianMixture(epsilon=2.0, classes=[0, 1]).fit(X, X[:, 0] > 0)
    >>> rows, labels = model.sample(5)
    >>> rows.shape
    (5, 8)
    """

    _kind = "mixture"

    def __init__(
        self,
        n_components: int = 1,
        covariance_type: str = "tied",
        epsilon: float = 1.0,
        delta: float = 1e-5,
        *,
        classes: Any = None,
        clip_norm: float = 1.0,
        on_invalid: str = "error",
        cache: bool = True,
        budget: Any = None,
        fit_name: str | None = None,
        random_state: Any = None,
        unsafe_noise_seed: int | None = None,
        encoder_id: str | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.epsilon = epsilon
        self.delta = delta
        self.classes = classes
        self.clip_norm = clip_norm
        self.on_invalid = on_invalid
        self.cache = cache
        self.budget = budget
        self.fit_name = fit_name
        self.random_state = random_state
        self.unsafe_noise_seed = unsafe_noise_seed
        self.encoder_id = encoder_id

    def shares(self) -> dict[str, float]:
        """Return the releases of `fit`, in order, and the share of mu^2 that each one takes.

        Returns
        -------
        dict of str to float
            From public parameters alone; the shares sum to 1.
        """
        return mixture_plan(self.n_components, self.covariance_type)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Release a private mixture of the rows.

        Parameters
        ----------
        X : rows of shape (n, d)
            Private embeddings: an array-like, a memory map, the name of a file or a glob pattern,
            an iterable of batches and more; see `cloister.sources.as_source`.
        y : array-like of shape (n,), optional
            Their classes, integers or strings, or the name of the column beside the rows or of
            the file that holds them; None is one class.

        Returns
        -------
        self

        Raises
        ------
        InvalidInput, InvalidType
            Before anything is spent.
        BudgetExceeded
            Before any row or label is read, if `budget` cannot pay; with `classes=None` the
            labels are read first, for their list.

        Notes
        -----
        Privacy cost: (epsilon, delta) in total, add/remove one row.
        """
        parameters = PrivacyParameters.of(self)
        plan = self.shares()
        seed = public_seed(self.random_state, self.fit_name)
        source = as_source(X)
        features = feature_attributes(with_features(X, source))
        y = find_labels(y, source)
        classes, from_data = public_classes(y, source.n, self.classes)
        check_size(source.d, len(classes), self.n_components, self.covariance_type)
        public = public_parameters(
            self, source.d, {"classes": classes.tolist(), "public_seed": seed, "plan": plan}
        )
        grid = CodeGrid(source.d, parameters.clip_norm)
        with private_session(
            parameters, source, lambda: encode_labels(y, source.n, classes), public
        ) as release:
            numbers = fit_mixture(
                release,
                grid,
                {name: parameters.mu_of_share(share) for name, share in plan.items()},
                len(classes),
                self.n_components,
                self.covariance_type,
                seed,
            )
        set_features(self, features)
        self.classes_ = classes
        self._take(numbers)
        self.privacy_ = state_guarantee(release, parameters, classes_from_data=from_data)
        return self

    def sample(
        self, n_samples: int = 1, random_state: Any = None, return_proba: bool = False
    ) -> tuple[NDArray[Any], ...]:
        """Draw synthetic rows; free of privacy cost, as many as one likes.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        random_state : int, Generator, RandomState or None
            Seeds the draw; None takes the estimator's own. The same seed gives the same bits on
            every processor.
        return_proba : bool, default=False
            Return the posterior of each row too: soft labels, from which a classifier learns more.

        Returns
        -------
        X : array of shape (n_samples, d), float32
        y : array of shape (n_samples,)
            Their classes.
        proba : array of shape (n_samples, classes), float64
            `predict_proba(X)`; only with `return_proba`.
        """
        check_is_fitted(self)
        check_flag("return_proba", return_proba)
        n = check_integer("n_samples", n_samples, 1, 2**40, way_out="how many rows to draw")
        seed = public_seed(self.random_state if random_state is None else random_state)
        rows, components = self._numbers().sample(n, seed)
        labels = self.classes_[components // (len(self.weights_) // len(self.classes_))]
        return (rows, labels, self.predict_proba(rows)) if return_proba else (rows, labels)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return the log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        array of shape (n,), float64
            In nats. Of private rows this is owner-side: it may not be released.
        """
        return np.concatenate([logsumexp(joint, axis=1) for joint in self._log_densities(X)])

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-density of the rows, in nats; see `score_samples`."""
        return float(self.score_samples(X).mean())

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the posterior probability of each class, shape (n, classes).

        Of private rows this is owner-side.
        """
        parts = []
        for joint in self._log_densities(X):
            by_class = logsumexp(joint.reshape(len(joint), len(self.classes_), -1), axis=2)
            parts.append(np.exp(by_class - logsumexp(by_class, axis=1, keepdims=True)))
        return np.concatenate(parts)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row, shape (n,): the mixture's Bayes rule.

        Of private rows this is owner-side.
        """
        most_probable = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most_probable])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return self._numbers().arrays()

    def _header(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist()}

    def _restore(
        self,
        path: str | PathLike[str],
        arrays: Mapping[str, NDArray[Any]],
        header: Mapping[str, Any],
    ) -> None:
        self.classes_ = np.asarray(model_value(path, header, "classes", list))
        components = len(self.classes_) * self.n_components
        self._take(mixture_numbers(path, arrays, components, self.n_features_in_))

    def _take(self, numbers: MixtureNumbers) -> None:
        self.weights_, self.means_ = numbers.weights, numbers.means
        self.covariances_, self.covariance_of_ = numbers.covariances, numbers.covariance_of

    def _numbers(self) -> MixtureNumbers:
        return MixtureNumbers(self.weights_, self.means_, self.covariances_, self.covariance_of_)

    def _log_densities(self, X: Any) -> Iterator[NDArray[np.float64]]:
        """Yield, chunk by chunk, the log of weight times density of rows by components."""
        source, numbers = self._checked(X), self._numbers()
        # So many rows for every dtype and source: a matrix product's bits depend on them.
        for first, rows in source.chunks(rows_a_chunk(source.d)):
            yield numbers.log_densities(finite_float64(rows, first))
