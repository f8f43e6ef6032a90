"""Packages that only some functions need: imported when used, or a typed error naming the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cloister.errors import MissingDependency


def need(module: str, purpose: str, extra: str) -> Any:
    """Return a module.

    Parameters
    ----------
    module : str
        Name to import, such as "timm" or "PIL.Image".
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
        return import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f"{purpose} needs {module}, which cannot be imported ({error}): pip install "
            f'"cloister[{extra}]"'
        ) from error


def need_torch(purpose: str = "running a network") -> Any:
    """Return torch, or raise MissingDependency."""
    return need("torch", purpose, "torch")


def need_pillow(module: str = "PIL.Image") -> Any:
    """Return a module of Pillow, which reads and writes files of images, or MissingDependency."""
    return need(module, "reading and writing pictures (Pillow)", "torch")
