"""Which device a caller means, and how its module is called."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cloister._backend import library
from cloister._backend.library import DeviceKernels
from cloister.errors import DeviceError, DeviceWarning, InvalidInput, InvalidType

Devices = tuple[int, ...]
"""Numbers of the GPUs that a call may use, the first one before all; none: the processor."""

KNOWN = '"auto", "cpu", "cuda" (all GPUs) or "cuda:1" (that one)'

_warned = False


@dataclass(frozen=True)
class DeviceDescription:
    """A GPU that this process sees.

    Attributes
    ----------
    number : int
        That of ``"cuda:number"``.
    name : str
    memory : int
        Bytes.
    capability : tuple of two ints
        The compute capability.
    """

    number: int
    name: str
    memory: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class CudaSupport:
    """What there is for ``device="cuda"``.

    Attributes
    ----------
    architectures : tuple of str
        Compute capabilities that kernels were compiled for, as "90"; empty: not compiled.
    runtime, driver : str or None
        Versions of CUDA: that the kernels were built with, that the driver supports.
    devices : tuple of DeviceDescription
    problem : str or None
        Why no device can be used, and the way out.
    """

    architectures: tuple[str, ...]
    runtime: str | None
    driver: str | None
    devices: tuple[DeviceDescription, ...]
    problem: str | None


def check_device(device: Any, name: str = "device") -> str:
    """Return what a caller wrote, if it can mean a device; whether there is one is not asked.

    Raises
    ------
    InvalidInput, InvalidType
    """
    if not isinstance(device, str):
        raise InvalidType(f"{name} must be {KNOWN}, got {device!r} ({type(device).__name__})")
    if device in ("auto", "cpu", "cuda") or re.fullmatch(r"cuda:(0|[1-9][0-9]{0,3})", device):
        return device
    raise InvalidInput(f"{name}={device!r} is no device; it can be {KNOWN}")


def resolve_devices(device: Any, name: str = "device") -> Devices:
    """Return the GPUs that a caller means, none for the processor.

    Parameters
    ----------
    device : str
        "cpu", "cuda" for all GPUs, "cuda:1" for that one, or "auto": all GPUs if there are any,
        else the processor, with one `DeviceWarning` a process.
    name : str
        The argument's name in messages.

    Raises
    ------
    InvalidInput, InvalidType
        If it means no device.
    DeviceError
        If it means a GPU, and there is none that can be used: the message says why.
    """
    global _warned  # noqa: PLW0603
    device = check_device(device, name)
    if device == "cpu":
        return ()
    problem = device_problem()
    if problem is None:
        return _numbers(device, library.device_kernels(), name)
    if device != "auto":
        raise DeviceError(f"{name}={device!r}: {problem}; {name}='cpu' gives the same results")
    if not _warned:
        _warned = True
        warnings.warn(
            f"{name}='auto' takes the processor: {problem}. Results are the same; {name}='cpu' "
            "asks for no GPU",
            DeviceWarning,
            stacklevel=3,
        )
    return ()


def _numbers(device: str, module: DeviceKernels, name: str) -> Devices:
    usable = _usable(module)
    if ":" not in device:
        return usable
    number, count = int(device.partition(":")[2]), module.device_count()
    if number >= count:
        last = "" if count == 1 else f" to cuda:{count - 1}"
        raise DeviceError(
            f"{name}={device!r} is GPU number {number}, but there are {count}: cuda:0{last}; "
            "CUDA_VISIBLE_DEVICES may hide others"
        )
    if number not in usable:
        raise DeviceError(
            f"{name}={device!r} {_too_old(module, number)}; {name}='cuda' takes others"
        )
    return (number,)


def _usable(module: DeviceKernels) -> Devices:
    """Return the GPUs that are new enough for the machine code; PTX serves those newer than it."""
    numbers = range(module.device_count())
    return tuple(n for n in numbers if _capability(module, n) >= _oldest(module))


def _capability(module: DeviceKernels, number: int) -> tuple[int, int]:
    found: tuple[int, int] = module.describe(number)["capability"]
    return found


def _oldest(module: DeviceKernels) -> tuple[int, int]:
    """Return the least compute capability that kernels were compiled for."""
    compiled = [int(name) for name in module.architectures.split(",") if name.isdecimal()]
    return divmod(min(compiled, default=0), 10)


def _too_old(module: DeviceKernels, number: int) -> str:
    shown = ["{}.{}".format(*pair) for pair in (_capability(module, number), _oldest(module))]
    return f"has compute capability {shown[0]}, but the kernels need {shown[1]} or newer"


def device_problem() -> str | None:
    """Return why no GPU can be used, and the way out; None if one can."""
    try:
        module = library.device_kernels()
    except ModuleNotFoundError:
        return (
            "this installation was built without CUDA kernels (cloister._cuda); install the wheel "
            "from PyPI, which has them, or build with CLOISTER_CUDA=ON where nvcc is on the PATH: "
            "pip install . -C cmake.define.CLOISTER_CUDA=ON"
        )
    except ImportError as error:
        return f"the CUDA kernels cannot be loaded ({error}); install cloister anew"
    if module.device_count() > 0:
        return None if _usable(module) else f"cuda:0 {_too_old(module, 0)}"
    driver, runtime = module.driver_version(), module.runtime_version()
    needed = f"{_shown_version(runtime // 1000 * 1000)} or newer"
    if driver == 0:
        return f"no NVIDIA driver was found; install one that supports CUDA {needed}"
    if driver // 1000 < runtime // 1000:
        return (
            f"the NVIDIA driver supports CUDA {_shown_version(driver)}, but the kernels need "
            f"{needed}; update the driver"
        )
    return (
        f"the NVIDIA driver (CUDA {_shown_version(driver)}, needed: {needed}) finds no GPU; see "
        "what nvidia-smi lists and CUDA_VISIBLE_DEVICES hides"
    )


def _shown_version(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def cuda_support() -> CudaSupport:
    """Return what there is for ``device="cuda"``; nothing that is missing is an error."""
    problem = device_problem()
    try:
        module = library.device_kernels()
    except ImportError:
        return CudaSupport((), None, None, (), problem)
    devices = []
    for number in range(module.device_count()):
        found = module.describe(number)
        devices.append(
            DeviceDescription(number, found["name"], found["memory"], found["capability"])
        )
    driver = module.driver_version()
    return CudaSupport(
        tuple(module.architectures.split(",")),
        _shown_version(module.runtime_version()),
        _shown_version(driver) if driver else None,
        tuple(devices),
        problem,
    )


@contextmanager
def using(
    device: int, asked: int = 0, module: DeviceKernels | None = None
) -> Iterator[DeviceKernels]:
    """Let the calling thread use a device; afterwards it uses the one that it did before.

    Parameters
    ----------
    device : int
    asked : int
        Bytes that will be asked for, for the message if there are too few.
    module : DeviceKernels, optional
        The one that memory came from, to give it back to; by default the one in use.

    Raises
    ------
    DeviceError
        If the device fails, or has too little free memory.
    """
    module = module or library.device_kernels()
    before = device
    try:
        before = module.current_device()
        module.use_device(device)
        yield module
    except MemoryError as error:
        free, total = module.memory()
        for_what = f"{asked} bytes were asked for" if asked else "a kernel asked for more"
        raise DeviceError(
            f"cuda:{device} has too little free memory: {for_what}, {free} of {total} bytes are "
            "free; pass fewer rows or clusters at a time, end what else uses the GPU, or take "
            "device='cpu'"
        ) from error
    except RuntimeError as error:
        if type(error) is not RuntimeError:  # an error of ours, a recursion: not the device's
            raise
        raise DeviceError(f"cuda:{device}: {error}") from error
    finally:
        if before != device:
            module.use_device(before)
