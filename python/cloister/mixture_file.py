"""What a mixture reads from a model file: every array checked before it is used."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.covariance import Covariances
from cloister.errors import ModelFileError
from cloister.mixture_fit import MixtureNumbers
from cloister.model_file import model_array


def mixture_numbers(
    path: str | PathLike[str], arrays: Mapping[str, NDArray[Any]], n: int, d: int
) -> MixtureNumbers:
    """Return the numbers of a mixture of n components in d features.

    Parameters
    ----------
    path : str or path
        The file, for messages.
    arrays : mapping
        As `read_model` returned them.
    n, d : int
        What the file's header says.

    Raises
    ------
    ModelFileError
        If an array is missing, has another shape or dtype, or holds what no mixture holds.
    """

    def array(name: str, *shape: int | None, dtype: type = np.float64) -> NDArray[Any]:
        return model_array(path, arrays, name, dtype, shape)

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
                f"path: {fspath(path)!r} has an array {name!r} that no mixture has; write the "
                "model again"
            )
    return MixtureNumbers(weights, means, covariances, covariance_of)
