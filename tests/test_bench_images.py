"""The benchmark of synthetic images runs on small data; its tables say what its records hold."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import images_tables  # noqa: E402
from quality_records import read  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Digits of 28 x 28 pixels in the place of both sets."""
    folder = tmp_path_factory.mktemp("images")
    digits = load_digits()
    large = np.kron(digits.images, np.ones((3, 3))) * 15
    images = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    parts = {"x_train": images[:300], "x_test": images[1700:], "y_test": digits.target[1700:]}
    for name in ("mnist", "fashion_mnist"):
        np.savez(folder / f"{name}.npz", **parts, y_train=digits.target[:300])
    return folder


def test_it_runs_and_fills_its_tables(folder):
    json, document = folder / "images.json", folder / "images.md"
    names = ["synthetic images", "synthetic images by class", "synthetic images compared"]
    document.write_text("".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in names))
    options = ["--sets", "mnist", "--epsilons", "10", "--seeds", "1", "--images", "80"]
    options += [
        "--epochs",
        "2",
        "--compared",
        "60",
        "--probed",
        "300",
        "--json",
        str(json),
        "--tables",
        str(document),
    ]
    script = str(BENCHMARKS / "bench_images.py")
    result = subprocess.run(
        [sys.executable, script, "--data", str(folder), "--grids", str(folder), *options],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "rewrote synthetic images, synthetic images by class" in result.stdout
    ours, beside, real = read(json)
    assert ours["labeller_accuracy"] > 0.5
    assert beside["accuracy"] > 0.15  # of ten classes, after 200 noisy samples
    assert beside["report"]["overall"]["n_synthetic"] == 60
    assert real["method"] == images_tables.REAL
    assert (folder / "images_mnist_10.png").stat().st_size > 1000
    text = document.read_text()
    assert f"**{ours['accuracy']:.4f}**" in text
    assert "| mnist | real images |" in text


def test_tables_take_means_over_draws():
    runs = [
        {"part": "images", "rows": "mnist", "method": "cloister", "epsilon": 1.0, "seed": seed,
         "accuracy": accuracy, "class_accuracy": [accuracy] * 10, "labeller_accuracy": 0.9,
         "fit_seconds": 1, "encode_seconds": 1, "train_seconds": 1, "megabytes": 1}
        for seed, accuracy in enumerate([0.5, 0.7])
    ]  # fmt: skip
    made = images_tables.tables(runs)
    assert "| mnist | 1 | **0.6000** | 0.1414 | 2 | 0.945 / 0.956 |" in made["synthetic images"]
    assert "| mnist | 1.0 | 0.600 |" in made["synthetic images by class"]
    assert "synthetic images compared" not in made
