"""Embeddings for the quality benchmark: pixels as documented, rows independent of their batch."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import mobilenet_v2

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT.parent / "shared" / "data" / "mobilenet_v2_imagenet.safetensors"
pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def embed(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("embed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(mobilenet_v2().state_dict(), path)
    return path


def images(n):
    return np.random.default_rng(0).integers(0, 256, (n, 28, 28)).astype(np.uint8)


def test_features_are_those_of_a_bare_loop_over_pixels_from_minus_one_to_one(embed, weights):
    found = embed.encoder(weights, 64, 4).encode(images(6))
    network = mobilenet_v2()
    network.load_state_dict(torch.load(weights))
    pixels = torch.from_numpy(images(6)).float()[:, None]
    pixels = torch.nn.functional.interpolate(pixels, size=64, mode="bicubic")
    with torch.no_grad():
        maps = network.eval().features((pixels.clamp(0, 255) / 127.5 - 1).expand(-1, 3, -1, -1))
    expected = maps.mean((2, 3)).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rows_do_not_depend_on_their_batch(embed, weights):
    encoder = embed.encoder(weights, 32, 3)
    np.testing.assert_array_equal(encoder.encode(images(7)[:4]), encoder.encode(images(7))[:4])
    assert encoder.check_row_purity(images(7)).pure


@pytest.mark.data
def test_the_command_writes_a_set_that_the_benchmark_reads(embed, tmp_path):
    if not WEIGHTS.exists():
        pytest.skip("needs the weights in ../shared/data")
    labels = np.arange(30) % 10
    arrays = {"x_train": images(30), "y_train": labels, "x_test": images(30), "y_test": labels}
    np.savez(tmp_path / "mnist.npz", **arrays)
    (tmp_path / WEIGHTS.name).symlink_to(WEIGHTS)
    script = [sys.executable, str(ROOT / "benchmarks" / "embed.py"), "mnist", "--data", tmp_path]
    options = ["--out", tmp_path / "out", "--train", "20", "--test", "10", "--batch", "10"]
    subprocess.run([*map(str, script), *map(str, options)], check=True, timeout=300)
    found = import_module("quality_rows").labelled("mnist_mobilenetv2", [tmp_path / "out"])
    assert found.rows.shape == (20, 1280)
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), 1, atol=1e-5)
    assert (found.rows >= 0).all()
    order = np.random.default_rng(0).permutation(30)[:20]
    np.testing.assert_array_equal(found.labels, labels[order])


@pytest.mark.data
def test_the_throughput_benchmark_runs(tmp_path):
    if not WEIGHTS.exists():
        pytest.skip("needs the weights in ../shared/data")
    script = [sys.executable, str(ROOT / "benchmarks" / "bench_embed.py"), "--sizes", "32"]
    options = ["--images", "8", "--batch", "4", "--turns", "1", "--threads", "1"]
    done = subprocess.run([*script, *options], check=True, timeout=300, capture_output=True)
    assert b"embed, strict" in done.stdout
