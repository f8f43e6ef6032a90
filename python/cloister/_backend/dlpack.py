"""Arrays of other libraries in the memory of a device, as they lie: DLPack and CUDA's interface.

The structures are those of dlpack.h, before version 1.0 and from it on.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloister._backend.devices import using
from cloister.errors import InvalidInput, InvalidType

CUDA = 2
LEGACY_STREAM = 1  # the default stream, on which all kernels run here
NAMES = {
    (0, 8): "int8", (0, 16): "int16", (0, 32): "int32", (0, 64): "int64",
    (1, 8): "uint8", (1, 16): "uint16", (1, 32): "uint32", (1, 64): "uint64",
    (2, 16): "float16", (2, 32): "float32", (2, 64): "float64",
    (4, 16): "bfloat16", (6, 8): "bool",
}  # fmt: skip
"""dtypes by code and bits."""
CODES = {name: code for code, name in NAMES.items()}


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("dimensions", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (
        ("tensor", _Tensor),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class _ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


# Kinds of capsules: name, name once it was taken, structure.
_KINDS = (
    (b"dltensor_versioned", b"used_dltensor_versioned", _ManagedVersioned),
    (b"dltensor", b"used_dltensor", _Managed),
)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.argtypes, _is_valid.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_int
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.argtypes, _pointer.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
_set_name = ctypes.pythonapi.PyCapsule_SetName
_set_name.argtypes, _set_name.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_int


class _Taken:
    """A tensor that was taken out of its capsule; its owner is told when this goes away."""

    def __init__(self, structure: Any, address: int) -> None:
        self._address, self._deleter = address, structure.deleter
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

    def __del__(self) -> None:
        if self._deleter:
            self._call(self._deleter)(self._address)


@dataclass(frozen=True)
class Foreign:
    """An array of another library in the memory of a device.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
    device : int
    address : int
    owner : object
        Keeps the memory while it lives.
    """

    shape: tuple[int, ...]
    dtype: str
    device: int
    address: int
    owner: object


def is_on_device(array: Any) -> bool:
    """Say whether an array of any library lies in the memory of a CUDA device."""
    if isinstance(array, np.ndarray):
        return False
    if hasattr(array, "__dlpack_device__"):
        try:
            return int(array.__dlpack_device__()[0]) == CUDA
        except (ValueError, BufferError, RuntimeError):  # no memory at all: torch's "meta" device
            return False
    return hasattr(array, "__cuda_array_interface__")


def foreign_array(array: Any, name: str) -> Foreign:
    """Take an array for which `is_on_device` as it lies, without a copy.

    Raises
    ------
    InvalidInput, InvalidType
        If its elements do not lie one after the other, or are of an unknown dtype.
    """
    if hasattr(array, "__dlpack__"):
        return _from_dlpack(array, name)
    return _from_interface(array, name)


def _from_dlpack(array: Any, name: str) -> Foreign:
    try:
        capsule = _capsule(array.__dlpack__)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        # A tensor that has a gradient, say.
        raise InvalidType(
            f"{name} cannot be read through DLPack: {error}; pass {name}.detach().contiguous()"
        ) from error
    for label, used, kind in _KINDS:
        if not _is_valid(capsule, label):
            continue
        address = _pointer(capsule, label)
        structure = kind.from_address(address)
        if getattr(structure, "major", 1) != 1:
            raise InvalidType(
                f"{name} comes through DLPack {structure.major}, but 1 is known; update cloister"
            )
        _set_name(capsule, used)
        return _of_tensor(structure.tensor, _Taken(structure, address), name)
    raise InvalidType(f"{name}.__dlpack__() returned {capsule!r}, which is no capsule of DLPack")


def _capsule(dlpack: Callable[..., Any]) -> Any:
    try:
        return dlpack(stream=LEGACY_STREAM, max_version=(1, 0))
    except TypeError:  # from before 1.0
        return dlpack(stream=LEGACY_STREAM)


def _of_tensor(tensor: _Tensor, owner: object, name: str) -> Foreign:
    code = (int(tensor.code), int(tensor.bits))
    if tensor.lanes != 1 or code not in NAMES:
        raise InvalidType(
            f"{name} has DLPack dtype {code} with {tensor.lanes} lanes, but rows are "
            "float32, float64, float16 or bfloat16; convert it first"
        )
    shape = tuple(tensor.shape[: tensor.dimensions])
    if tensor.strides:
        _check_strides(shape, tuple(tensor.strides[: tensor.dimensions]), name)
    address = (tensor.data or 0) + tensor.byte_offset
    return Foreign(shape, NAMES[code], int(tensor.device_id), address, owner)


def _check_strides(shape: tuple[int, ...], strides: tuple[int, ...], name: str) -> None:
    """Refuse strides, in elements, that are not those of C order."""
    expected, wanted = 1, []
    for length in reversed(shape):
        wanted.append(expected)
        expected *= length
    pairs = zip(shape, strides, reversed(wanted), strict=True)
    if expected and any(n > 1 and stride != want for n, stride, want in pairs):
        raise InvalidInput(
            f"{name} of shape {shape} has strides {strides} (elements), but on a device rows must "
            f"lie one after the other; pass {name}.contiguous() of torch or "
            f"cupy.ascontiguousarray({name})"
        )


def _from_interface(array: Any, name: str) -> Foreign:
    """Take an array by `__cuda_array_interface__`, version 2 or 3 (as numba's are)."""
    view = array.__cuda_array_interface__
    if view.get("mask") is not None:
        raise InvalidType(f"{name} has a mask; fill its masked entries first")
    dtype, shape = np.dtype(view["typestr"]), tuple(view["shape"])
    if dtype.name not in CODES or not dtype.isnative:
        raise InvalidType(f"{name} has dtype {dtype}; convert it to float32 first")
    if view.get("strides") is not None:
        strides = tuple(stride / dtype.itemsize for stride in view["strides"])
        _check_strides(shape, strides, name)
    address = int(view["data"][0])
    # The interface does not name the device; the address does.
    with using(0) as module:
        device = module.device_of(address) if address else 0
    if device < 0:
        raise InvalidInput(f"{name} says that it lies on a device, but its address is the host's")
    stream = view.get("stream")
    if stream is not None:
        with using(device) as module:
            module.synchronize(stream)
    return Foreign(shape, dtype.name, device, address, array)
