"""Torch devices, checked before anything runs on one; threads for small work; images as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import DeviceError
from cloister.neural.optional_packages import need_torch

# Multiply-adds of a call below which torch's threads would mostly wait for each other: beside
# other busy programs two threads made small networks four times slower than one.
SMALL_CALL = 2**31


@contextmanager
def one_thread_if(small: bool) -> Iterator[None]:
    """Let torch use one thread if the work is small; afterwards its threads are as before."""
    torch = need_torch()
    before = torch.get_num_threads()
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(multiply_adds: int) -> AbstractContextManager[None]:
    """Let torch use one thread where calls take so few multiply-adds."""
    return one_thread_if(multiply_adds < SMALL_CALL)


def torch_device(name: Any) -> tuple[Any, Any]:
    """Return the torch module and the device of that name.

    Parameters
    ----------
    name : str
        Such as "cpu", "cuda" or "cuda:1"; "auto" is a GPU if torch has one.

    Raises
    ------
    MissingDependency
        If torch is not installed.
    DeviceError
        If there is no such device.
    """
    torch = need_torch()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DeviceError(f"device={name!r} cannot be used: {reason}; 'cpu' always can") from error
    return torch, device


def pixel_tensor(images: NDArray[np.uint8], device: Any = "cpu") -> Any:
    """Return images of uint8 as pixels in [0, 1], float32 (n, colours, height, width)."""
    torch = need_torch("running a network")
    batch = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    batch = batch.unsqueeze(1) if batch.ndim == 3 else batch.permute(0, 3, 1, 2)
    return batch.to(torch.float32) / 255
