"""What tests share: real data where it is at hand, targets, hashes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from cloister import _backend
from emulated_cuda.build import build, load
from on_device import on_device

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def emulated_cuda():
    """The device kernels, compiled for the host: see tests/emulated_cuda."""
    return load(build())


@pytest.fixture(params=[*_backend.supported_targets(), "emulated"])
def target(request):
    """Every instruction set of the host, and the device kernels."""
    if request.param == "emulated":
        request.getfixturevalue("emulated_cuda")
        with on_device():
            yield request.param
        return
    with _backend.use_target(request.param):
        yield request.param


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
