"""What tests share: real data where it is at hand, targets, hashes."""

import hashlib
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cloister import _backend
from emulated_cuda.build import build, load
from on_device import on_device

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


# Before anything emulated takes the module's place.
GPU_MODULE = importlib.import_module("cloister._cuda") if find_spec("cloister._cuda") else None
HAS_GPU = GPU_MODULE is not None and GPU_MODULE.device_count() > 0


@pytest.fixture(scope="session")
def emulated_module():
    return load(build())


@pytest.fixture
def emulated_cuda(emulated_module, monkeypatch):
    """The device kernels, compiled for the host: see tests/emulated_cuda."""
    monkeypatch.setitem(sys.modules, "cloister._cuda", emulated_module)
    return emulated_module


@pytest.fixture
def cuda(monkeypatch):
    """The device kernels, on a GPU."""
    if not HAS_GPU:
        pytest.skip("no GPU here: what it would check is checked on an emulated one")
    monkeypatch.setitem(sys.modules, "cloister._cuda", GPU_MODULE)
    return GPU_MODULE


@pytest.fixture(params=_backend.supported_targets())
def host_target(request):
    """Every instruction set of the host."""
    with _backend.use_target(request.param):
        yield request.param


DEVICE = pytest.param("cuda", marks=pytest.mark.cuda)


@pytest.fixture(params=[*_backend.supported_targets(), "emulated", *[DEVICE] * HAS_GPU])
def target(request):
    """Every instruction set of the host, and the device kernels: emulated, and on a GPU."""
    if request.param in ("emulated", "cuda"):
        request.getfixturevalue("emulated_cuda" if request.param == "emulated" else "cuda")
        with on_device():
            yield request.param
        return
    with _backend.use_target(request.param):
        yield request.param


@pytest.fixture(params=["emulated", *[DEVICE] * HAS_GPU])
def device_kernels(request):
    """The device kernels alone: emulated, and on a GPU."""
    return request.getfixturevalue("emulated_cuda" if request.param == "emulated" else "cuda")


@pytest.fixture
def restore_threads():
    yield
    _backend.set_num_threads(None)


@pytest.fixture
def one_torch_thread():
    # The networks here are tiny; waiting for other threads would be most of their time.
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rng():
    return np.random.default_rng(20250616)


@pytest.fixture(scope="session")
def real_data():
    def load(name):
        path = DATA / name
        if not path.exists():
            pytest.skip(f"real data set {name} is not at hand (expected beside the checkout)")
        return np.load(path)

    return load


def sha256(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
