"""Where the arrays of one call of a kernel lie: on the host, or all on one device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from cloister._backend import library
from cloister._backend.device_array import DeviceArray, RowArray, require_dtype
from cloister._backend.devices import using
from cloister._backend.library import Kernels, address
from cloister.errors import InvalidInput


@dataclass(frozen=True)
class Placement:
    """The place of all arrays with an entry for each row that one call is given.

    Public arrays and sums are always the host's: see cpp/kernels.hpp.

    Attributes
    ----------
    device : int or None
        None: the host.
    """

    device: int | None

    @classmethod
    def of(cls, **arrays: RowArray | None) -> Self:
        """Return the place of these arrays, of which None stand for none.

        Raises
        ------
        InvalidInput
            If some lie elsewhere than others.
        """
        places = {
            name: array.device if isinstance(array, DeviceArray) else None
            for name, array in arrays.items()
            if array is not None
        }
        (first, place), *others = places.items()
        for name, other in others:
            if other != place:
                raise InvalidInput(
                    f"{first} lies on {_shown(place)}, but {name} on {_shown(other)}; copy one to "
                    "where the other is"
                )
        return cls(place)

    @contextmanager
    def kernels(self) -> Iterator[Kernels]:
        """Let the calling thread use the kernels of this place.

        Raises
        ------
        DeviceError
            As `using`.
        """
        if self.device is None:
            yield library.kernels
            return
        with using(self.device) as module:
            yield module

    def rows(
        self,
        name: str,
        array: RowArray | None,
        dtype: Any,
        shape: tuple[int, ...],
        *,
        writeable: bool = False,
    ) -> int:
        """Return the address of an array with an entry for each row: see `library.address`."""
        if not isinstance(array, DeviceArray):
            return address(name, array, dtype, shape, writeable=writeable)
        require_dtype(name, array, dtype)
        if array.shape != shape:
            raise InvalidInput(f"{name} must have shape {shape}, got {array.shape}")
        return array.address

    def require_host(self, what: str) -> None:
        """Refuse what only the host's kernels can do.

        Raises
        ------
        InvalidInput
        """
        if self.device is not None:
            raise InvalidInput(
                f"{what} serves rows of the host alone, but these lie on {_shown(self.device)}; "
                "leave it out"
            )


def _shown(device: int | None) -> str:
    return "the host" if device is None else f"cuda:{device}"
