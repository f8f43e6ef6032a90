"""Packages that only some functions need: imported when used, or a typed error naming the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cloister.errors import MissingDependency


def need(package: str, purpose: str, extra: str) -> Any:
    """Return a package's module.

    Parameters
    ----------
    package : str
        Name of the module to import.
    purpose : str
        What needs it, in messages, such as "training a codec".
    extra : str
        The extra of cloister that brings it.

    Raises
    ------
    MissingDependency
        If it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingDependency(
            f"{purpose} needs {package}, which cannot be imported ({error}): pip install "
            f'"cloister[{extra}]"'
        ) from error
