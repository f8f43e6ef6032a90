"""Parameters of estimators as plain JSON values, for ledgers and files, and back."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

# Parameters that shape no release, and those that JSON cannot hold.
_NOT_PUBLIC = (
    "budget",
    "fit_name",
    "random_state",
    "on_invalid",
    "cache",
    "compute_labels",
    "device",
)


def public_parameters(estimator: Any, d: int, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that shape an estimator's releases, as JSON values.

    Parameters
    ----------
    estimator : estimator
        Its parameters are checked already.
    d : int
        Number of features.
    facts : dict
        Further public values, which win over parameters of the same name.
    """
    parameters = estimator.get_params(deep=False)
    values = {name: plain_json(v) for name, v in parameters.items() if name not in _NOT_PUBLIC}
    return {**values, **facts, "n_features": d}


def plain_json(value: Any) -> Any:
    """Array-likes as lists, numbers as Python's, infinities as strings that float() reads.

    Of a mapping, entry by entry; of an object with `to_dict`, that.
    """
    if hasattr(value, "to_dict") and not hasattr(value, "to_numpy"):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {str(name): plain_json(entry) for name, entry in value.items()}
    if isinstance(value, Real) and not isinstance(value, Integral | np.generic):
        value = float(value)  # a Fraction, say
    elif not isinstance(value, str | None):
        value = np.asarray(value).tolist()
    return str(value) if isinstance(value, float) and np.isinf(value) else value


def estimator_parameters(plain: dict[str, Any]) -> dict[str, Any]:
    """Undo `public_parameters` for an estimator's constructor."""
    parameters = {name: value for name, value in plain.items() if name != "n_features"}
    return {
        name: float(v) if name == "epsilon" and v == "inf" else v for name, v in parameters.items()
    }
