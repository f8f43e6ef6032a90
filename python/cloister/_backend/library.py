"""The compiled kernels of this process: which instruction set, how many threads, which addresses.

The only importer of the extension modules.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from cloister import _cpu  # type: ignore[attr-defined]
from cloister.errors import DeviceError, InvalidInput, InvalidType

MAX_THREADS = 1024
TARGETS = ("generic", "avx2", "avx512")


class Kernels(Protocol):
    """What a compiled backend offers: the mirror of cpp/kernels.hpp, addresses as int."""

    candidate_block: int
    range_rows: int
    most_candidates: int

    def encode(self, *arguments: float) -> None: ...
    def tally(self, *arguments: float) -> None: ...
    def moments(self, *arguments: float) -> None: ...
    def bins(self, *arguments: float) -> None: ...
    def gradient(self, *arguments: float) -> None: ...
    def nearest(self, *arguments: float) -> None: ...
    def screen_rows(self, *arguments: int) -> None: ...
    def column_ranges(self, *arguments: int) -> bool: ...
    def screens_by_codes(self, d: int, k: int) -> bool: ...
    def all_distances(self, *arguments: int) -> None: ...
    def closest(self, *arguments: int) -> None: ...
    def code_squares(self, *arguments: int) -> None: ...
    def noise(self, *arguments: float) -> None: ...
    def sample_mixture(self, *arguments: float) -> None: ...
    def chacha20_block(self, key: int, counter: int, nonce: int, out: int) -> None: ...
    def judge_attempts(self, words: int, n: int, verdicts: int) -> None: ...
    def target_name(self) -> str: ...
    def use_target(self, name: str) -> bool: ...
    def target_supported(self, name: str) -> bool: ...
    def device_count(self) -> int: ...


class DeviceKernels(Kernels, Protocol):
    """What the module of a device offers beside kernels: the mirror of cuda/device_bindings.cpp.

    Devices are used by the calling thread. Memory, streams and events are addresses.
    """

    architectures: str

    def describe(self, device: int) -> dict[str, Any]: ...
    def use_device(self, device: int) -> None: ...
    def current_device(self) -> int: ...
    def device_of(self, address: int) -> int: ...
    def driver_version(self) -> int: ...
    def runtime_version(self) -> int: ...
    def memory(self) -> tuple[int, int]: ...
    def allocate(self, size: int, stream: int) -> int: ...
    def release(self, memory: int, stream: int) -> None: ...
    def allocate_pinned(self, size: int) -> int: ...
    def release_pinned(self, memory: int) -> None: ...
    def lock_pages(self, memory: int, size: int) -> bool: ...
    def unlock_pages(self, memory: int) -> None: ...
    def copy(self, to: int, from_: int, size: int, stream: int) -> None: ...
    def gather(self, *arguments: int) -> None: ...
    def dlpack(
        self, address: int, shape: list[int], code: int, bits: int, device: int, owner: object
    ) -> Any: ...
    def create_stream(self) -> int: ...
    def destroy_stream(self, stream: int) -> None: ...
    def synchronize(self, stream: int) -> None: ...
    def create_event(self) -> int: ...
    def destroy_event(self, event: int) -> None: ...
    def record_event(self, event: int, stream: int) -> None: ...
    def wait_event(self, stream: int, event: int) -> None: ...


kernels: Kernels = _cpu
_threads: int | None = None


def device_kernels() -> DeviceKernels:
    """Return the module of device kernels.

    Raises
    ------
    ImportError
        If it was not compiled, or cannot be loaded.
    """
    return cast(DeviceKernels, importlib.import_module("cloister._cuda"))


def num_threads() -> int:
    """Threads that kernels use: `set_num_threads`, CLOISTER_NUM_THREADS, or the cores allowed."""
    if _threads is not None:
        return _threads
    setting = os.environ.get("CLOISTER_NUM_THREADS", "")
    if setting.isdecimal() and 1 <= int(setting) <= MAX_THREADS:
        return int(setting)
    if setting:
        raise InvalidInput(
            f"CLOISTER_NUM_THREADS={setting!r} is not a whole number from 1 up; unset it to use "
            "every core"
        )
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(threads: int | None) -> None:
    """Set the number of threads of every kernel; None takes the environment's again.

    Parameters
    ----------
    threads : int or None
        From 1 to `MAX_THREADS`. Results do not depend on it, only speed.

    Raises
    ------
    InvalidType, InvalidInput
        If `threads` is no whole number in that range.
    """
    global _threads  # noqa: PLW0603
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, Integral)):
        raise InvalidType(f"threads must be a whole number, got {threads!r}; None takes all cores")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise InvalidInput(f"threads={threads} is outside [1, {MAX_THREADS}]; None takes all cores")
    _threads = None if threads is None else int(threads)


def target() -> str:
    """Instruction set in use: one of `TARGETS`."""
    return kernels.target_name()


def supported_targets() -> list[str]:
    """Instruction sets that this processor has."""
    return [name for name in TARGETS if kernels.target_supported(name)]


@contextmanager
def use_target(name: str) -> Iterator[None]:
    """Run the kernels of one instruction set; results are the same bits on all."""
    before = target()
    if name not in TARGETS or not kernels.use_target(name):
        raise DeviceError(
            f"target {name!r} is not available here; this processor has {supported_targets()}"
        )
    try:
        yield
    finally:
        kernels.use_target(before)


def address(
    name: str,
    array: NDArray[Any] | None,
    dtype: Any,
    shape: tuple[int, ...],
    *,
    writeable: bool = False,
) -> int:
    """Return the address of an array that a kernel can use as it lies; 0 for None.

    Raises
    ------
    InvalidType, InvalidInput
        If its dtype, memory layout or shape is not what the kernel assumes.
    """
    if array is None:
        return 0
    if not isinstance(array, np.ndarray):
        raise InvalidType(f"{name} must be a numpy array, got {type(array).__name__}")
    if array.dtype != dtype:
        raise InvalidType(f"{name} must have dtype {np.dtype(dtype)}, got {array.dtype}")
    if array.shape != shape:
        raise InvalidInput(f"{name} must have shape {shape}, got {array.shape}")
    if not array.flags.c_contiguous:
        raise InvalidInput(f"{name} must be C-contiguous: pass np.ascontiguousarray({name})")
    if writeable and not array.flags.writeable:
        raise InvalidInput(f"{name} is written to, but is read-only: pass a copy")
    return array.ctypes.data
