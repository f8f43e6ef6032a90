"""What the ledger accepts: names, numbers, public parameters. Nothing here touches a file."""

import json
import math
import os
import unicodedata
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from cloister.errors import InvalidInput, InvalidType, LedgerError

LONGEST_NAME = 255


def checked_path(path: str | os.PathLike[str]) -> Path:
    """Return `path` as an absolute path that a later change of directory cannot move."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str):
        raise InvalidType(f"path must be a str or a path to a file, got {type(text).__name__}")
    if not text or "\0" in text:
        raise InvalidInput(f"path must name a file, got {text!r}; give one such as 'spent.ledger'")
    return Path(os.path.realpath(text))


def checked_name(argument: str, value: str) -> str:
    """Return a name such that two that look the same are the same: one spelling, no blanks."""
    if not isinstance(value, str):
        raise InvalidType(f"{argument} must be a str, got {type(value).__name__}")
    if not value.strip() or value != value.strip() or not value.isprintable():
        raise InvalidInput(
            f"{argument} must be printable text without blanks at its ends, got {value!r}"
        )
    if len(value) > LONGEST_NAME:
        raise InvalidInput(
            f"{argument} must have at most {LONGEST_NAME} characters, got {len(value)}"
        )
    return unicodedata.normalize("NFC", value)


def checked_number(argument: str, value: float, below: float) -> float:
    """Return `value` as a float in the open interval (0, below)."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidType(f"{argument} must be a real number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0.0 < number < below:
        bound = "finite" if below == math.inf else f"less than {below:g}"
        raise InvalidInput(f"{argument} must be positive and {bound}, got {number!r}")
    return number


def canonical(public_parameters: Mapping[str, Any]) -> str:
    """Return the one JSON text that equal parameters have in common."""
    if not isinstance(public_parameters, Mapping):
        raise InvalidType(
            f"public_parameters must be a mapping, got {type(public_parameters).__name__}"
        )
    for key in public_parameters:
        if not isinstance(key, str):
            raise InvalidType(f"public_parameters must have str keys, got {key!r}")
    try:
        return json.dumps(
            dict(public_parameters), sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except TypeError as error:
        raise InvalidType(
            f"public_parameters must hold JSON values only: {error}; convert arrays with tolist()"
        ) from error
    except ValueError as error:  # not finite, or circular
        raise InvalidInput(
            f"public_parameters must hold finite JSON values: {error}; write None or a text instead"
        ) from error


def check_same_fit(
    name: str, recorded: tuple[float, str], asked: tuple[float, str], tolerance: float
) -> None:
    """Raise LedgerError unless cost and public parameters are those the ledger holds."""
    before, now = json.loads(recorded[1]), json.loads(asked[1])
    differences = [
        f"{key}={now.get(key)!r} (ledger: {before.get(key)!r})"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if not math.isclose(recorded[0], asked[0], rel_tol=tolerance):
        differences.append(f"mu_squared={asked[0]!r} (ledger: {recorded[0]!r})")
    if differences:
        raise LedgerError(
            f"fit_name {name!r} belongs to another fit: {', '.join(differences)}; use the recorded "
            "values to take that fit up again, or another fit_name for a new one"
        )


def check_same_total(
    path: str, dataset: str, recorded: dict[str, float], asked: dict[str, float | None]
) -> None:
    """Raise LedgerError unless each number that was asked for is the one the ledger holds."""
    for name, number in asked.items():
        if number is not None and number != recorded[name]:
            raise LedgerError(
                f"{name}={number!r} differs from {name}={recorded[name]!r} in path {path!r} for "
                f"data set {dataset!r}; a total is fixed at the first opening: leave {name} out to "
                "go on with it"
            )
