"""Optional libraries, imported when they are used."""

from importlib import import_module
from typing import Any

from cloister.errors import MissingDependency


def import_library(module: str, extra: str, purpose: str) -> Any:
    """Import a library that only some of cloister's users have.

    Parameters
    ----------
    module : str
        Name to import, such as "torch" or "PIL.Image".
    extra : str
        The extra of cloister that installs it.
    purpose : str
        What needs it, as the beginning of the message.

    Raises
    ------
    MissingDependency
        Naming the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f'{purpose} needs {module.partition(".")[0]} ({error}): pip install "cloister[{extra}]"'
        ) from error


def torch_for_encoders() -> Any:
    """Return torch, which every encoder with a network needs."""
    return import_library("torch", "torch", "an encoder")
