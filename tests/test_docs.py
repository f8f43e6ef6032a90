"""Every README snippet and every documented command runs; every file that documents name exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pyarrow.parquet import write_table
from sklearn.datasets import load_digits
from torchvision.models import mobilenet_v2

from cloister.cli import main
from source_files import table

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/privacy.md",
    "docs/design.md",
    "docs/benchmarks.md",
    "docs/plan.md",
    "docs/quality.md",
    "docs/decoders.md",
    "docs/encoders.md",
    "docs/synthesizer.md",
]


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands_in(text):
    return [
        line
        for block in blocks("bash", text)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("cloister ")
    ]


def run(arguments, folder):
    result = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


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


@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run(code, folder):
    out = run([sys.executable, "-W", "error", "-c", code], folder)
    assert "differentially private" in out


ENCODERS = (ROOT / "docs" / "encoders.md").read_text()


@pytest.mark.parametrize("place", [0, 1])
def test_python_snippets_of_encoders_run(place, folder):
    snippets = blocks("python", ENCODERS)
    assert len(snippets) == 2
    said = run([sys.executable, "-W", "error", "-c", snippets[place]], folder)
    assert ["A test found", "(40, 48)"][place] in said


def test_command_line_snippets_of_encoders_run_in_order(folder):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for place in range(6):
            pixels = rng.integers(0, 256, (60, 50 + place, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{place}.png")
    torch.save(mobilenet_v2().state_dict(), folder / "mobilenet_v2.pth")
    (block,) = blocks("bash", ENCODERS)
    for command in block.replace("\\\n", " ").splitlines():
        # Small batches: the check embeds about thirty of them.
        more = ["--batch-size", "2"] if command.startswith("cloister embed") else []
        run([sys.executable, "-m", "cloister", *shlex.split(command)[1:], *more], folder)
    assert (folder / "pets.model").exists()


def test_command_line_snippets_run_in_order(folder):
    commands = commands_in(README)
    commands += re.findall(r"`(cloister (?:probe|demo)[^`]*)`", README)
    assert len(commands) >= 4
    for command in commands:
        run([sys.executable, "-m", "cloister", *shlex.split(command)[1:]], folder)
    with np.load(folder / "synthetic.npz") as synthetic:
        assert synthetic["x"].shape == (10_000, 64)


def test_the_main_command_is_the_demo_and_it_runs(folder):
    assert any(".venv/bin/cloister demo" in block for block in blocks("bash"))
    assert "accuracy" in run([sys.executable, "-m", "cloister", "demo"], folder)


def test_ci_runs_the_readmes_own_test_command():
    after = README.split("<!-- tests -->")[1]
    command = re.match(r"\n```bash\n(.*?)\n```", after, flags=re.DOTALL)[1]
    assert command.startswith("python3 -m venv")
    assert command.endswith("pytest")
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text()


@pytest.fixture(scope="module")
def images_folder(tmp_path_factory):
    """What the guide to decoders names: private and public images, and a model of diffusers."""
    import torch  # noqa: PLC0415

    from tiny_diffusers import tiny_unclip  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("decoders")
    digits = load_digits()
    images = np.minimum(255, digits.images * 16).astype(np.uint8)
    np.savez(folder / "private.npz", images=images[:1500], labels=digits.target[:1500])
    np.savez(folder / "public.npz", images=images[1500:])
    tiny_unclip(torch).save_pretrained(folder / "stable-unclip")
    return folder


GUIDE = (ROOT / "docs" / "decoders.md").read_text()


# In this process, unlike those of the README: each process would import torch and diffusers anew.


@pytest.mark.parametrize("code", blocks("python", GUIDE))
def test_python_snippets_of_the_guide_to_decoders_run(code, images_folder, monkeypatch):
    monkeypatch.chdir(images_folder)
    exec(compile(code, "docs/decoders.md", "exec"), {"__name__": "__main__"})


def test_commands_of_the_guide_to_decoders_run(images_folder, monkeypatch):
    monkeypatch.chdir(images_folder)
    text = "".join(blocks("bash", GUIDE)).replace("\\\n", " ")
    commands = [line for line in text.splitlines() if line.startswith("cloister ")]
    assert len(commands) == 3
    for command in commands:
        result = CliRunner().invoke(main, shlex.split(command)[1:])
        assert result.exit_code == 0, result.stderr
    assert (images_folder / "pictures" / "epoch-0002.png").exists()


def test_the_guide_to_synthesizers_runs_from_top_to_bottom(tmp_path):
    guide = (ROOT / "docs" / "synthesizer.md").read_text()
    code = "\n".join(blocks("python", guide))
    out = run([sys.executable, "-W", "error", "-c", code], tmp_path)
    assert "(1000, 8, 8) uint8" in out
    assert "differentially private" in out
    assert len(list((tmp_path / "digits").glob("*/*.png"))) == 200
    commands = commands_in(guide)
    assert len(commands) == 4
    for command in commands:
        run([sys.executable, "-m", "cloister", *shlex.split(command)[1:]], tmp_path)
    with np.load(tmp_path / "more.npz") as archive:
        assert archive["x"].shape == (500, 8, 8)


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
