"""Owner-side kernel: what candidates for the next centre of k-means++ would change."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cloister._backend import library
from cloister._backend.device_array import DeviceArray, RowArray, on_host
from cloister._backend.library import address
from cloister._backend.nearest import ScreenedRows
from cloister._backend.placement import Placement
from cloister.errors import InvalidInput

CANDIDATE_BLOCK = library.kernels.candidate_block  # rows whose potentials are added up together


@dataclass(frozen=True)
class ClosestState:
    """Squared distances to the centres so far, and what the last candidates would make of them.

    Attributes
    ----------
    closest : float32 array of shape (n,)
        Before the candidate accepted last.
    distances : float32 array of shape (n, most candidates of a call)
        To those candidates that are closer.
    improved : uint32 array of shape (n,)
        Bit l is set where candidate l is closer.
    """

    closest: RowArray
    distances: RowArray
    improved: RowArray

    @classmethod
    def without_centres(cls, n: int, candidates: int, device: int | None = None) -> Self:
        """Return the state of n rows, on the host or a device, before there is any centre."""
        closest, improved = np.full(n, np.inf, np.float32), np.zeros(n, np.uint32)
        if device is None:
            return cls(closest, np.empty((n, candidates), np.float32), improved)
        return cls(
            DeviceArray.copy_of(closest, device),
            DeviceArray.empty((n, candidates), np.float32, device),
            DeviceArray.copy_of(improved, device),
        )

    def accepted(self, rows: slice, candidate: int) -> NDArray[np.float32]:
        """Return the squared distances of some rows if `candidate` becomes a centre."""
        improved, distances = on_host(self.improved[rows]), on_host(self.distances[rows])
        is_closer = (improved >> np.uint32(candidate)) & np.uint32(1) == 1
        return np.where(is_closer, distances[:, candidate], on_host(self.closest[rows]))


def code_squares(screened: ScreenedRows) -> NDArray[np.int32]:
    """Return the sum of the squared codes of each row, of shape (n,)."""
    (n, d) = screened.codes.shape  # codes that pad a row are zero
    out = np.empty(n, np.int32)
    library.kernels.code_squares(
        address("codes", screened.codes, np.uint8, (n, d)),
        n,
        d,
        out.ctypes.data,
        library.num_threads(),
        0,
    )
    return out


def closest(
    rows: RowArray,
    candidates: NDArray[Any],
    state: ClosestState,
    *,
    accepted: int = -1,
    shift: NDArray[Any] | None = None,
    weights: RowArray | None = None,
    screened: ScreenedRows | None = None,
    squares: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Try candidates for the next centre of k-means++ (`closest` in kernels.hpp).

    Parameters
    ----------
    rows : float32 array of shape (n, d)
    candidates : float32 array of shape (count, d)
        In the coordinates of ``rows - shift``.
    state : ClosestState
        Of these rows; brought up to date.
    accepted : int
        Which candidate of the last call became a centre; -1 for none.
    shift : float32 array of shape (d,), optional
    weights : float64 array of shape (n,), optional
    screened, squares : ScreenedRows and int32 array of shape (n,), optional
        By `screen_rows` and `code_squares` for these rows and this shift: faster, with the same
        results.

    Returns
    -------
    float64 array of shape (ceil(n / CANDIDATE_BLOCK), count)
        Weighted sums over blocks of rows of the squared distance to the nearest centre, if the
        candidate were one.

    Raises
    ------
    InvalidInput, InvalidType
        If an array has another shape, dtype or memory layout, there are more candidates than
        `state` has room for, or codes come without squares.
    """
    (n, d), count, room = rows.shape, len(candidates), state.distances.shape[-1]
    if d == 0 or not 0 < count <= min(room, library.kernels.most_candidates):
        raise InvalidInput(
            f"candidates must have d > 0 and between 1 and {room} rows, those of the state, got "
            f"{d} and {count}"
        )
    if not -1 <= accepted < room:
        raise InvalidInput(f"accepted={accepted} is no candidate: pass -1 to {room - 1}")
    if (screened is None) != (squares is None):
        raise InvalidInput("pass both screened and squares, or neither: got one")
    potentials = np.empty((-(-n // CANDIDATE_BLOCK), count))
    place = Placement.of(
        rows=rows,
        weights=weights,
        closest=state.closest,
        distances=state.distances,
        improved=state.improved,
    )
    if screened is not None:
        place.require_host("screened")
    with place.kernels() as kernels:
        kernels.closest(
            place.rows("rows", rows, np.float32, (n, d)),
            n,
            d,
            address("shift", shift, np.float32, (d,)),
            place.rows("weights", weights, np.float64, (n,)),
            *((0, 0, 0, 0) if screened is None else screened.addresses(n, d)),
            address("squares", squares, np.int32, (n,)),
            address("candidates", candidates, np.float32, (count, d)),
            count,
            place.rows("closest", state.closest, np.float32, (n,), writeable=True),
            place.rows("distances", state.distances, np.float32, (n, room), writeable=True),
            place.rows("improved", state.improved, np.uint32, (n,), writeable=True),
            potentials.ctypes.data,
            room,
            accepted,
            library.num_threads(),
            0,
        )
    return potentials
