"""What docs/cuda.md says is run, on an emulated device: its snippet, its commands on toy shapes."""

import json
import subprocess
from importlib import import_module

import pytest

from documents import ROOT, blocks

GUIDE = ROOT / "docs" / "cuda.md"
TOY = ["--rows", "500", "--features", "40", "--clusters", "3", "20", "--repeats", "1"]

pytestmark = pytest.mark.usefixtures("emulated_cuda")


def test_the_snippet_runs(capsys):
    (code,) = blocks("python", GUIDE.read_text())
    exec(compile(code, str(GUIDE), "exec"), {"__name__": "guide"})
    said = capsys.readouterr().out
    assert "DeviceArray(shape=(100000, 32), float32, cuda:0)" in said
    assert "differentially private" in said


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    pytest.importorskip("torch")
    module = import_module("bench_cuda")
    for name in ("cuda_problem", "cuda_cases"):
        monkeypatch.setattr(import_module(name), "HAS_GPU", False)
        monkeypatch.setattr(import_module(name), "DEVICE", "cpu")
    return module


def test_the_benchmark_measures_and_checks_every_case(bench, tmp_path, monkeypatch, capsys):
    guide = tmp_path / "cuda.md"
    guide.write_text(GUIDE.read_text())
    files = ["--json", str(tmp_path / "cuda.json"), "--tables", str(guide)]
    monkeypatch.setattr("sys.argv", ["bench_cuda.py", *TOY, *files])
    bench.main()
    results = json.loads((tmp_path / "cuda.json").read_text())["results"]
    assert len(results) == 1 + 4 + 2 + 2 + 1 + 2
    for result in results:
        assert result["error"] == "the CPU's SHA-256", result["case"]
        assert 0 < result["floor"] < result["seconds"]
        if "KMeans" in result["case"]:
            exact = [name for name in result["rivals"] if "float32" in name]
            assert all(result["rivals"][name]["wrong_labels"] <= 0.01 for name in exact)
    text = guide.read_text()
    assert text.split(bench.START)[0] == GUIDE.read_text().split(bench.START)[0]
    assert text.count("the CPU's SHA-256") == len(results)
    assert "emulated device" in text.split(bench.START)[1]


def test_other_bits_are_said(bench):
    cases = import_module("cuda_cases")
    array = cases.np.arange(4)
    assert cases.same(array, array.copy()) == "the CPU's SHA-256"
    assert cases.same(array, array + 1) == "DIFFERENT BITS"


def test_the_script_for_a_gpu_names_files_that_exist():
    script = (ROOT / "benchmarks" / "on_gpu.sh").read_text()
    subprocess.run(["bash", "-n", str(ROOT / "benchmarks" / "on_gpu.sh")], check=True)
    for word in script.split():
        if word.startswith(("tests/", "benchmarks/")) and word.endswith(".py"):
            assert (ROOT / word).exists(), word
