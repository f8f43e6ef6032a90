"""The command line on devices: what `info` says, and `fit --device`."""

import sys

import pytest

from cloister import DPKMeans
from command_line import make_files, run, run_json


@pytest.fixture
def folder(tmp_path):
    make_files(tmp_path)
    return tmp_path


@pytest.fixture
def two_devices(emulated_cuda, monkeypatch):
    monkeypatch.setenv("CLOISTER_EMULATED_DEVICES", "2")


def test_info_of_what_is_there(two_devices):
    cuda = run_json("info")["cuda"]
    assert cuda["architectures"] == ["emulated"]
    assert (cuda["runtime"], cuda["driver"], cuda["problem"]) == ("13.0", "13.0", None)
    assert [gpu["capability"] for gpu in cuda["devices"]] == [[8, 0], [8, 0]]
    shown = run("info").stdout
    assert "cuda:1            emulated device, 4.0 GiB, compute capability 8.0" in shown


def test_info_of_what_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloister._cuda", None)
    cuda = run_json("info")["cuda"]
    assert (cuda["architectures"], cuda["devices"]) == ([], [])
    shown = run("info").stdout
    assert "cuda_kernels      not compiled" in shown
    assert "cuda_devices      none: this installation was built without CUDA kernels" in shown


def test_fit_on_a_device(two_devices, folder):
    run_json("fit {rows.npy} --model kmeans --n-clusters 2 --out {m} --device cuda", folder)
    model = DPKMeans.load(folder / "m")
    assert model.device == "cpu"  # where it was fitted is no part of a model
    assert model.cluster_centers_.shape[0] == 2


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda", "built without CUDA kernels"), ("gpu", "device='gpu' is no device")],
)
def test_devices_that_are_refused(monkeypatch, folder, device, message):
    monkeypatch.setitem(sys.modules, "cloister._cuda", None)
    result = run(f"fit {{rows.npy}} --model kmeans --out {{m}} --device {device}", folder)
    assert result.exit_code != 0
    assert message in result.stderr
    assert not (folder / "m").exists()
