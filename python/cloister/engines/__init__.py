"""Who answers the one question: exact integer tallies of private rows in a public partition."""

from cloister.engines.local import LocalEngine
from cloister.engines.protocol import Engine, ExactTally

__all__ = ["Engine", "ExactTally", "LocalEngine"]
