"""What `device=` can mean, and what is said where it cannot be had."""

import sys
import warnings

import numpy as np
import pytest

from cloister import _backend
from cloister._backend import DeviceArray, devices
from cloister.errors import DeviceError, DeviceWarning, InvalidInput, InvalidType


class Module:
    """A module of device kernels as far as it is asked for devices."""

    architectures = "80,90"

    def __init__(self, driver=0, runtime=13000, capabilities=()):
        self.device_count = lambda: len(capabilities)
        self.describe = lambda number: {"capability": capabilities[number]}
        self.driver_version = lambda: driver
        self.runtime_version = lambda: runtime


@pytest.fixture
def found(monkeypatch):
    """Let another module be found, or none (None)."""
    monkeypatch.setattr(devices, "_warned", False)
    return lambda module: monkeypatch.setitem(sys.modules, "cloister._cuda", module)


@pytest.fixture
def two_devices(emulated_cuda, monkeypatch):
    monkeypatch.setenv("CLOISTER_EMULATED_DEVICES", "2")
    return emulated_cuda


REASONS = {
    "not compiled": (None, "built without CUDA kernels.*CLOISTER_CUDA=ON.*nvcc"),
    "no driver": (Module(), r"no NVIDIA driver was found; install one that supports CUDA 13\.0"),
    "old driver": (
        Module(driver=12080),
        r"driver supports CUDA 12\.8, but the kernels need 13\.0 or newer; update the driver",
    ),
    "old device": (
        Module(capabilities=[(7, 5)], driver=13000),
        r"cuda:0 has compute capability 7\.5, but the kernels need 8\.0 or newer",
    ),
    "no device": (Module(driver=13010), r"driver \(CUDA 13\.1.*finds no GPU.*nvidia-smi"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_refusals_say_why_and_the_way_out(found, reason):
    module, message = REASONS[reason]
    found(module)
    with pytest.raises(DeviceError, match=f"device='cuda': .*{message}.*device='cpu'"):
        _backend.resolve_devices("cuda")
    with pytest.raises(DeviceError, match=message):
        _backend.resolve_devices("cuda:0")
    assert _backend.resolve_devices("cpu") == ()


@pytest.mark.parametrize("reason", REASONS)
def test_auto_says_once_that_it_takes_the_processor(found, reason):
    module, message = REASONS[reason]
    found(module)
    with pytest.warns(DeviceWarning, match=f"takes the processor: .*{message}"):
        assert _backend.resolve_devices("auto") == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _backend.resolve_devices("auto") == ()


def test_devices_that_are_there(two_devices):
    assert _backend.resolve_devices("cuda") == (0, 1)
    assert _backend.resolve_devices("auto") == (0, 1)
    assert _backend.resolve_devices("cuda:1") == (1,)
    with pytest.raises(DeviceError, match=r"GPU number 7, but there are 2: cuda:0 to cuda:1"):
        _backend.resolve_devices("cuda:7")


def test_devices_too_old_for_the_kernels_are_left_out(found):
    found(Module(capabilities=[(6, 1), (8, 9), (12, 0)]))
    assert _backend.resolve_devices("cuda") == (1, 2)
    assert _backend.resolve_devices("auto") == (1, 2)
    assert _backend.resolve_devices("cuda:2") == (2,)
    with pytest.raises(
        DeviceError, match=r"device='cuda:0' has compute capability 6\.1.*need 8\.0"
    ):
        _backend.resolve_devices("cuda:0")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:01", "CPU", ""])
def test_names_that_mean_no_device(device):
    with pytest.raises(InvalidInput, match=f"device='{device}' is no device; it can be \"auto\""):
        _backend.resolve_devices(device)


@pytest.mark.parametrize("device", [0, None, True, ["cuda"]])
def test_types_that_mean_no_device(device):
    with pytest.raises(InvalidType, match='device must be "auto"'):
        _backend.resolve_devices(device)


def test_what_is_reported(two_devices, found):
    support = _backend.cuda_support()
    assert support.architectures == ("emulated",)
    assert (support.runtime, support.driver, support.problem) == ("13.0", "13.0", None)
    assert [device.number for device in support.devices] == [0, 1]
    assert support.devices[1].name == "emulated device"
    assert support.devices[1].capability == (8, 0)
    found(None)
    support = _backend.cuda_support()
    assert (support.architectures, support.driver, support.devices) == ((), None, ())
    assert "without CUDA kernels" in support.problem
    found(Module())
    support = _backend.cuda_support()
    assert (support.architectures, support.driver) == (("80", "90"), None)


def test_the_device_in_use_before_is_in_use_again(two_devices):
    DeviceArray.copy_of(np.arange(3.0), 1)
    assert two_devices.current_device() == 0
    with pytest.raises(DeviceError, match="cuda:2: CUDA: invalid device"):
        DeviceArray.empty((3,), np.float32, 2)
    assert two_devices.current_device() == 0


def test_too_little_memory_is_told_in_bytes(two_devices, monkeypatch):
    monkeypatch.setenv("CLOISTER_EMULATED_MEMORY", str(2**33))
    with pytest.raises(DeviceError, match=rf"{2**40} bytes were asked for, \d+ of {2**33} bytes"):
        DeviceArray.empty((2**40,), np.uint8, 0)
