"""The numbers of a mixture: densities, samples, and what a model file holds of them.

Post-processing of public numbers only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import euclidean_distances

from cloister import _backend
from cloister.covariance import Covariances
from cloister.errors import ModelFileError
from cloister.model_file import model_array


@dataclass(frozen=True)
class MixtureNumbers:
    """The noisy parameters of a mixture; components of class g are g*K to g*K + K - 1.

    Attributes
    ----------
    weights : array of shape (classes * K,)
        Positive, summing to 1.
    means : array of shape (classes * K, d)
    covariances : Covariances
    covariance_of : array of shape (classes * K,), int64
        Which covariance each component has.
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: Covariances
    covariance_of: NDArray[np.int64]

    def log_densities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log of weight times density of rows (n, d) by component, shape (n, k)."""
        k, d = self.means.shape
        joint = np.empty((len(rows), k))
        for f in range(len(self.covariances.rest)):
            mine = np.flatnonzero(self.covariance_of == f)
            whitened = self.covariances.whiten(rows, f)
            centres = self.covariances.whiten(self.means[mine], f)
            joint[:, mine] = -0.5 * euclidean_distances(whitened, centres, squared=True)
        logs = self.covariances.log_determinants()[self.covariance_of] + d * np.log(2 * np.pi)
        return np.asarray(joint + np.log(self.weights) - 0.5 * logs)

    def sample(
        self, n: int, seed: int, temperature: float = 1.0, device: int | None = None
    ) -> tuple[_backend.RowArray, NDArray[np.int64]]:
        """Draw n rows of the sequence `seed`, on a device if one is given, and their components.

        Covariances are multiplied by `temperature`, above 0.
        """
        k, d = self.means.shape
        components = np.random.default_rng(seed).choice(k, size=n, p=self.weights)
        of_rows = _backend.placed(components.astype(np.int32), device)
        rows = _backend.empty_rows((n, d), np.float32, device)
        factors, scales = self.covariances.sampling_factors(temperature)
        _backend.sample_mixture(
            seed,
            0,
            self.means.astype(np.float32),
            factors,
            scales,
            self.covariance_of,
            of_rows,
            rows,
        )
        return rows, components

    def with_class_prior(self, prior: NDArray[np.float64]) -> "MixtureNumbers":
        """Return the mixture whose classes have these shares, shape (classes,), and sum 1.

        Components of a class keep their shares of it.
        """
        by_class = self.weights.reshape(len(prior), -1)
        weights = (by_class / by_class.sum(axis=1, keepdims=True) * prior[:, None]).ravel()
        return replace(self, weights=weights / weights.sum())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a model file holds; `mixture_numbers` undoes it."""
        return {
            "weights": self.weights,
            "means": self.means,
            "directions": self.covariances.directions,
            "variances": self.covariances.variances,
            "rest": self.covariances.rest,
            "covariance_of": self.covariance_of,
        }


def mixture_numbers(
    path: str | PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    n: int,
    d: int,
    *,
    prefix: str = "",
) -> MixtureNumbers:
    """Return the numbers of a mixture of n components in d features, every array checked.

    Parameters
    ----------
    path : str or path
        The file, for messages.
    arrays : mapping
        As `read_model` returned them.
    n, d : int
        What the file's header says.
    prefix : str
        Before the names of its arrays.

    Raises
    ------
    ModelFileError
        If an array is missing, has another shape or dtype, or holds what no mixture holds.
    """

    def array(name: str, *shape: int | None, dtype: type = np.float64) -> NDArray[Any]:
        return model_array(path, arrays, prefix + name, dtype, shape)

    rest = array("rest", None, d)
    variances = array("variances", len(rest), None)
    covariances = Covariances(
        array("directions", len(rest), variances.shape[1], d), variances, rest
    )
    weights, means = array("weights", n), array("means", n, d)
    covariance_of = array("covariance_of", n, dtype=np.int64)
    sound = {
        "weights": bool((weights > 0).all()) and abs(float(weights.sum()) - 1) < 1e-9,
        "variances": bool((variances > 0).all()),
        "rest": bool((rest > 0).all()),
        "covariance_of": bool(((covariance_of >= 0) & (covariance_of < len(rest))).all()),
    }
    for name, is_sound in sound.items():
        if not is_sound:
            raise ModelFileError(
                f"path: {fspath(path)!r} has an array {prefix + name!r} that no mixture has; write "
                "the model again"
            )
    return MixtureNumbers(weights, means, covariances, covariance_of)
