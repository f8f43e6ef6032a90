"""What a fit takes beyond the codes of its rows: a short run of benchmarks/bench_memory.py."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "bench_memory.py"
ROWS, D = 1_000_000, 64


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--rows", str(ROWS), "--d", str(D), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


# Measured: 10 to 80 MB for files of numbers and memory maps, 100 to 170 for Parquet, most of it
# its decoder's. The rows themselves are 256 MB, a second copy of the codes 128.
@pytest.mark.parametrize(("source", "allowed"), [("memmap", 120), ("npy", 120), ("parquet", 220)])
def test_a_fit_takes_its_codes_or_one_chunk_and_little_more(folder, source, allowed):
    done = run("--source", source, "--fit", "mixture", "--allow", str(allowed), "--folder", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("mixture") == 2  # with and without a cache


def test_the_benchmark_says_when_a_fit_takes_more(folder):
    done = run("--source", "npy", "--fit", "dp_kmeans", "--allow", "-100", "--folder", folder)
    assert done.returncode == 1, done.stderr
    assert "EXCEEDED" in done.stdout
