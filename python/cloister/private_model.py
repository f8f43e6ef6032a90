"""Saving and loading, the same for every private estimator."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, ClassVar, Self

from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from cloister._backend import resolve_devices
from cloister.errors import InvalidInput, ModelFileError
from cloister.model_file import model_value, read_model, write_model
from cloister.parameters import check_features
from cloister.privacy.guarantee import PrivacyGuarantee, require_private
from cloister.privacy.plain_values import estimator_parameters, public_parameters
from cloister.sources import Source, as_source, with_features


class PrivateModel(ABC):
    """Mixin of estimators that are released: a file holds their noisy numbers and guarantee.

    A subclass names its `_kind` and lists what a file holds beside parameters and guarantee.
    """

    _kind: ClassVar[str]
    device: str
    privacy_: PrivacyGuarantee
    n_features_in_: int

    @abstractmethod
    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return the noisy arrays to store."""

    @abstractmethod
    def _header(self) -> dict[str, Any]:
        """Return further public values to store, as JSON."""

    @abstractmethod
    def _restore(
        self,
        path: str | PathLike[str],
        arrays: Mapping[str, NDArray[Any]],
        header: Mapping[str, Any],
    ) -> None:
        """Take the attributes from a file, checked; `n_features_in_` is set."""

    def save(self, path: str | PathLike[str], *, allow_unsafe: bool = False) -> None:
        """Write the model to a safetensors file with a JSON header; no label is ever written.

        Parameters
        ----------
        path : path
            Where to; an existing file is replaced in one step.
        allow_unsafe : bool
            Save a model that promises no privacy all the same.

        Raises
        ------
        InvalidInput
            If the model promises no privacy and `allow_unsafe` is False, or if its parameters
            were changed after the fit.
        ModelFileError
            If the file cannot be written.
        """
        check_is_fitted(self)
        require_private(self.privacy_, allow_unsafe)
        write_model(path, self._kind, *self.contents(path))

    def contents(self, path: str | PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return the arrays and the header that a file holds; `from_contents` undoes it.

        For files that hold several models. `path` is for messages alone.

        Raises
        ------
        InvalidInput
            If parameters were changed after the fit.
        """
        check_is_fitted(self)
        header = {
            "parameters": public_parameters(self, self.n_features_in_, {}),
            "privacy": self.privacy_.to_dict(),
            **self._header(),
        }
        arrays = self._arrays()
        try:
            self.from_contents(path, arrays, header)
        except (ModelFileError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"the model does not fit its own parameters any more ({error}); set them back to "
                "those of the fit, or fit again"
            ) from error
        return arrays, header

    def _checked(self, X: Any) -> Source:
        """Return the rows of `X`, which have the features of the fit."""
        check_is_fitted(self)
        source = as_source(X, devices=resolve_devices(self.device))
        check_features(self, with_features(X, source))
        return source

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path

        Raises
        ------
        ModelFileError
            If the file is missing, damaged, of another kind or of a newer format.
        """
        _, arrays, header = read_model(path, cls._kind)
        return cls.from_contents(path, arrays, header)

    @classmethod
    def from_contents(
        cls,
        path: str | PathLike[str],
        arrays: Mapping[str, NDArray[Any]],
        header: Mapping[str, Any],
    ) -> Self:
        """Undo `contents`; `path` is the file that held them.

        Raises
        ------
        ModelFileError
            If they are no whole model.
        """
        parameters = model_value(path, header, "parameters", dict)
        guarantee = model_value(path, header, "privacy", dict)
        try:
            model = cls(**estimator_parameters(parameters))
            model.n_features_in_ = model_value(path, parameters, "n_features", int)
            model.privacy_ = PrivacyGuarantee.from_dict(guarantee)
            model._restore(path, arrays, header)
        except ModelFileError:
            raise  # says more already
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"path: {fspath(path)!r} is not a whole {cls._kind} model: {error!r}; write the "
                "model again"
            ) from error
        return model
