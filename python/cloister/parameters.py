"""Checks of what estimators are given: one typed error a fault, naming it and the way out."""

from math import inf, isnan, nan
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from cloister.errors import InvalidInput, InvalidType

MAX_RELEASE_VALUES = 2**26 - 2**10
"""Numbers in one release: what the ledger can hold as one round (512 MiB), less its header."""

LONGEST_SHOWN = 200


def check_real(
    name: str, value: Any, low: float, high: float = inf, *, way_out: str, low_open: bool = False
) -> float:
    """Return `value` as float if it lies in [low, high], or in (low, high] with `low_open`.

    Raises
    ------
    InvalidType
        If `value` is not a real number (booleans are not).
    InvalidInput
        If it is NaN or outside the interval.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidType(
            f"{name} must be a number, got {_shown(value)} ({type(value).__name__}); {way_out}"
        )
    try:
        number = float(value)
    except OverflowError:  # beyond float64, and so outside every interval
        number = nan
    if isnan(number) or number < low or number > high or (low_open and number == low):
        interval = f"{'(' if low_open else '['}{low:g}, {high:g}]"
        raise InvalidInput(f"{name}={_shown(value)} is outside {interval}; {way_out}")
    return number


def check_integer(name: str, value: Any, low: int, high: int, *, way_out: str) -> int:
    """Return `value` as int if it is a whole number in [low, high].

    Raises
    ------
    InvalidType, InvalidInput
        As `check_real`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidType(
            f"{name} must be a whole number, got {_shown(value)} ({type(value).__name__}); "
            f"{way_out}"
        )
    if not low <= int(value) <= high:
        raise InvalidInput(f"{name}={_shown(value)} is outside [{low}, {high}]; {way_out}")
    return int(value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of the strings in `choices`.

    Raises
    ------
    InvalidInput
        If it is not.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidInput(
            f"{name}={_shown(value)} is not one of {list(choices)}; choose one of these"
        )
    return value


def check_flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False.

    Raises
    ------
    InvalidType
        If it is not; other values that Python takes for true may be meant otherwise ("no").
    """
    if not isinstance(value, bool | np.bool_):
        raise InvalidType(
            f"{name} must be True or False, got {_shown(value)} ({type(value).__name__})"
        )
    return bool(value)


def check_release_size(what: str, values: int, *, way_out: str) -> None:
    """Refuse a fit of which one release would hold more than `MAX_RELEASE_VALUES` numbers.

    Raises
    ------
    InvalidInput
        Saying `what` asks for that much.
    """
    if values > MAX_RELEASE_VALUES:
        raise InvalidInput(
            f"{what} make a release of {values} numbers, but at most {MAX_RELEASE_VALUES} are "
            f"released at a time; {way_out}"
        )


FEATURE_ATTRIBUTES = ("n_features_in_", "feature_names_in_")


def feature_attributes(X: Any) -> dict[str, Any]:
    """Return scikit-learn's `n_features_in_`, and `feature_names_in_` of a data frame.

    A fit sets them with `set_features` once it succeeds, so that a failed one changes nothing.

    Raises
    ------
    InvalidType
        If names are mixed with numbers.
    """
    holder = BaseEstimator()
    _validate_features(holder, X, reset=True)
    return known_features(holder)


def known_features(estimator: Any) -> dict[str, Any]:
    """Return what a fit has set of `n_features_in_` and `feature_names_in_`."""
    return {name: vars(estimator)[name] for name in FEATURE_ATTRIBUTES if name in vars(estimator)}


def set_features(estimator: Any, attributes: dict[str, Any]) -> None:
    """Set what `feature_attributes` returned, and forget the names of an earlier fit."""
    for name in FEATURE_ATTRIBUTES:
        vars(estimator).pop(name, None)
    vars(estimator).update(attributes)


def check_features(estimator: Any, X: Any) -> None:
    """Compare the number and the names of the features with those of the fit.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : array-like of shape (n, d)
        As the caller gave it.

    Raises
    ------
    InvalidInput, InvalidType
        If they differ, or if names are mixed with numbers.
    """
    _validate_features(estimator, X, reset=False)


def _validate_features(estimator: Any, X: Any, *, reset: bool) -> None:
    try:
        validate_data(estimator, X, skip_check_array=True, reset=reset)
    except ValueError as error:
        raise InvalidInput(f"{error} (X must have the features that fit was given)") from error
    except TypeError as error:
        raise InvalidType(f"X: {error}") from error


def _shown(value: Any) -> str:
    """Return a value as messages show it; Python prints no integer of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        return "an integer of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
