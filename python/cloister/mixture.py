"""A differentially private Gaussian mixture: the model behind synthetic embeddings."""

from typing import Any, Self

from sklearn.base import BaseEstimator, DensityMixin

from cloister.class_prior import check_class_prior
from cloister.codes import MAX_FEATURES
from cloister.mixture_components import fit_components
from cloister.mixture_fit import fit_mixture
from cloister.mixture_model import FittedMixture
from cloister.mixture_numbers import MixtureNumbers
from cloister.mixture_parameters import check_size
from cloister.mixture_plan import MixturePlan
from cloister.mixture_rules import planned_shares, rules_of, tilts
from cloister.mixture_tilt import fit_tilted_mixture
from cloister.parameters import check_integer, feature_attributes, set_features
from cloister.plans import MOST_ROWS, checked_overrides
from cloister.privacy.plain_values import public_parameters
from cloister.privacy.session import (
    PrivacyParameters,
    private_session,
    public_seed,
    state_guarantee,
)
from cloister.sources import (
    as_source,
    class_list,
    encode_labels,
    find_labels,
    public_classes,
    with_features,
)
from cloister.transforms import check_transform, transformed_grid, transformed_source


class DPGaussianMixture(FittedMixture, DensityMixin, BaseEstimator):
    """Gaussian mixture of the rows of each class, under (epsilon, delta)-differential privacy.

    Fitted by noisy releases of a public plan: the overall mean, the scatter about it, counts and
    means of the classes, and second moments (with more components a class, rounds that move them;
    with `tilt`, gradients). One row counts in one class and one cell, so classes and cells share
    the budget.

    Parameters
    ----------
    n_components : int or "auto", default=1
        Components a class. One is best at small epsilon and for small classes. "auto" takes as
        many as noise allows (1 with `tilt`), by a rule in `n_hint`, which it needs.
    covariance_type : {"tied", "full", "diag", "spherical", "low_rank"}, default="tied"
        "tied": one covariance for all components, pooled within classes. "full": one a component.
        "diag" and "spherical": variances a component. "low_rank": tied, with equal variance in all
        but the strongest directions.
    row_transform : {None, "root", "power:P"} or PublicWhitening, default=None
        Public map of each row before anything else. "power:P": sign(x) |x|^P with P in (0, 1],
        then unit norm (so `clip_norm` stays 1), "root" is that with P = 1/2; it suits non-negative
        features, such as those behind a ReLU. `PublicWhitening`: by mean and
        scale of public rows. Means and covariances are of mapped rows; methods take rows, and
        `sample` gives them, as they were before (of unit norm; of a whitening, at the distance
        from the public mean that public rows have).
    tilt : {"auto", True, False}, default="auto"
        Spend most of the budget on gradient steps of a softmax regression and choose the means
        and the covariance such that it is the mixture's Bayes rule: for classification, and for
        training on samples, much better than class means at the same epsilon. "auto" does so with
        at least 2 classes and 8 features, `n_components=1` and "tied".
    class_prior : {None, "uniform"} or array-like of shape (classes,), default=None
        Public shares of the classes to predict and to sample with. None takes their noisy shares
        of the rows, which is best where test rows are as unequal; rare classes are then seldom
        predicted. "uniform" gives all an equal say, at no cost; `untilted_` keeps the noisy shares.
    epsilon, delta : float, default=1.0 and 1e-5
        The whole budget of `fit`, exact Gaussian DP. `epsilon=float("inf")` adds no noise.
    classes : array-like of shape (classes,), optional
        The public list of classes. By default the labels present are taken, with a warning: they
        are thereby public, and the statement says so.
    clip_norm : float, default=1.0
        Public radius R: rows of larger norm are shortened to it. 1.0 suits unit-norm embeddings.
    n_hint : int, optional
        Public guess of the number of rows, used by the plan's rules instead of a noisy count.
    plan_overrides : dict, optional
        Fields of the plan (`MixturePlan`, e.g. `{"shares": {...}}`) to fix instead of the rule.
    on_invalid : {"error", "drop"}, default="error"
        Refuse rows with NaN or infinity, or let them count for nothing.
    cache : bool, default=True
        Keep the codes of all rows (2 n d bytes), or read the rows anew for every question.
    device : {"cpu", "cuda", "cuda:0", "auto"}, default="cpu"
        Where the fit runs, to the same bits: see `DPKMeans`.
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
    row_purity : {"strict", "measured", "unchecked"}, optional
        `encoder.row_purity`: decides whether the guarantee extends to the records behind the rows.

    Attributes
    ----------
    classes_ : array of shape (classes,)
    weights_ : array of shape (classes * n_components,)
        Noisy, or such that classes have the shares `class_prior`; components of class g are
        `g * n_components` on.
    means_ : array of shape (classes * n_components, d), float64
        After a fit with `tilt`, means and covariance whose Bayes rule was learnt: not those of the
        rows, which are in `untilted_`.
    covariances_ : Covariances
        `covariances_.matrices()` gives them dense.
    untilted_ : MixtureNumbers or None
        With `tilt`, estimates of the weights, means and covariance of the rows, from a small part
        of the budget: they decide `score_samples`, `score` and `sample(tilted=False)`.
    plan_ : MixturePlan or None
        What the fit followed, from the noisy number of rows; `privacy_.events` are the releases
        that it made. None in models that an earlier version wrote.
    transform_ : str, PublicWhitening or None
        `row_transform` of the fit.
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

    def __init__(
        self,
        n_components: int | str = 1,
        covariance_type: str = "tied",
        epsilon: float = 1.0,
        delta: float = 1e-5,
        *,
        row_transform: Any = None,
        tilt: bool | str = "auto",
        class_prior: Any = None,
        classes: Any = None,
        clip_norm: float = 1.0,
        n_hint: int | None = None,
        plan_overrides: Any = None,
        on_invalid: str = "error",
        cache: bool = True,
        device: str = "cpu",
        budget: Any = None,
        fit_name: str | None = None,
        random_state: Any = None,
        unsafe_noise_seed: int | None = None,
        encoder_id: str | None = None,
        row_purity: str | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.epsilon = epsilon
        self.delta = delta
        self.row_transform = row_transform
        self.tilt = tilt
        self.class_prior = class_prior
        self.classes = classes
        self.clip_norm = clip_norm
        self.n_hint = n_hint
        self.plan_overrides = plan_overrides
        self.on_invalid = on_invalid
        self.cache = cache
        self.device = device
        self.budget = budget
        self.fit_name = fit_name
        self.random_state = random_state
        self.unsafe_noise_seed = unsafe_noise_seed
        self.encoder_id = encoder_id
        self.row_purity = row_purity

    def shares(
        self, n_classes: int | None = None, n_features: int | None = None
    ) -> dict[str, float]:
        """Return the releases of `fit`, in order, and the share of mu^2 that each one takes.

        Parameters
        ----------
        n_classes : int, optional
            Number of classes; one class is not tilted. None is that of `classes`, or any above 1.
        n_features : int, optional
            Number of features; with fewer than 8, tilt="auto" does not tilt. None is that many.

        Returns
        -------
        dict of str to float
            From public parameters alone; the shares sum to 1. See `MixturePlan`.
        """
        return planned_shares(self, n_classes, n_features)

    def plan(self, n_hint: int, d: int, n_classes: int | None = None) -> MixturePlan:
        """Return what `fit` would do with n rows of d features, from public numbers alone.

        Parameters
        ----------
        n_hint : int
            Number of rows, public or guessed; a fit without `n_hint` takes its own noisy count.
        d : int
            Number of features.
        n_classes : int, optional
            Number of classes; None is that of `classes`, or 2.

        Returns
        -------
        MixturePlan

        Raises
        ------
        InvalidInput, InvalidType
            If a parameter is impossible, or `plan_overrides` fits no plan.
        """
        n = check_integer("n_hint", n_hint, 1, MOST_ROWS, way_out="how many rows there may be")
        d = check_integer("d", d, 1, MAX_FEATURES, way_out="how many features a row has")
        if n_classes is None:
            n_classes = 2 if self.classes is None else len(class_list(self.classes))
        way_out = "how many classes rows may have"
        n_classes = check_integer("n_classes", n_classes, 1, 2**20, way_out=way_out)
        return rules_of(self, d, n_classes, n).plan(n)

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
        InvalidInput, InvalidType, DeviceError
            Before anything is spent.
        BudgetExceeded
            Before any row or label is read, if `budget` cannot pay; with `classes=None` the
            labels are read first, for their list.

        Notes
        -----
        Privacy cost: (epsilon, delta) in total, add/remove one row.
        """
        parameters = PrivacyParameters.of(self)
        name = check_transform(self.row_transform, parameters.clip_norm)
        tilts(self, None, None)
        checked_overrides(self)
        if self.n_hint is not None:
            check_integer("n_hint", self.n_hint, 1, MOST_ROWS, way_out="or None for a noisy count")
        seed = public_seed(self.random_state, self.fit_name)
        source = as_source(X, devices=parameters.devices())
        features = feature_attributes(with_features(X, source))
        y = find_labels(y, source)
        classes, from_data = public_classes(y, source.n, self.classes)
        rules = rules_of(self, source.d, len(classes), self.n_hint)
        planned = rules.plan(MOST_ROWS)  # refuses overrides that are none
        check_size(source.d, len(classes), planned, self.covariance_type)
        prior = check_class_prior(self.class_prior, len(classes))
        facts = {"classes": classes.tolist(), "public_seed": seed, "plan": rules.shares()}
        public = public_parameters(self, source.d, facts)
        grid = transformed_grid(self.row_transform, source.d, parameters.clip_norm)
        with private_session(
            parameters,
            transformed_source(self.row_transform, source),
            lambda: encode_labels(y, source.n, classes),
            public,
            grid,
        ) as release:
            fitted: tuple[MixtureNumbers, MixtureNumbers | None, MixturePlan]
            if rules.tilted:
                fitted = fit_tilted_mixture(release, grid, rules)
            elif rules.n_components == 1:
                fitted = fit_mixture(release, grid, rules)
            else:
                fitted = fit_components(release, grid, rules, seed)
        set_features(self, features)
        self.classes_, self.transform_ = classes, self.row_transform
        numbers, untilted, plan = fitted
        self._take(numbers if prior is None else numbers.with_class_prior(prior), untilted, plan)
        self.privacy_ = state_guarantee(
            release, parameters, classes_from_data=from_data, transform=name
        )
        return self
