"""The compiled module of device kernels: what it holds, and that it needs no GPU to be imported."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

import cloister

ARCHITECTURES = ("80", "86", "89", "90")
KERNELS = ("encode_rows", "find_cells")


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.find_spec("cloister._cuda")
    if spec is None or spec.origin is None:
        pytest.skip("cloister was built without CUDA kernels: no nvcc was found")
    return Path(spec.origin)


@pytest.fixture(scope="module")
def cuobjdump(module):
    try:
        found = [path for path in files("nvidia-cuda-cuobjdump") or [] if path.name == "cuobjdump"]
    except PackageNotFoundError:
        pytest.skip("cuobjdump (package nvidia-cuda-cuobjdump) is not installed")

    def run(*options):
        command = [found[0].locate(), *options, module]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def by_architecture(listing):
    """The text that cuobjdump prints about each architecture's machine code, put together."""
    texts = {}
    for part in listing.split("Fatbin elf code:")[1:]:
        architecture = re.search(r"arch = sm_(\w+)", part).group(1)
        texts[architecture] = texts.get(architecture, "") + part
    return texts


def test_machine_code_for_every_promised_architecture(cuobjdump):
    symbols = by_architecture(cuobjdump("-symbols"))
    assert tuple(sorted(symbols)) == ARCHITECTURES
    kernels = {
        architecture: set(re.findall(r"FUNC\s+\w+\s+\w+\s+ENTRY\s+(\S+)", text))
        for architecture, text in symbols.items()
    }
    for architecture in ARCHITECTURES:
        assert kernels[architecture] == kernels["80"]
        for name in KERNELS:
            assert any(name in kernel for kernel in kernels[architecture]), (architecture, name)


def test_ptx_for_newer_ones(cuobjdump):
    targets = set(re.findall(r"^\.target (\w+)", cuobjdump("-ptx"), re.MULTILINE))
    assert targets == {"sm_90"}


def test_no_kernel_spills_registers(cuobjdump):
    usage = cuobjdump("-res-usage")
    found = re.findall(r"Function (\S+):\s+REG:\d+ STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", usage)
    assert len(found) >= len(ARCHITECTURES) * len(KERNELS)
    assert {name: local for name, _, local in found if local != "0"} == {}


def test_needs_no_library_of_cuda(module):
    listing = subprocess.run(["readelf", "-d", module], capture_output=True, text=True, check=True)
    needed = re.findall(r"NEEDED.*\[(.*)\]", listing.stdout)
    assert needed
    assert not [name for name in needed if "cuda" in name or "cublas" in name or "nv" in name]


def test_importing_cloister_loads_no_device_kernels():
    code = "import sys, cloister; cloister.KMeans; print('cloister._cuda' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_the_module_is_imported_where_there_is_no_driver(module):
    # A process of its own that shall see no device, whatever this machine has.
    code = "from cloister import _cuda; print(_cuda.device_count(), _cuda.architectures)"
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(Path(cloister.__file__).parents[1])},
    )
    assert out.stdout.split() == ["0", ",".join(ARCHITECTURES)]


# What may lie on a machine as nvcc: that of Ubuntu 22.04, which knows no compute_90, and a wreck.
NVCCS = {
    "old": """#!/bin/sh
        case "$*" in
            --version) echo "Cuda compilation tools, release 11.5, V11.5.119" ;;
            *compute_90*) echo "nvcc fatal: Unsupported gpu architecture" >&2; exit 1 ;;
            *) exec {nvcc} "$@" ;;
        esac
        """,
    "broken": "#!/bin/sh\nexit 1\n",
}


@pytest.mark.parametrize("kind", NVCCS)
def test_an_nvcc_that_cannot_serve_is_left_alone(kind, tmp_path):
    pybind11 = pytest.importorskip("pybind11")
    cmake, nvcc = shutil.which("cmake"), shutil.which("nvcc")
    if cmake is None or (kind == "old" and nvcc is None):
        pytest.skip("cmake, or an nvcc to stand for an old one, is not installed")
    fake = tmp_path / "nvcc"
    fake.write_text(NVCCS[kind].format(nvcc=nvcc))
    fake.chmod(0o755)

    def configure(cuda):
        options = [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", f"-DCLOISTER_CUDA={cuda}"]
        sources = str(Path(__file__).parents[1])
        return subprocess.run(
            [cmake, "-S", sources, "-B", str(tmp_path / cuda), *options],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "CUDACXX": str(fake)},
        )

    without = configure("AUTO")
    assert without.returncode == 0, without.stderr
    assert "no CUDA kernels, as" in without.stdout
    refused = configure("ON")
    assert refused.returncode != 0
    assert "CLOISTER_CUDA=ON, but" in refused.stderr
