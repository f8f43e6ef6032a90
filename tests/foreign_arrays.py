"""Arrays of a library that cloister does not know, in the memory of a device."""

import ctypes

import numpy as np

from cloister._backend import DeviceArray, dlpack

_new = ctypes.pythonapi.PyCapsule_New
_new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_new.restype = ctypes.py_object
_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class ForeignArray:
    """What torch and cupy offer of an array: DLPack, a shape, and their own namespace."""

    def __init__(self, array, device=0, dtype=None):
        self.memory = array
        if not isinstance(array, DeviceArray):
            copy = DeviceArray.copy_of(array, device)
            self.memory = DeviceArray(
                copy.shape, dtype or copy.dtype_name, device, copy.address, copy
            )
        self.shape, self.dtype = self.memory.shape, self.memory.dtype
        self.ndim = self.memory.ndim
        self.streams = []

    def __len__(self):
        return len(self.memory)

    def __dlpack_device__(self):
        return self.memory.__dlpack_device__()

    def __dlpack__(self, *, stream):
        self.streams.append(stream)
        return self.memory.__dlpack__(stream=stream)

    def __array_namespace__(self):
        return Namespace

    def numpy(self):
        return self.memory.numpy()


class Namespace:
    """The library that `ForeignArray` belongs to."""

    @staticmethod
    def from_dlpack(array):
        return ForeignArray(DeviceArray.from_foreign(array))


class InterfaceArray:
    """An array that offers `__cuda_array_interface__` alone, as numba's do."""

    def __init__(self, array, **changes):
        self.memory = DeviceArray.copy_of(array, 0)
        self.shape = array.shape
        view = {**self.memory.__cuda_array_interface__, **changes}
        self.__cuda_array_interface__ = view


class VersionedArray:
    """An array that comes in a capsule of DLPack 1, with strides, an offset, and a deleter."""

    def __init__(self, array, strides=None, offset=0, code=(2, 32), lanes=1, major=1):
        self.memory = DeviceArray.copy_of(array, 0)
        self.shape = array.shape
        self.deleted = 0
        self._deleter = _Deleter(self._delete)
        self._shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        self._strides = (ctypes.c_int64 * array.ndim)(*strides) if strides else None
        self.managed = managed = dlpack._ManagedVersioned()
        managed.major, managed.deleter = major, ctypes.cast(self._deleter, ctypes.c_void_p)
        tensor = managed.tensor
        tensor.data, tensor.byte_offset = self.memory.address - offset, offset
        tensor.device_type, tensor.dimensions, tensor.lanes = 2, array.ndim, lanes
        tensor.code, tensor.bits = code
        tensor.shape = self._shape
        if strides:
            tensor.strides = self._strides

    def _delete(self, address):
        assert address == ctypes.addressof(self.managed)
        self.deleted += 1

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, *, stream, max_version):
        assert (stream, max_version) == (1, (1, 0))
        return _new(ctypes.addressof(self.managed), b"dltensor_versioned", None)


def normal_rows(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
