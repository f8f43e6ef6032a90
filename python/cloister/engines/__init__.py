"""Who answers the one question: exact integer tallies of private rows in a public partition."""

from cloister.engines.cuda import CudaEngine
from cloister.engines.local import LocalEngine
from cloister.engines.protocol import Engine, ExactTally
from cloister.engines.streamed import StreamedEngine

__all__ = ["CudaEngine", "Engine", "ExactTally", "LocalEngine", "StreamedEngine"]
