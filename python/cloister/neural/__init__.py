"""Neural networks beside the private core: encoders, and what learns from synthetic rows.

Importing this package does not import torch; the first call that needs it does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cloister.neural.probe import Probe

if TYPE_CHECKING:
    from cloister.neural.embedding import embed
    from cloister.neural.module_encoder import ModuleEncoder

__all__ = ["ModuleEncoder", "Probe", "embed"]

_HOMES = {"ModuleEncoder": "cloister.neural.module_encoder", "embed": "cloister.neural.embedding"}

if not TYPE_CHECKING:  # a type checker would take any name for granted

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
