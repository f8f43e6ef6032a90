"""Compile cuda/*.cu for the host, against the CUDA of this folder, into a module `_cuda_emulated`.

``python tests/emulated_cuda/build.py [--sanitize address]`` prints where the module lies. Objects
are kept under build/emulated_cuda by the hash of what went into them.
"""

import argparse
import hashlib
import importlib.util
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
OUT = ROOT / "build" / "emulated_cuda"
FLAGS = ["-std=c++20", "-O2", "-g1", "-fPIC", "-w", "-ffp-contract=off", "-fno-strict-aliasing"]
FLAGS += ["-fwrapv"]  # integers of a device wrap
# A device stops at an access that is not aligned to its size.
FLAGS += ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]


def sources() -> list[Path]:
    """Return the device kernels, the bindings and the emulation."""
    kernels = sorted((ROOT / "cuda").glob("*.cu"))
    bindings = [ROOT / "cpp" / "bindings.cpp", ROOT / "cuda" / "device_bindings.cpp"]
    return [*kernels, *bindings, *sorted(HERE.glob("*.cpp"))]


def build(sanitize: str = "") -> Path:
    """Return the path of the module, compiled where anything has changed."""
    flags = [*FLAGS, f"-I{HERE}", f"-I{pybind11.get_include()}", "-DPKG_MODULE=_cuda_emulated"]
    flags += [f"-I{sysconfig.get_path('include')}", '-DCLOISTER_ARCHITECTURES="emulated"']
    flags += [f"-fsanitize={sanitize}"] * bool(sanitize)
    common = hashlib.sha256(" ".join(flags).encode())
    for folder in (ROOT / "cuda", ROOT / "cpp", HERE):
        for header in sorted(folder.glob("*.*h*")):
            common.update(header.read_bytes())
    OUT.mkdir(parents=True, exist_ok=True)

    def compiled(source: Path) -> Path:
        digest = common.copy()
        digest.update(source.read_bytes())
        target = OUT / f"{source.stem}-{digest.hexdigest()[:16]}.o"
        if not target.exists():
            partial = target.with_suffix(".partial")
            command = ["g++", *flags, "-x", "c++", "-c", str(source), "-o", str(partial)]
            subprocess.run(command, check=True)
            partial.replace(target)
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, sources()))
    digest = hashlib.sha256(" ".join(map(str, objects)).encode()).hexdigest()[:16]
    folder = OUT / digest
    module = folder / ("_cuda_emulated" + sysconfig.get_config_var("EXT_SUFFIX"))
    if not module.exists():
        folder.mkdir(exist_ok=True)
        partial = module.with_suffix(".partial")
        link = ["g++", "-shared", "-o", str(partial), *map(str, objects), "-lpthread"]
        subprocess.run([*link, *[f"-fsanitize={sanitize}"] * bool(sanitize)], check=True)
        partial.replace(module)
    return module


def load(path: Path):
    """Import the module at `path`; who wants it to be ``cloister._cuda`` says so."""
    spec = importlib.util.spec_from_file_location("cloister._cuda_emulated", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sanitize", default="")
    print(build(parser.parse_args().sanitize))
