"""Every README snippet and every documented command runs; every file that documents name exists."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from pyarrow.parquet import write_table
from sklearn.datasets import load_digits

from documents import ROOT, blocks, commands_in, run
from source_files import table

README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/privacy.md",
    "docs/design.md",
    "docs/benchmarks.md",
    "docs/cuda.md",
    "docs/plan.md",
    "docs/quality.md",
    "docs/decoders.md",
    "docs/encoders.md",
    "docs/images.md",
    "docs/synthesizer.md",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    X, y = load_digits(return_X_y=True)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    np.savez(folder / "data.npz", x=X, y=y, x_test=X[-300:], y_test=y[-300:])
    (folder / "emb").mkdir()
    for part in range(3):
        rows, labels = X[part::3], y[part::3]
        write_table(table(rows, labels), folder / "emb" / f"{part}.parquet")
    return folder


@pytest.mark.parametrize("code", blocks("python", README))
def test_python_snippets_run(code, folder):
    out = run([sys.executable, "-W", "error", "-c", code], folder)
    assert "differentially private" in out


def test_command_line_snippets_run_in_order(folder):
    commands = commands_in(README)
    commands += re.findall(r"`(cloister (?:probe|demo)[^`]*)`", README)
    assert len(commands) >= 4
    for command in commands:
        run([sys.executable, "-m", "cloister", *shlex.split(command)[1:]], folder)
    with np.load(folder / "synthetic.npz") as synthetic:
        assert synthetic["x"].shape == (10_000, 64)


def test_the_main_command_is_the_demo_and_it_runs(folder):
    assert any(".venv/bin/cloister demo" in block for block in blocks("bash", README))
    assert "accuracy" in run([sys.executable, "-m", "cloister", "demo"], folder)


def test_ci_runs_the_readmes_own_test_command():
    after = README.split("<!-- tests -->")[1]
    command = re.match(r"\n```bash\n(.*?)\n```", after, flags=re.DOTALL)[1]
    assert command.startswith("python3 -m venv")
    assert command.endswith("pytest")
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_documents_name_exist(document):
    text = (ROOT / document).read_text()
    named = re.findall(r"\]\(([\w./-]+)\)", text)
    named = [str((ROOT / document).parent / name) for name in named]
    tests = re.findall(r"`((?:tests|benchmarks|cpp|python)/[\w./*-]+)", text)
    for name in [*named, *(str(ROOT / name) for name in tests)]:
        path = Path(name)
        assert list(path.parent.glob(path.name)), f"{document} names {name}"


def test_tests_that_the_privacy_argument_names_exist():
    text = (ROOT / "docs" / "privacy.md").read_text()
    names = re.findall(r"`(test_\w+)`", text)
    assert names
    sources = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    for name in names:
        assert f"def {name}(" in sources


def test_main_job_benchmark_runs_on_small_data(folder):
    with np.load(folder / "data.npz") as data:
        x, y = (data["x"] * 255).astype(np.uint8), data["y"]
    small = folder / "small.npz"
    np.savez(small, x_train=x[:1200], y_train=y[:1200], x_test=x[1200:], y_test=y[1200:])
    script = ROOT / "benchmarks" / "bench_main_job.py"
    out = run(
        [sys.executable, str(script), "--data", str(small), "--samples", "2000", "--draws", "1",
         "--epsilons", "8", "inf", "--json", str(folder / "report.json")],
        folder,
    )  # fmt: skip
    assert "non-private LDA" in out
    assert (folder / "report.json").exists()


def test_memory_benchmark_runs_on_small_data(folder):
    script = ROOT / "benchmarks" / "bench_memory.py"
    options = ["--rows", "3000", "--source", "batches", "--fit", "kmeans"]
    assert "batches   kmeans     False" in run([sys.executable, str(script), *options], folder)


def test_short_ledger_crash_command_runs(folder):
    script = ROOT / "tests" / "ledger_crash.py"
    run([sys.executable, str(script), "--kills", "3", "--log", str(folder / "crash.log")], folder)
    assert (folder / "crash.log").read_text()
