"""`cloister embed`: from a folder to a file that `fit` and `probe` understand."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torchvision.models import squeezenet1_1

from cloister import DPGaussianMixture
from cloister.cli import main
from cloister.neural.encoders import ModuleEncoder, embed

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(squeezenet1_1(num_classes=2).state_dict(), path)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for place in range(24):
        path = tmp_path / "images" / "ab"[place % 2] / f"{place:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20, 20 + place % 3, 3), dtype=np.uint8) // (1 + place % 2)
        Image.fromarray(pixels).save(path)
    return tmp_path / "images"


def cloister(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def embedded(folder, weights, out, *more, code=0):
    network = ("--encoder", "torchvision:squeezenet1_1", "--weights", weights)
    pixels = ("--size", 32, "--mean", 0.5, "--std", 0.5, "--batch-size", 8)
    return cloister("embed", folder, *network, *pixels, "--out", out, "--json", *more, code=code)


def test_the_road_from_a_folder_to_a_model_and_a_probe(folder, weights, tmp_path):
    out = tmp_path / "rows.parquet"
    made = json.loads(embedded(folder, weights, out, "--check-purity").stdout)
    assert (made["n"], made["n_features"], made["row_purity"]) == (24, 512, "measured")
    assert made["encoder_id"].startswith("torchvision:squeezenet1_1; sha256 ")
    assert pq.read_table(out)["label"].to_pylist() == ["a"] * 12 + ["b"] * 12
    model, probe = tmp_path / "model", tmp_path / "probe"
    fitted = cloister(
        "fit", f"{out}:embedding", "--labels", "label", "--classes", "a,b", "--out", model, "--json"
    )
    assert "A test found that the encoder" in json.loads(fitted.stdout)["statement"]
    loaded = DPGaussianMixture.load(model)
    assert (loaded.encoder_id, loaded.row_purity) == (made["encoder_id"], "measured")
    cloister("probe", model, "--test", f"{out}:embedding", "--test-labels", f"{out}:label",
             "--out", probe)  # fmt: skip
    other = tmp_path / "other.parquet"
    embedded(folder, weights, other, "--norm", 3.0)
    for command in (
        ("probe", model, "--out", probe),
        ("fit", f"{out}:embedding", "--labels", "label", "--out", model),
    ):
        test = ("--test", f"{other}:embedding", "--test-labels", f"{other}:label")
        refused = cloister(*command, *test, code=2)
        assert "--test was made by the encoder" in refused.output
    refused = cloister("fit", f"{out}:embedding", "--out", model, "--encoder-id", "mine", code=2)
    assert "ROWS were made by" in refused.output


def test_files_of_two_encoders_are_not_fitted_together(folder, weights, tmp_path):
    embedded(folder, weights, tmp_path / "1.parquet")
    embedded(folder, weights, tmp_path / "2.parquet", "--norm", 3.0)
    refused = cloister("fit", tmp_path / "*.parquet", "--out", tmp_path / "model", code=2)
    assert "is of the encoder" in refused.output


def test_the_least_pure_of_several_files_decides(folder, weights, tmp_path):
    embedded(folder, weights, tmp_path / "1.parquet", "--check-purity")
    embedded(folder, weights, tmp_path / "2.parquet")
    cloister("fit", tmp_path / "*.parquet", "--out", tmp_path / "model")
    assert DPGaussianMixture.load(tmp_path / "model").row_purity == "unchecked"


def test_strict_and_repeated_runs(folder, weights, tmp_path):
    out = tmp_path / "rows.npy"
    first = embedded(folder, weights, out, "--strict")
    assert json.loads(first.stdout)["row_purity"] == "strict"
    before = out.read_bytes()
    assert embedded(folder, weights, out, "--strict").stdout == first.stdout
    refused = embedded(folder, weights, out, code=2)
    assert "strict=False" in refused.output
    embedded(folder, weights, out, "--restart")
    np.testing.assert_allclose(np.load(out), np.frombuffer(before[-out.stat().st_size + 128 :],
                               np.float32).reshape(24, 512), atol=1e-5)  # fmt: skip


def test_arrays_with_labels_of_their_own(weights, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", x=pixels, y=np.arange(9) % 2)
    out = tmp_path / "rows.parquet"
    embedded(f"{tmp_path / 'set.npz'}:x", weights, out, "--labels", f"{tmp_path / 'set.npz'}:y")
    assert pq.read_table(out)["label"].to_pylist() == [0, 1] * 4 + [0]


def test_a_library_is_called_as_from_python(folder, weights, tmp_path):
    embedded(folder, weights, tmp_path / "rows.npy", "--norm", 2.5, "--precision", "bfloat16")
    note = json.loads((tmp_path / "rows.npy.json").read_text())
    assert note["norm_bound"] == 2.5
    assert note["encoder_id"].endswith("norm at most 2.5; bfloat16")


def test_an_impure_encoder_is_refused_by_the_check(folder, weights, tmp_path, monkeypatch):
    encode = ModuleEncoder.encode
    monkeypatch.setattr(
        ModuleEncoder, "encode", lambda self, batch: encode(self, batch) / (1 + len(batch))
    )
    refused = embedded(folder, weights, tmp_path / "rows.npy", "--check-purity", code=2)
    assert "rows depend on their batch" in refused.output
    assert "--strict" in refused.output
    assert not (tmp_path / "rows.npy").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--encoder", "keras:vgg16", "--out", "o.npy"], "must be LIBRARY:NAME"),
        (["--encoder", "torchvision", "--out", "o.npy"], "must be LIBRARY:NAME"),
        (["--encoder", "torchvision:resnet18", "--out", "o.txt"], ".parquet or .npy"),
        (["--encoder", "torchvision:resnet18", "--out", "o.npy"], "weights=None"),
        (["--encoder", "torchvision:resnet18", "--weights", "w.pth", "--out", "o.npy"], "no file"),
        (["--encoder", "transformers:x", "--weights", "w", "--out", "o.npy"], "--weights"),
        (["--encoder", "timm:x", "--size", "32", "--out", "o.npy"], "--size, --mean and --std"),
        (["--encoder", "timm:x", "--strict", "--check-purity", "--out", "o.npy"], "--strict"),
    ],
)
def test_bad_options_are_refused(folder, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert message in cloister("embed", folder, *options, code=2).output


def test_missing_images_are_refused_before_the_network_is_opened(tmp_path):
    refused = cloister("embed", tmp_path / "nowhere", "--encoder", "torchvision:resnet18",
                       "--out", tmp_path / "o.npy", code=2)  # fmt: skip
    assert "no file or folder" in refused.output


def test_embeddings_made_in_python_tell_their_encoder_too(tmp_path):
    flat = ModuleEncoder(lambda x: x.reshape(len(x), -1), id="flat", n_features=16)
    embed(flat, np.random.default_rng(0).integers(0, 256, (50, 4, 4), dtype=np.uint8),
          tmp_path / "rows.npy")  # fmt: skip
    cloister("fit", tmp_path / "rows.npy", "--out", tmp_path / "model", "--model", "kmeans",
             "--n-clusters", 2)  # fmt: skip
    shown = cloister("info", tmp_path / "model").output
    assert "flat; pixels as they are; unit norm" in shown


def test_folders_named_by_numbers_are_classes_in_quotes(folder, weights, tmp_path):
    for name, number in (("a", "0"), ("b", "1")):
        (folder / name).rename(folder / number)
    out, model = tmp_path / "rows.parquet", tmp_path / "model"
    embedded(folder, weights, out)
    assert "--restart" in embedded(folder, weights, out, "--strict", code=2).output
    fit = ("fit", f"{out}:embedding", "--labels", "label", "--n-hint", 24, "--out", model)
    assert "y has dtype <U1" in cloister(*fit, "--classes", "0,1", code=2).output
    cloister(*fit, "--classes", '"0","1"')
    assert DPGaussianMixture.load(model).classes_.tolist() == ["0", "1"]
