"""Tensors of other libraries, taken as they lie: no copy, no import of the library."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidType

# Device types of DLPack (dlpack.h) whose memory the processor can read.
_CPU, _CUDA_HOST, _ROCM_HOST = 1, 3, 11
_DEVICES = {2: "CUDA", 10: "ROCm", 13: "CUDA (managed)", 8: "Metal", 14: "oneAPI"}


def host_view(rows: Any, name: str) -> tuple[Any, bool]:
    """Return rows that numpy can look at, and whether they are the bits of bfloat16 as uint16.

    Raises
    ------
    InvalidType
        If they lie in the memory of another device.
    """
    _refuse_device(rows, name)
    if _is_torch(rows) and str(rows.dtype) == "torch.bfloat16" and not rows.requires_grad:
        torch = sys.modules["torch"]  # a tensor is here, so torch is: this imports nothing
        return rows.view(torch.uint16 if hasattr(torch, "uint16") else torch.int16), True
    if hasattr(rows, "__dlpack__") and not hasattr(rows, "__array__"):
        try:
            return np.from_dlpack(rows), False
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            raise InvalidType(
                f"{name} cannot be read as an array of numbers through DLPack: {error}; pass a "
                "numpy array of shape (n, d)"
            ) from error
    return rows, False


def widened(bits: NDArray[Any]) -> NDArray[np.float32]:
    """Return bfloat16 numbers, given as 16-bit integers, as float32: exact."""
    wide = bits.view(np.uint16).astype(np.uint32, order="C")
    wide <<= 16
    return wide.view(np.float32)


def _refuse_device(rows: Any, name: str) -> None:
    if isinstance(rows, np.ndarray):
        return
    try:
        kind = int(rows.__dlpack_device__()[0]) if hasattr(rows, "__dlpack_device__") else _CPU
    except (ValueError, BufferError, RuntimeError) as error:  # torch's "meta" device, say
        raise InvalidType(
            f"{name} cannot be read as an array of numbers: {error}; pass a numpy array of shape "
            "(n, d)"
        ) from error
    if hasattr(rows, "__cuda_array_interface__") and kind == _CPU:
        kind = 2
    if kind not in (_CPU, _CUDA_HOST, _ROCM_HOST):
        raise InvalidType(
            f"{name} lies in the memory of a {_DEVICES.get(kind, 'foreign')} device (DLPack type "
            f"{kind}), but here rows are read from the host's (type {_CPU}); give an estimator "
            f'one CUDA array (type 2) and device="cuda", or pass {name}.cpu() of torch or '
            f"cupy.asnumpy({name})"
        )


def _is_torch(rows: Any) -> bool:
    return type(rows).__module__.partition(".")[0] == "torch" and hasattr(rows, "requires_grad")
