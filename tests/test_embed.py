"""Embeddings for the quality benchmark: pixels as documented, rows independent of their batch."""

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="embeddings are computed with torch")
ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT.parent / "shared" / "data" / "mobilenet_v2_imagenet.safetensors"


@pytest.fixture
def embed(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("embed")


class Network:
    """Stands for the encoder: 1280 feature maps, all equal to the red one."""

    def __init__(self):
        self.shapes = []

    def __call__(self, pixels):
        self.shapes.append(tuple(pixels.shape))
        assert (pixels[:, 0] == pixels[:, 2]).all()
        assert not pixels.requires_grad
        return pixels[:, :1].expand(-1, 1280, -1, -1)


def images(n):
    return np.random.default_rng(0).integers(0, 256, (n, 28, 28)).astype(np.uint8)


def test_pixels_run_from_minus_one_to_one(embed):
    flat = np.array([0, 255, 51], np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
    features = embed.embed(Network(), flat, 96, 2)
    np.testing.assert_allclose(features, np.array([[-1], [1], [-0.6]]) * np.ones(1280), atol=1e-6)


def test_the_network_sees_batches_of_one_shape_and_rows_do_not_depend_on_them(embed):
    network = Network()
    features = embed.embed(network, images(7), 96, 3)
    assert set(network.shapes) == {(3, 3, 96, 96)}
    assert features.shape == (7, 1280)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(embed.embed(Network(), images(7)[:4], 96, 3), features[:4])


def test_the_command_writes_a_set_that_the_benchmark_reads(embed, tmp_path, monkeypatch):
    if not find_spec("torchvision") or not WEIGHTS.exists():
        pytest.skip("needs torchvision and the weights in ../shared/data")
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
