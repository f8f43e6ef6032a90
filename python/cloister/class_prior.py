"""Public shares of the classes, in place of those that the private rows have."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType

SUM_TOLERANCE = 1e-6
LEAST_SHARE = 1e-12  # divided among components it is still a weight


def check_class_prior(class_prior: Any, n_classes: int) -> NDArray[np.float64] | None:
    """Return shares of the classes that sum to 1, or None for those of the rows.

    Parameters
    ----------
    class_prior : None, "uniform" or array-like of shape (classes,)
    n_classes : int

    Raises
    ------
    InvalidInput, InvalidType
        If it is none of these, or its entries are not positive and of sum 1.
    """
    if class_prior is None:
        return None
    if isinstance(class_prior, str):
        if class_prior != "uniform":
            raise InvalidInput(
                f"class_prior={class_prior!r} is not one of None, 'uniform' and an array of "
                "shares; choose one of these"
            )
        return np.full(n_classes, 1 / n_classes)
    try:
        shares = np.array(class_prior, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidType(
            f"class_prior must be None, 'uniform' or one share a class ({error})"
        ) from error
    if shares.shape != (n_classes,):
        raise InvalidInput(
            f"class_prior has shape {shares.shape}, but there are {n_classes} classes; give one "
            "share for each, in the order of classes"
        )
    if not ((shares >= LEAST_SHARE).all() and abs(shares.sum() - 1) <= SUM_TOLERANCE):
        raise InvalidInput(
            f"class_prior has a smallest entry of {shares.min():g} and a sum of "
            f"{shares.sum():g}; shares are at least {LEAST_SHARE:g} and sum to 1: divide them by "
            "their sum"
        )
    return np.asarray(shares / shares.sum())
