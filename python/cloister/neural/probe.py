"""The two-layer classifier that is trained on synthetic rows."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from copy import copy
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from cloister.errors import InvalidType
from cloister.mixture import DPGaussianMixture
from cloister.neural import probe_file
from cloister.neural.closed_form import linear_rule, rule_units
from cloister.neural.examples import LabelledRows
from cloister.neural.inputs import (
    CHUNK,
    as_generator,
    as_numpy,
    center_and_scale,
    check_number,
    split,
    standardise,
    typed_errors,
)
from cloister.neural.mixture_examples import MixtureExamples, check_mixture, default_samples
from cloister.neural.training import Plan, Trained, train
from cloister.parameters import check_integer, known_features, set_features
from cloister.privacy.guarantee import PrivacyGuarantee, require_private
from cloister.transforms import apply_transform
from cloister.whitening import PublicWhitening

# Synthetic rows that centre and scale are measured on.
MEASURED_ROWS = 1000
# The order in which a conversion is chosen: floats stay as they are, all else becomes float32.
FLOATS = [np.float32, np.float64, np.float16]


class Probe(ClassifierMixin, BaseEstimator):
    """Two-layer network, Linear-ReLU-Linear, trained on rows that are synthetic.

    Trained on samples of a private mixture, the probe is post-processing and costs no privacy;
    early stopping looks at samples and nothing else. `fit_mixture` draws them itself and learns
    from the mixture's posterior, which says more than one label a row; `fit` takes rows and
    labels. Trained on real rows, a probe has **no** privacy guarantee.

    Rows are centred and divided by one scale common to all coordinates, both learned from the
    rows trained on: coordinates of an embedding share their unit, and a scale for each would
    blow up those that hold mostly noise. Training needs torch; predicting, saving and loading do
    not.

    Parameters
    ----------
    hidden : int, default=512
        Units of the hidden layer.
    max_epochs : int, default=10
        Passes over the training rows; also the length of the cosine decay of the learning rate.
    batch_size : int, default=1024
        Rows of one step, at most. Where there are fewer than 40 batches of them, batches shrink
        to a 40th of the rows (not below 8).
    learning_rate : float, default=0.002
        Peak learning rate of AdamW (Loshchilov and Hutter 2019).
    weight_decay : float, default=0.3
        Decoupled weight decay of AdamW.
    dropout : float, default=0.5
        Probability that a hidden unit is left out of a training step, in [0, 1).
    validation_fraction : float, default=0.1
        Share of each class's rows that is held out for early stopping, rounded down, in [0, 1).
        Where nothing is held out the last epoch is kept. `fit_mixture` draws as many further rows.
    patience : int, default=3
        Epochs without a smaller held-out loss after which training stops. The weights of the
        best epoch are kept in any case.
    random_state : int, numpy Generator or RandomState, or None, default=0
        Seeds the split, the initial weights, the order of rows and dropout; None takes fresh
        entropy. The same int, rows, number of threads and build of torch give the same network
        on a CPU. Neither torch's nor numpy's global generator is touched.
    encoder_id : str or None, default=None
        Name of the encoder that made the embeddings; kept in saved files. `fit_mixture` refuses
        a mixture of another one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; by `fit_mixture`, those of the mixture in its order.
    transform_ : str, PublicWhitening or None
        Applied to every row first: that of the mixture.
    privacy_ : PrivacyGuarantee or None
        That of the mixture; None after `fit`, which knows nothing of its rows.
    encoder_id_ : str or None
        `encoder_id`, or where that is None the mixture's.
    center_ : ndarray of shape (n_features,), float64
        Mean of the rows trained on.
    scale_ : float
        Root mean square of all their centred coordinates; 1 where the rows are constant.
    coefs_ : list of ndarray of shapes (n_features, hidden) and (hidden, n_classes), float32
    intercepts_ : list of ndarray of shapes (hidden,) and (n_classes,), float32
    held_out_losses_ : list of float
        Mean cross entropy (nats) on the held-out rows after each epoch. Not kept in files.
    n_epochs_, best_epoch_ : int
        Epochs run, and the one whose weights were kept (from 1; 0 is the closed-form rule that
        `fit_mixture` starts from). Not kept in files.
    n_features_in_ : int

    Raises
    ------
    InvalidInput, InvalidType
        By every method, naming the argument.
    MissingDependency
        By `fit` and `fit_mixture`, where torch is not installed.
    """

    privacy_: PrivacyGuarantee | None

    def __init__(
        self,
        hidden: int = 512,
        *,
        max_epochs: int = 10,
        batch_size: int = 1024,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.3,
        dropout: float = 0.5,
        validation_fraction: float = 0.1,
        patience: int = 3,
        random_state: int | np.random.Generator | np.random.RandomState | None = 0,
        encoder_id: str | None = None,
    ) -> None:
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.encoder_id = encoder_id

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on the rows of X, of shape (n, d), and their labels y, of shape (n,).

        X may be a numpy array or torch tensor of any float or integer dtype; it is computed in
        float32, a batch at a time. Labels are integers or strings.
        """
        return self._become(lambda probe: probe._fit(X, y))

    def _become(self, train_copy: Callable[[Self], None]) -> Self:
        # A failed fit must not leave weights of real rows beside the guarantee of a mixture.
        trained = copy(self)
        train_copy(trained)
        self.__dict__ = trained.__dict__
        return self

    def _fit(self, X: ArrayLike, y: ArrayLike) -> None:
        self.check_parameters()
        generator = as_generator(self.random_state)
        with typed_errors("X, y"):
            rows, labels = validate_data(self, as_numpy(X), as_numpy(y), dtype=FLOATS)
            check_classification_targets(labels)
        self.classes_, targets = np.unique(labels, return_inverse=True)
        self.transform_: str | PublicWhitening | None = None
        self.privacy_, self.encoder_id_ = None, self.encoder_id
        self.center_, self.scale_ = center_and_scale(rows)
        parts = split(targets, float(self.validation_fraction), generator)
        examples = LabelledRows(rows, self._standardise, targets.astype(np.int64), parts)
        self._take(train(examples, len(self.classes_), self._plan(generator)))

    def fit_mixture(self, mixture: DPGaussianMixture, n_samples: int | None = None) -> Self:
        """Train on fresh samples of a private mixture; free of privacy cost.

        Every epoch draws new rows, and the soft labels are the mixture's own posterior. Epochs are
        compared on further rows, drawn in the same way: nothing but the mixture is looked at.

        Where the mixture's Bayes rule is linear (one component a class, one covariance for all) and
        `hidden` is at least twice the number of classes, training starts at that rule in closed
        form, written as hidden units. As epoch 0 it takes part in the selection, and stays unless
        an epoch is better by more than the standard error of the difference. No network can have a
        smaller loss than the posterior itself, so training ends before it begins where the rule
        attains it. Otherwise the start is random.

        Parameters
        ----------
        mixture : DPGaussianMixture
            Fitted, or loaded. Its `row_transform`, `encoder_id` and `privacy_` become the probe's.
        n_samples : int, optional
            Rows to draw for an epoch. By default 50,000, or 500 a class where that is more.

        Returns
        -------
        self

        Raises
        ------
        InvalidInput, InvalidType
            If the mixture is none, not fitted, or of another encoder.
        """
        return self._become(lambda probe: probe._fit_mixture(mixture, n_samples))

    def _fit_mixture(self, mixture: DPGaussianMixture, n_samples: int | None) -> None:
        self.check_parameters()
        generator = as_generator(self.random_state)
        mixture = check_mixture(mixture, self.encoder_id)
        n_classes = len(mixture.classes_)
        n = default_samples(n_classes) if n_samples is None else n_samples
        n = check_integer("n_samples", n, 1, 2**40, way_out="how many rows to draw for an epoch")
        set_features(self, known_features(mixture))
        self.classes_ = mixture.classes_
        self.transform_ = mixture.transform_
        self.privacy_ = mixture.privacy_
        self.encoder_id_ = mixture.encoder_id if self.encoder_id is None else self.encoder_id
        plan = self._plan(generator)
        rows = mixture.sample(MEASURED_ROWS, generator)[0]
        self.center_, self.scale_ = center_and_scale(apply_transform(self.transform_, rows))
        rule = linear_rule(mixture) if plan.hidden >= 2 * n_classes else None
        start = rule and rule_units(*rule, self.center_, self.scale_, self._standardise(rows))
        fraction = float(self.validation_fraction)
        examples = MixtureExamples(mixture, self._standardise, n, fraction, plan.seed)
        self._take(train(examples, n_classes, plan, start))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n, n_classes), columns as in `classes_`."""
        check_is_fitted(self)
        with typed_errors("X"):
            rows = validate_data(self, as_numpy(X), dtype=FLOATS, reset=False)
        logits = np.empty((len(rows), len(self.classes_)), dtype=np.float64)
        for start in range(0, len(rows), CHUNK):
            hidden = self._standardise(rows[start : start + CHUNK]) @ self.coefs_[0]
            hidden = np.maximum(hidden + self.intercepts_[0], 0)
            logits[start : start + CHUNK] = hidden @ self.coefs_[1] + self.intercepts_[1]
        probabilities: NDArray[np.float64] = softmax(logits, axis=1)
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable label of each row, shape (n,)."""
        places = np.argmax(self.predict_proba(X), axis=1)  # says so if nothing was fitted
        return np.asarray(self.classes_[places])

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the share of the rows of X whose predicted label is that of y."""
        check_is_fitted(self)
        with typed_errors("y"):
            return float(super().score(X, as_numpy(y), sample_weight))

    def save(self, path: str | os.PathLike[str], *, allow_unsafe: bool = False) -> None:
        """Write the fitted probe to a safetensors file, replacing what is there.

        InvalidInput if its mixture promises no privacy (`privacy_.epsilon` is infinite) and
        `allow_unsafe` is False.
        """
        check_is_fitted(self)
        if self.privacy_ is not None:
            require_private(self.privacy_, allow_unsafe)
        probe_file.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a probe that `save` wrote; ModelFileError if the file is anything else."""
        probe: Self = probe_file.read(cls, path)
        return probe

    def _plan(self, generator: np.random.Generator) -> Plan:
        return Plan(
            int(self.hidden),
            int(self.max_epochs),
            int(self.batch_size),
            float(self.learning_rate),
            float(self.weight_decay),
            float(self.dropout),
            int(self.patience),
            seed=int(generator.integers(2**63)),
        )

    def _take(self, trained: Trained) -> None:
        self.coefs_ = [trained.parameters[0], trained.parameters[2]]
        self.intercepts_ = [trained.parameters[1], trained.parameters[3]]
        self.held_out_losses_ = trained.held_out_losses
        self.n_epochs_, self.best_epoch_ = trained.n_epochs, trained.best_epoch

    def _standardise(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        return standardise(rows, self.transform_, self.center_, self.scale_)

    def check_parameters(self) -> None:
        """Raise InvalidInput or InvalidType for the first parameter that `fit` would refuse."""
        for name in ("hidden", "max_epochs", "batch_size", "patience"):
            check_number(name, getattr(self, name), Integral, 1, math.inf)
        tiny = math.ulp(0.0)
        check_number("learning_rate", self.learning_rate, Real, tiny, math.inf)
        check_number("weight_decay", self.weight_decay, Real, 0, math.inf)
        check_number("dropout", self.dropout, Real, 0, 1)
        check_number("validation_fraction", self.validation_fraction, Real, 0, 1)
        if not isinstance(self.encoder_id, str | None):
            raise InvalidType(f"encoder_id must be a string or None, got {self.encoder_id!r}")
