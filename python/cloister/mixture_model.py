"""A fitted mixture: what it draws, scores, predicts and stores."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax
from sklearn.utils.validation import check_is_fitted

from cloister._backend import DeviceArray, on_host, resolve_devices
from cloister.class_prior import check_class_prior
from cloister.covariance import Covariances
from cloister.errors import CloisterError, InvalidInput, ModelFileError
from cloister.mixture_numbers import MixtureNumbers, mixture_numbers
from cloister.mixture_parameters import POOLED_TYPES
from cloister.mixture_plan import MixturePlan
from cloister.model_file import model_value
from cloister.parameters import check_flag, check_integer, check_real
from cloister.privacy.session import public_seed
from cloister.private_model import PrivateModel
from cloister.sources import Source, as_source, finite_float64, returned_like, rows_a_chunk
from cloister.transforms import (
    apply_transform,
    as_transform,
    invert_transform,
    transform_name,
)
from cloister.whitening import PublicWhitening

WEIGHT_TOLERANCE = 1e-6
UNTILTED = "untilted_"  # before the names of arrays in a file


class FittedMixture(PrivateModel):
    """The methods of a mixture that need no private row; rows given to them stay with the owner.

    Rows go in and samples come out in the space of the rows that were fitted; means, covariances
    and `linear_rule` are those of transformed rows.
    """

    _kind = "mixture"
    n_components: int | str
    covariance_type: str
    row_transform: Any
    class_prior: Any
    random_state: Any
    classes_: NDArray[Any]
    weights_: NDArray[np.float64]
    means_: NDArray[np.float64]
    covariances_: Covariances
    covariance_of_: NDArray[np.int64]
    untilted_: MixtureNumbers | None
    plan_: MixturePlan | None
    transform_: str | PublicWhitening | None

    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        return_proba: bool = False,
        *,
        tilted: bool = True,
        temperature: float = 1.0,
        device: str = "cpu",
    ) -> tuple[Any, ...]:
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
        tilted : bool
            Draw from the mixture whose posterior `predict_proba` is: the one to train on. False
            draws from the one whose density `score_samples` is. They differ after a fit with
            `tilt`.
        temperature : float, default=1.0
            Multiplies the covariances of the components: below 1 rows lie nearer to the means of
            their classes. For those who train on `y` or decode the rows; `proba` stays the
            posterior at temperature 1.
        device : {"cpu", "cuda", "cuda:0", "auto"}, default="cpu"
            Where to draw; the rows are the same bits. On a GPU, the first one if there are several,
            they stay there.

        Returns
        -------
        X : array of shape (n_samples, d), float32
            In the space of the rows that were fitted: of unit norm if there was a `row_transform`.
            On a GPU a `DeviceArray`: ``torch.from_dlpack(X)`` or ``cupy.asarray(X)`` takes it
            without a copy.
        y : array of shape (n_samples,)
            Their classes.
        proba : array of shape (n_samples, classes), float64
            `predict_proba(X)`; only with `return_proba`.

        Raises
        ------
        InvalidInput, InvalidType
            Naming the argument.
        DeviceError
            If there is no such device, or it has too little memory.
        """
        check_is_fitted(self)
        check_flag("return_proba", return_proba)
        heat = check_real("temperature", temperature, 1e-6, 1e6, way_out="1.0 is the mixture's own")
        n = check_integer("n_samples", n_samples, 1, 2**40, way_out="how many rows to draw")
        devices = resolve_devices(device)
        seed = public_seed(self.random_state if random_state is None else random_state)
        numbers = self._numbers() if check_flag("tilted", tilted) else self._density()
        place = devices[0] if devices else None
        rows, components = numbers.sample(n, seed, heat, place)
        if self.transform_ is not None:
            inverted = invert_transform(self.transform_, on_host(rows))
            rows = inverted if place is None else DeviceArray.copy_of(inverted, place)
        labels = self.classes_[components // self._components_a_class()]
        if not return_proba:
            return rows, labels
        return rows, labels, self._posterior(as_source(on_host(rows)))

    def score_samples(self, X: Any) -> Any:
        """Return the log-density of each row, or of its transform where there is one.

        After a fit with `tilt` this is the density of `untilted_`.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        array of shape (n,), float64
            In nats. Of private rows this is owner-side: it may not be released. Of rows on a GPU,
            which are scored on the processor, an array of their library there; so too from
            `predict_proba` and, but for classes that are strings, `predict`.
        """
        return returned_like(X, self._scores(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-density of the rows, in nats; see `score_samples`."""
        return float(self._scores(X).mean())

    def _scores(self, X: Any) -> NDArray[np.float64]:
        joints = self._log_densities(self._checked(X), self._density())
        return np.concatenate([logsumexp(joint, axis=1) for joint in joints])

    def predict_proba(self, X: Any) -> Any:
        """Return the posterior probability of each class, shape (n, classes).

        Of private rows this is owner-side.
        """
        return returned_like(X, self._posterior(self._checked(X)))

    def _posterior(self, source: Source) -> NDArray[np.float64]:
        parts = []
        for joint in self._log_densities(source, self._numbers()):
            by_class = logsumexp(joint.reshape(len(joint), len(self.classes_), -1), axis=2)
            parts.append(softmax(by_class, axis=1))
        return np.concatenate(parts)

    def predict(self, X: Any) -> Any:
        """Return the most probable class of each row, shape (n,): the mixture's Bayes rule.

        Of private rows this is owner-side.
        """
        most_probable = self._posterior(self._checked(X)).argmax(axis=1)
        return returned_like(X, np.asarray(self.classes_[most_probable]))

    def linear_rule(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the Bayes rule of the mixture: it is linear where classes share a covariance.

        Returns
        -------
        coef : array of shape (classes, d), float64
        intercept : array of shape (classes,), float64
            `predict_proba` is the softmax of `rows @ coef.T + intercept`, rows transformed by
            `cloister.transforms.apply_transform` if there is a `row_transform`.

        Raises
        ------
        InvalidInput
            If `n_components` is not 1 or the covariance is not shared.
        """
        check_is_fitted(self)
        if self._components_a_class() != 1 or self.covariance_type not in POOLED_TYPES:
            raise InvalidInput(
                f"n_components={self._components_a_class()} and covariance_type="
                f"{self.covariance_type!r} have no linear rule; fit with 1 and one of "
                f"{list(POOLED_TYPES)}"
            )
        coef = np.linalg.solve(self.covariances_.matrices()[0], self.means_.T).T
        offsets = np.einsum("cd,cd->c", coef, self.means_)
        return coef, np.log(self.weights_) - 0.5 * offsets

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = self._numbers().arrays()
        if self.untilted_ is not None:
            more = self.untilted_.arrays()
            arrays |= {UNTILTED + name: array for name, array in more.items()}
        return arrays

    def _header(self) -> dict[str, Any]:
        plan = {} if self.plan_ is None else {"plan": asdict(self.plan_)}
        tilted = self.untilted_ is not None
        return {"classes": self.classes_.tolist(), "tilted": tilted, **plan}

    def _restore(
        self,
        path: str | PathLike[str],
        arrays: Mapping[str, NDArray[Any]],
        header: Mapping[str, Any],
    ) -> None:
        self.classes_ = np.asarray(model_value(path, header, "classes", list))
        self._restore_transform(path)
        components, d = self._stored_components(arrays), self.n_features_in_
        numbers, untilted = mixture_numbers(path, arrays, components, d), None
        # Version 0.1.0 tilted nothing, and did not say so.
        if "tilted" in header and model_value(path, header, "tilted", bool):
            untilted = mixture_numbers(path, arrays, components, d, prefix=UNTILTED)
        stored = model_value(path, header, "plan", dict) if "plan" in header else None
        self._take(numbers, untilted, None if stored is None else MixturePlan.of_header(stored))
        self._check_prior(path)

    def _restore_transform(self, path: str | PathLike[str]) -> None:
        stated = self.privacy_.transform
        try:
            transform = as_transform(self.row_transform)
            if transform is not None:
                transform.check_features(self.n_features_in_)
        except CloisterError as error:
            raise ModelFileError(
                f"path: {fspath(path)!r} has a row_transform that this version does not know "
                f"({error}); write the model again, by this version"
            ) from error
        if transform_name(transform) != stated:
            raise ModelFileError(
                f"path: {fspath(path)!r} has row_transform={self.row_transform!r} and a statement "
                f"with {stated!r}; write the model again, by this version"
            )
        if isinstance(transform, PublicWhitening):
            self.row_transform = transform  # a file holds its numbers
        self.transform_ = self.row_transform

    def _take(
        self, numbers: MixtureNumbers, untilted: MixtureNumbers | None, plan: MixturePlan | None
    ) -> None:
        self.weights_, self.means_ = numbers.weights, numbers.means
        self.covariances_, self.covariance_of_ = numbers.covariances, numbers.covariance_of
        self.untilted_, self.plan_ = untilted, plan

    def _check_prior(self, path: str | PathLike[str]) -> None:
        """Refuse weights of classes that are not those of `class_prior`."""
        prior = check_class_prior(self.class_prior, len(self.classes_))
        found = self.weights_.reshape(len(self.classes_), -1).sum(axis=1)
        if prior is not None and np.abs(found - prior).max() > WEIGHT_TOLERANCE:
            raise ModelFileError(
                f"path: {fspath(path)!r} has class_prior={self.class_prior!r}, but classes weigh "
                f"{found.tolist()}; write the model again"
            )

    def _stored_components(self, arrays: Mapping[str, NDArray[Any]]) -> int:
        """How many components a file should hold; of "auto", as many a class as it has weights."""
        classes = len(self.classes_)
        if isinstance(self.n_components, str):
            weights = arrays.get("weights", np.empty(0))
            return classes * max(1, weights.size // max(1, classes))
        return classes * self.n_components

    def _numbers(self) -> MixtureNumbers:
        return MixtureNumbers(self.weights_, self.means_, self.covariances_, self.covariance_of_)

    def _density(self) -> MixtureNumbers:
        return self._numbers() if self.untilted_ is None else self.untilted_

    def _components_a_class(self) -> int:
        return len(self.weights_) // len(self.classes_)

    def _log_densities(
        self, source: Source, numbers: MixtureNumbers
    ) -> Iterator[NDArray[np.float64]]:
        """Yield, chunk by chunk, the log of weight times density of rows by components."""
        # So many rows for every dtype and source: a matrix product's bits depend on them.
        for first, chunk in source.chunks(rows_a_chunk(source.d)):
            rows = finite_float64(chunk, first)
            if self.transform_ is not None:
                rows = apply_transform(self.transform_, rows).astype(np.float64)
            yield numbers.log_densities(rows)
