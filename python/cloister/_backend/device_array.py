"""Arrays in the memory of a device: what the kernels of a device take and fill."""

import weakref
from contextlib import suppress
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cloister._backend import library
from cloister._backend.devices import using
from cloister._backend.dlpack import CODES, CUDA, foreign_array
from cloister._backend.library import DeviceKernels
from cloister.errors import DeviceError, InvalidInput, InvalidType


class _Memory:
    """Memory of a device, given back when this goes away."""

    def __init__(self, size: int, device: int) -> None:
        with using(device, size) as module:
            self.address = module.allocate(size, 0)
        self._finalizer = weakref.finalize(self, _release, self.address, device, module)
        self._finalizer.atexit = False  # the driver gives all back


def _release(address: int, device: int, owner: DeviceKernels) -> None:
    # After a failed kernel, or in a forked process, the device does nothing more: nobody waits for
    # this memory, and whoever drops an array asked for nothing that could fail.
    with suppress(DeviceError), using(device, module=owner) as module:
        module.release(address, 0)


class DeviceArray:
    """A C-contiguous array in the memory of one GPU.

    Other libraries take it without a copy: ``torch.from_dlpack(array)``, ``cupy.asarray(array)``.
    `numpy` copies it to the host. Slices of rows share its memory. It is given back when nobody
    holds it: wait for work on streams of your own before you let go.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
        The name of a numpy dtype, or "bfloat16".
    device : int
        Number of the GPU.
    address : int
    owner : object
        Keeps the memory while it lives.

    Attributes
    ----------
    shape, device, address
        As above.
    dtype_name : str
    dtype : numpy dtype
        Of the elements as they lie: uint16 for "bfloat16", which numpy does not know.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: str, device: int, address: int, owner: object
    ) -> None:
        self.shape, self.dtype_name, self.device, self.address = shape, dtype, device, address
        self.dtype: np.dtype[Any] = np.dtype("uint16" if dtype == "bfloat16" else dtype)
        self._owner = owner

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: Any, device: int) -> Self:
        """Return an array whose elements are undefined.

        Raises
        ------
        DeviceError
            If the device has too little free memory.
        """
        name = dtype if dtype == "bfloat16" else np.dtype(dtype).name
        item = 2 if name == "bfloat16" else np.dtype(dtype).itemsize
        memory = _Memory(prod(shape) * item, device)
        return cls(tuple(shape), name, device, memory.address, memory)

    @classmethod
    def full(cls, shape: tuple[int, ...], value: Any, dtype: Any, device: int) -> Self:
        """Return an array of one value."""
        return cls.copy_of(np.full(shape, value, dtype), device)

    @classmethod
    def copy_of(cls, array: NDArray[Any], device: int) -> Self:
        """Return a copy of an array of the host."""
        out = cls.empty(array.shape, array.dtype, device)
        out.fill_from(array)
        return out

    @classmethod
    def from_foreign(cls, array: Any, name: str = "X") -> Self:
        """Take an array of another library that lies on a device, without a copy.

        Parameters
        ----------
        array : any
            With `__dlpack__` or `__cuda_array_interface__`.
        name : str
            The argument's name in messages.

        Raises
        ------
        InvalidInput, InvalidType
            If its elements do not lie one after the other, or are of an unknown dtype.
        """
        if isinstance(array, cls):
            return array
        found = foreign_array(array, name)
        return cls(found.shape, found.dtype, found.device, found.address, found.owner)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Self:
        """Return a view of consecutive rows."""
        first, end, step = rows.indices(self.shape[0])
        if step != 1:
            raise InvalidInput(f"rows of a device array are taken in steps of 1, got {step}")
        shape = (max(0, end - first), *self.shape[1:])
        start = self.address + first * prod(self.shape[1:]) * self.dtype.itemsize
        return type(self)(shape, self.dtype_name, self.device, start, self)

    def reshape(self, *shape: int) -> Self:
        """Return a view of the same elements in another shape."""
        if prod(shape) != self.size:
            raise InvalidInput(f"{self.shape} cannot be reshaped to {shape}: other sizes")
        return type(self)(shape, self.dtype_name, self.device, self.address, self)

    def fill_from(self, array: NDArray[Any]) -> None:
        """Copy an array of the host, of the same shape and dtype."""
        source = _native(array)
        if source.shape != self.shape or source.dtype != self.dtype:
            raise InvalidInput(
                f"an array of shape {self.shape} and {self.dtype} cannot be filled from "
                f"{source.shape} and {source.dtype}"
            )
        self._copy(self.address, source.ctypes.data, self.nbytes)

    def numpy(self) -> NDArray[Any]:
        """Return a copy on the host; of bfloat16 as float32, exactly."""
        out = self._bits()
        if self.dtype_name == "bfloat16":
            return (out.astype(np.uint32) << 16).view(np.float32)
        return out

    def _bits(self) -> NDArray[Any]:
        out = np.empty(self.shape, self.dtype)
        self.copy_to(out)
        return out

    def copy_to(self, out: NDArray[Any]) -> None:
        """Copy the elements into an array of the host, C-contiguous and as large."""
        if out.nbytes != self.nbytes or not out.flags.c_contiguous or not out.flags.writeable:
            raise InvalidInput(f"{self!r} cannot be copied into an array of shape {out.shape}")
        self._copy(out.ctypes.data, self.address, self.nbytes)

    def take(self, indices: NDArray[np.int64]) -> Self:
        """Return the rows of these indices, as a new array on the device.

        Raises
        ------
        InvalidInput
            If an index is no row's.
        """
        indices = np.ascontiguousarray(indices, np.int64)
        n = self.shape[0]
        if len(indices) and not 0 <= indices.min() <= indices.max() < n:
            raise InvalidInput(f"indices must lie in [0, {n}), got {indices.min()} or more")
        out = self.empty((len(indices), *self.shape[1:]), self.dtype_name, self.device)
        row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        with using(self.device, 8 * len(indices)) as module:
            module.gather(
                self.address, indices.ctypes.data, len(indices), row_bytes, out.address, 0
            )
        return out

    def _copy(self, to: int, from_: int, size: int) -> None:
        if size:
            with using(self.device) as module:
                module.copy(to, from_, size, 0)
                module.synchronize(0)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the elements: they go to the device of the same number again."""
        return _restored, (self._bits(), self.dtype_name, self.device)

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, {self.dtype_name}, cuda:{self.device})"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.dtype_name == "bfloat16":
            raise AttributeError("bfloat16 has no typestr; use __dlpack__")
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "stream": None,  # all work on it was waited for
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return (CUDA, self.device)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule of this memory; nothing needs to be waited for on any stream."""
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError(f"{self!r} is handed over as it lies: no copy, no other device")
        code, bits = CODES[self.dtype_name]
        return library.device_kernels().dlpack(
            self.address, list(self.shape), code, bits, self.device, self
        )


def _restored(bits: NDArray[Any], dtype: str, device: int) -> DeviceArray:
    copy = DeviceArray.copy_of(bits, device)
    return DeviceArray(copy.shape, dtype, device, copy.address, copy)


def _native(given: Any) -> NDArray[Any]:
    array: NDArray[Any] = np.ascontiguousarray(given)
    # bfloat16 of ml_dtypes: its bits.
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


RowArray = NDArray[Any] | DeviceArray
"""An array with an entry for each row: of the host, or of a device."""


def address_of(array: RowArray) -> int:
    """Return where an array starts."""
    return array.address if isinstance(array, DeviceArray) else array.ctypes.data


def placed(array: NDArray[Any], device: int | None) -> RowArray:
    """Return a copy on a device, or the array itself for None."""
    return array if device is None else DeviceArray.copy_of(array, device)


def empty_rows(shape: tuple[int, ...], dtype: Any, device: int | None) -> RowArray:
    """Return an array with undefined elements, on a device or (None) the host."""
    return np.empty(shape, dtype) if device is None else DeviceArray.empty(shape, dtype, device)


def on_host(array: RowArray) -> NDArray[Any]:
    """Return an array of the host as it is, one of a device as a copy."""
    return array.numpy() if isinstance(array, DeviceArray) else array


def dtype_name(array: RowArray) -> str:
    """Return the name of an array's dtype, which may be "bfloat16"."""
    return array.dtype_name if isinstance(array, DeviceArray) else array.dtype.name


def require_dtype(name: str, array: RowArray, dtype: Any) -> None:
    """Refuse another dtype.

    Raises
    ------
    InvalidType
    """
    wanted = np.dtype(dtype).name
    if dtype_name(array) != wanted:
        raise InvalidType(f"{name} must have dtype {wanted}, got {dtype_name(array)}")
