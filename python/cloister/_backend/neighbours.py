"""Lists of the centres near each row, which the nearest kernel keeps from call to call."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister._backend.library import address
from cloister.errors import InvalidInput

MAX_CALLS = 2**15 - 1
MAX_LISTED_CENTRES = 2**16 - 1
LONGEST_LIST = 32


@dataclass(frozen=True)
class Neighbours:
    """Lists of near centres that calls of `nearest` keep for later ones: see kernels.hpp.

    Attributes
    ----------
    lists : uint16 array of shape (n, length)
    bounds, seconds : float32 arrays of shape (n,)
    calls : int16 array of shape (n,)
        -1 where a row has no list.
    slack : float32 array of shape (1,)
        How far lists reach.
    """

    lists: NDArray[np.uint16]
    bounds: NDArray[np.float32]
    seconds: NDArray[np.float32]
    calls: NDArray[np.int16]
    slack: NDArray[np.float32]

    @classmethod
    def empty(cls, n: int, length: int) -> "Neighbours":
        return cls(
            np.empty((n, length), np.uint16),
            np.empty(n, np.float32),
            np.empty(n, np.float32),
            np.full(n, -1, np.int16),
            np.full(1, 0.125, np.float32),
        )


@dataclass(frozen=True)
class Recollection:
    """How a call of `nearest` uses and makes lists of neighbours.

    Attributes
    ----------
    neighbours : Neighbours
    moved : float64 array of shape (call,)
        At least how far any centre but the movers has moved since each earlier call.
    all_moved : float64 array of shape (call,)
        At least how far any centre has moved.
    movers : int32 array
        Centres that every row looks at.
    recalls, builds : bool
        Whether lists are used, and made.
    """

    neighbours: Neighbours
    moved: NDArray[np.float64]
    all_moved: NDArray[np.float64]
    movers: NDArray[np.int32]
    recalls: bool
    builds: bool


def kernel_arguments(
    recollection: Recollection | None, n: int, k: int
) -> tuple[list[int], list[NDArray[Any]]]:
    """Return the arguments of `nearest`, and the arrays that must outlive its call."""
    if recollection is None:
        return [0] * 12 + [False, False], []
    memory, call = recollection.neighbours, len(recollection.moved)
    length = memory.lists.shape[1]
    movers = recollection.movers
    if not (0 < length <= LONGEST_LIST and k <= MAX_LISTED_CENTRES and call <= MAX_CALLS):
        raise InvalidInput(f"no lists of length {length} for {k} centres in call {call}")
    if len(movers) and not (movers.min() >= 0 and movers.max() < k):
        raise InvalidInput(f"movers must lie in [0, {k})")
    is_mover = np.zeros(k, np.uint8)
    is_mover[movers] = 1
    return [
        address("lists", memory.lists, np.uint16, (n, length), writeable=True),
        address("bounds", memory.bounds, np.float32, (n,), writeable=True),
        address("seconds", memory.seconds, np.float32, (n,), writeable=True),
        address("calls", memory.calls, np.int16, (n,), writeable=True),
        length,
        call,
        address("moved", recollection.moved, np.float64, (call,)),
        address("all_moved", recollection.all_moved, np.float64, (call,)),
        address("movers", movers, np.int32, movers.shape),
        len(movers),
        is_mover.ctypes.data,
        address("slack", memory.slack, np.float32, (1,), writeable=True),
        recollection.recalls,
        recollection.builds,
    ], [is_mover]
