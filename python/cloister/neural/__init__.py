"""Neural networks beside the private core: images and texts in, synthetic images out, classifiers.

Importing this package does not import torch; the first call that needs it does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cloister.neural.probe import Probe

if TYPE_CHECKING:
    from cloister.neural.embedding import embed
    from cloister.neural.image_classifier import ImageClassifier
    from cloister.neural.image_labeller import ImageLabeller
    from cloister.neural.module_encoder import ModuleEncoder
    from cloister.neural.scattering import ScatteringEncoder
    from cloister.neural.synthesizer import Synthesizer

__all__ = [
    "ImageClassifier",
    "ImageLabeller",
    "ModuleEncoder",
    "Probe",
    "ScatteringEncoder",
    "Synthesizer",
    "embed",
]

_HOMES = {
    "ImageClassifier": "image_classifier",
    "ImageLabeller": "image_labeller",
    "ModuleEncoder": "module_encoder",
    "ScatteringEncoder": "scattering",
    "Synthesizer": "synthesizer",
    "embed": "embedding",
}

if not TYPE_CHECKING:  # a type checker would take any name for granted

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
