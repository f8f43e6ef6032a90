"""Arrays on a device: copies, views, rows by index, and other libraries' arrays as they lie."""

import copy
import gc
import pickle

import numpy as np
import pytest

from cloister import _backend
from cloister._backend import DeviceArray, Placement
from cloister.errors import DeviceError, InvalidInput, InvalidType
from foreign_arrays import ForeignArray, InterfaceArray, VersionedArray, normal_rows

pytestmark = pytest.mark.usefixtures("emulated_cuda")

DTYPES = ("float32", "float64", "float16", "int16", "int32", "int64", "uint32", "bool")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (5, 7), (4,), (2, 3, 4)])
def test_there_and_back(rng, dtype, shape):
    array = (rng.normal(size=shape) * 9).astype(dtype)
    copied = DeviceArray.copy_of(array, 0)
    assert (copied.shape, copied.dtype, copied.nbytes) == (array.shape, array.dtype, array.nbytes)
    back = copied.numpy()
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


def test_slices_share_memory(rng):
    array = rng.normal(size=(10, 3))
    whole = DeviceArray.copy_of(array, 0)
    part = whole[2:7]
    assert (part.numpy() == array[2:7]).all()
    part[1:3].fill_from(np.zeros((2, 3)))
    array[3:5] = 0
    assert (whole.numpy() == array).all()
    del whole
    gc.collect()
    assert (part.numpy() == array[2:7]).all()
    assert part[4:9].shape == (1, 3)
    with pytest.raises(InvalidInput, match="steps of 1, got 2"):
        part[::2]


def test_memory_is_given_back(emulated_cuda):
    emulated_cuda.synchronize(0)
    before, _ = emulated_cuda.memory()
    array = DeviceArray.empty((1000, 100), np.float32, 0)
    assert emulated_cuda.memory()[0] == before - 400_000
    view = array[3:]
    del array
    assert emulated_cuda.memory()[0] == before - 400_000
    del view
    emulated_cuda.synchronize(0)
    assert emulated_cuda.memory()[0] == before


def test_what_a_failed_device_holds_is_dropped_in_silence(emulated_cuda, monkeypatch):
    """pytest makes an error of a finalizer a failure."""
    array = DeviceArray.empty((3,), np.int8, 0)

    def fail(*_):
        raise RuntimeError("CUDA: an illegal memory access was encountered")

    monkeypatch.setattr(emulated_cuda, "current_device", fail)
    with pytest.raises(DeviceError, match="cuda:0: CUDA: an illegal"):
        array.numpy()
    del array
    gc.collect()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16", "bool"])
@pytest.mark.parametrize("d", [1, 2, 3, 8, 31, 32, 64, 129])
def test_take_is_numpys(rng, dtype, d):
    array = (rng.normal(size=(40, d)) * 9).astype(dtype)
    indices = rng.integers(0, 40, size=77)
    taken = DeviceArray.copy_of(array, 0).take(indices)
    assert (taken.numpy() == array[indices]).all()


def test_take_of_nothing_and_of_views(rng):
    array = DeviceArray.copy_of(rng.normal(size=(9, 5)), 0)
    assert array.take(np.empty(0, np.int64)).numpy().shape == (0, 5)
    assert (array[1:].take(np.array([7, 0])).numpy() == array.numpy()[[8, 1]]).all()
    for wrong in ([-1], [9]):
        with pytest.raises(InvalidInput, match=r"indices must lie in \[0, 9\)"):
            array.take(np.array(wrong))


def test_arrays_that_do_not_fit():
    array = DeviceArray.copy_of(np.zeros((3, 2)), 0)
    with pytest.raises(InvalidInput, match=r"\(3, 2\) and float64 cannot be filled from \(2, 3\)"):
        array.fill_from(np.zeros((2, 3)))
    with pytest.raises(InvalidInput, match="and float32"):
        array.fill_from(np.zeros((3, 2), np.float32))
    with pytest.raises(InvalidInput, match="cannot be copied into an array of shape"):
        array.copy_to(np.zeros(5))
    with pytest.raises(InvalidInput, match="cannot be reshaped"):
        array.reshape(4, 2)


@pytest.mark.parametrize("wrap", [lambda a: DeviceArray.copy_of(a, 0), ForeignArray])
def test_dlpack_without_a_copy(rng, wrap):
    array = rng.normal(size=(6, 4)).astype(np.float32)
    foreign = wrap(array)
    taken = DeviceArray.from_foreign(ForeignArray(getattr(foreign, "memory", foreign)))
    assert taken.address == getattr(foreign, "memory", foreign).address
    del foreign
    gc.collect()
    assert (taken.numpy() == array).all()


def test_the_stream_is_the_one_that_kernels_run_on():
    foreign = ForeignArray(np.zeros((2, 2)))
    DeviceArray.from_foreign(foreign)
    assert foreign.streams == [1]


def test_capsules_that_nobody_takes_let_go(emulated_cuda):
    emulated_cuda.synchronize(0)
    before, _ = emulated_cuda.memory()
    capsule = DeviceArray.empty((10, 10), np.float32, 0).__dlpack__()
    assert emulated_cuda.memory()[0] < before
    del capsule
    emulated_cuda.synchronize(0)
    assert emulated_cuda.memory()[0] == before


def test_capsules_of_version_1(rng):
    array = rng.normal(size=(6, 4)).astype(np.float32)
    foreign = VersionedArray(array, strides=(4, 1), offset=64)
    taken = DeviceArray.from_foreign(foreign)
    assert taken.address == foreign.memory.address
    assert (taken.numpy() == array).all()
    view = taken[2:]
    del taken
    assert foreign.deleted == 0
    del view
    gc.collect()
    assert foreign.deleted == 1


def test_bfloat16_is_known_by_name(rng):
    bits = rng.integers(0, 2**14, size=(6, 4)).astype(np.uint16)
    taken = DeviceArray.from_foreign(VersionedArray(bits, code=(4, 16)))
    assert (taken.dtype_name, taken.nbytes) == ("bfloat16", 48)
    widened = (bits.astype(np.uint32) << 16).view(np.float32)
    assert (taken.numpy() == widened).all()
    again = DeviceArray.from_foreign(ForeignArray(taken))
    assert (again.dtype_name, again.address) == ("bfloat16", taken.address)
    assert not hasattr(taken, "__cuda_array_interface__")


REFUSED = {
    "columns": ({"strides": (8, 1)}, InvalidInput, r"strides \(8, 1\).*X\.contiguous\(\)"),
    "transposed": ({"strides": (1, 6)}, InvalidInput, "must lie one after the other"),
    "complex": ({"code": (5, 64)}, InvalidType, r"DLPack dtype \(5, 64\)"),
    "lanes": ({"lanes": 4}, InvalidType, "with 4 lanes"),
    "newer": ({"major": 2}, InvalidType, "DLPack 2, but 1 is known"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_foreign_arrays_that_are_refused(case):
    changes, error, message = REFUSED[case]
    foreign = VersionedArray(np.zeros((6, 4), np.float32), **changes)
    with pytest.raises(error, match=message):
        DeviceArray.from_foreign(foreign)


def test_strides_of_lone_rows_do_not_matter():
    foreign = VersionedArray(np.zeros((1, 4), np.float32), strides=(77, 1))
    assert DeviceArray.from_foreign(foreign).shape == (1, 4)


def test_cuda_array_interface(rng):
    array = rng.normal(size=(6, 4)).astype(np.float32)
    foreign = InterfaceArray(array, stream=1, strides=(16, 4))
    taken = DeviceArray.from_foreign(foreign)
    assert (taken.address, taken.device) == (foreign.memory.address, 0)
    assert (taken.numpy() == array).all()
    assert _backend.is_on_device(foreign)
    for changes, error, message in (
        ({"strides": (32, 4)}, InvalidInput, "must lie one after the other"),
        ({"mask": foreign}, InvalidType, "has a mask"),
        ({"typestr": "<c8"}, InvalidType, "dtype complex64"),
        ({"data": (array.ctypes.data, False)}, InvalidInput, "its address is the host's"),
    ):
        with pytest.raises(error, match=message):
            DeviceArray.from_foreign(InterfaceArray(array, **changes))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_copies_have_memory_of_their_own(rng, copied):
    array = DeviceArray.copy_of(rng.normal(size=(3, 2)), 0)
    again = copied(array)
    assert again.address != array.address
    assert (again.numpy() == array.numpy()).all()
    bits = DeviceArray.copy_of(np.array([0x3FC0], np.uint16), 0)
    halves = DeviceArray((1,), "bfloat16", 0, bits.address, bits)
    assert copied(halves).dtype_name == "bfloat16"
    assert copied(halves).numpy() == 1.5


def test_arrays_without_memory_lie_on_no_device():
    class Meta:
        def __dlpack_device__(self):
            raise ValueError("Unknown device type meta")

    assert not _backend.is_on_device(Meta())


def test_arrays_of_one_call_lie_in_one_place():
    codes = np.zeros((4, 3), np.int16)
    on_device = DeviceArray.copy_of(normal_rows(4, 3), 0)
    with pytest.raises(InvalidInput, match="rows lies on cuda:0, but codes on the host"):
        Placement.of(rows=on_device, codes=codes)
    assert Placement.of(rows=on_device, labels=None).device == 0
    assert Placement.of(codes=codes).device is None
    with pytest.raises(InvalidType, match="rows must have dtype int16, got float32"):
        Placement(0).rows("rows", on_device, np.int16, (4, 3))
    with pytest.raises(InvalidInput, match=r"rows must have shape \(3, 3\), got \(4, 3\)"):
        Placement(0).rows("rows", on_device, np.float32, (3, 3))


def test_what_only_the_host_can_do_is_refused():
    rows = normal_rows(4, 3)
    screened = _backend.screen_rows(rows, None)
    with pytest.raises(InvalidInput, match="screened serves rows of the host alone"):
        _backend.nearest(DeviceArray.copy_of(rows, 0), rows[:2].copy(), screened=screened)
