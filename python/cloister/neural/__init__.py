"""Neural networks beside the private core: what is trained on, or made from, synthetic rows.

Importing this package does not import torch; the first call that trains does.
"""

from cloister.neural.image_labeller import ImageLabeller
from cloister.neural.probe import Probe
from cloister.neural.synthesizer import Synthesizer

__all__ = ["ImageLabeller", "Probe", "Synthesizer"]
