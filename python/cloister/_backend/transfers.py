"""Copies from the host to a device that run beside kernels."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister._backend.device_array import DeviceArray
from cloister._backend.devices import using
from cloister._backend.library import DeviceKernels
from cloister.errors import DeviceError


class _PinnedMemory:
    """Page-locked memory of the host, which numpy takes as an array's base."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, device: int) -> None:
        size = prod(shape) * np.dtype(dtype).itemsize
        with using(device) as module:
            try:
                address = module.allocate_pinned(size)
            except MemoryError as error:
                raise DeviceError(
                    f"{size} bytes of the host's memory cannot be page-locked for cuda:{device}; "
                    "take cache=False, which reads the rows anew for every question, or fewer rows"
                ) from error
        self.__array_interface__ = {
            "shape": shape,
            "typestr": np.dtype(dtype).str,
            "data": (address, False),
            "version": 3,
        }
        weakref.finalize(self, _release, address, device, module).atexit = False


def _release(address: int, device: int, owner: DeviceKernels) -> None:
    with suppress(DeviceError), using(device, module=owner) as module:  # as for a device's memory
        module.release_pinned(address)


def pinned_array(shape: tuple[int, ...], dtype: Any, device: int) -> NDArray[Any]:
    """Return an array of the host, undefined, that a device reads at the speed of the bus.

    Raises
    ------
    DeviceError
        If so much memory cannot be page-locked.
    """
    return np.asarray(_PinnedMemory(shape, dtype, device))


class PageLock:
    """Keeps an array of the host where a device reads it at the speed of the bus.

    Where the system does not allow that, copies are slower; `is_locked` tells.

    Parameters
    ----------
    array : array
        C-contiguous; kept while this lives.
    device : int
    """

    def __init__(self, array: NDArray[Any], device: int) -> None:
        self._array = array
        with using(device) as module:
            self.is_locked = module.lock_pages(array.ctypes.data, array.nbytes)
        if self.is_locked:
            weakref.finalize(self, _unlock, array.ctypes.data, device, module).atexit = False


def _unlock(address: int, device: int, owner: DeviceKernels) -> None:
    with suppress(DeviceError), using(device, module=owner) as module:
        module.unlock_pages(address)


def free_memory(device: int) -> tuple[int, int]:
    """Return the free and the whole memory of a device, in bytes."""
    with using(device) as module:
        return module.memory()


@dataclass(frozen=True)
class _Copies:
    module: DeviceKernels
    stream: int
    events: tuple[int, int]

    def start(self, slot: int, to: DeviceArray, host: NDArray[Any]) -> None:
        self.module.copy(to.address, host.ctypes.data, host.nbytes, self.stream)
        self.module.record_event(self.events[slot], self.stream)

    def await_on_default_stream(self, slot: int) -> None:
        self.module.wait_event(0, self.events[slot])


@contextmanager
def _copies(device: int) -> Iterator[_Copies]:
    """Yield a stream for copies; at the end none is under way any more."""
    with using(device) as module:
        module.synchronize(0)  # memory just allocated is known to this stream alone
        events = (module.create_event(), module.create_event())
        copies = _Copies(module, module.create_stream(), events)
        try:
            yield copies
        finally:
            module.synchronize(copies.stream)
            for event in copies.events:
                module.destroy_event(event)
            module.destroy_stream(copies.stream)


def uploads(arrays: list[NDArray[Any]], device: int) -> Iterator[DeviceArray]:
    """Yield copies on a device of arrays of the host, each while the next one is on its way.

    Parameters
    ----------
    arrays : list of arrays
        Page-locked, of one dtype and equal shapes but for the number of rows.
    device : int

    Yields
    ------
    DeviceArray
        In one of two buffers: valid until the next is asked for. Kernels wait for what they do
        before they return, so that by then nobody reads it any more.
    """
    if not arrays:
        return
    most = max(len(array) for array in arrays)
    buffers = [
        DeviceArray.empty((most, *arrays[0].shape[1:]), arrays[0].dtype, device) for _ in range(2)
    ]
    with _copies(device) as copies:
        copies.start(0, buffers[0], arrays[0])
        for i, array in enumerate(arrays):
            if i + 1 < len(arrays):
                copies.start((i + 1) % 2, buffers[(i + 1) % 2], arrays[i + 1])
            copies.await_on_default_stream(i % 2)
            yield buffers[i % 2][: len(array)]
