"""`cloister train-codec`, and what `cloister info` says of codecs."""

import json

import numpy as np
import pytest
from PIL import Image

from cloister.neural import codec_training
from cloister.neural.decoders import DCTCodec, load_codec, procedural_images, train_codec
from command_line import run, run_json

pytestmark = pytest.mark.usefixtures("one_torch_thread")

QUICK = "--n-features 5 --width 8 --epochs 2 --batch-size 32"
NAMED = ["--public-data", "MNIST train"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codec")
    images = procedural_images(60, (10, 8))
    np.savez(folder / "data.npz", images=images, labels=np.arange(60))
    np.save(folder / "images.npy", images)
    np.save(folder / "colour.npy", procedural_images(60, (10, 8, 3)))
    np.save(folder / "floats.npy", images / 255)
    np.savez(folder / "both.npz", train=images, test=images)
    (folder / "pictures-of-all").mkdir()
    for place, image in enumerate(images):
        Image.fromarray(image).save(folder / "pictures-of-all" / f"{place:03d}.png")
    (folder / "empty").mkdir()
    np.save(folder / "rows.npy", images.reshape(60, 80))
    return folder


@pytest.mark.parametrize(
    "source",
    ["{data.npz}", "{data.npz:images}", "{images.npy}", "{floats.npy}", "{pictures-of-all}"],
)
def test_a_codec_is_trained_and_saved(folder, source):
    result = run_json(f"train-codec {source} --out {{codec}} {QUICK}", folder, NAMED)
    codec = load_codec(folder / "codec")
    expected = train_codec(
        np.load(folder / "images.npy"), public_data="MNIST train", n_features=5, width=8, epochs=2,
        batch_size=32,
    )  # fmt: skip
    assert codec.id == expected.id == result["id"]
    assert result["codec"] == str(folder / "codec")
    assert result["n_features"] == 5
    assert result["image_shape"] == [10, 8]
    assert result["public_data"] == expected.public_data
    assert result["training"]["held_out_error"] == expected.training["held_out_error"]
    assert not (folder / "codec.checkpoint").exists()


def test_every_option_arrives(folder, monkeypatch):
    given = {}

    def spy(images, **options):
        given.update(options, images=images)
        raise KeyboardInterrupt

    monkeypatch.setattr(codec_training, "train_codec", spy)
    line = (
        "train-codec {images.npy} --out {all} --n-features 7 --epochs 3 --width 16 --kl-weight 0.1"
        " --edge-weight 0.2 --norm-bound 2 --batch-size 9 --learning-rate 0.01 --samples-dir {s}"
        " --samples-every 4 --device abacus --random-state 6"
    )
    assert run(line, folder, NAMED).exit_code == 130
    given.pop("images")
    assert given == {
        "public_data": "MNIST train", "n_features": 7, "epochs": 3, "width": 16, "kl_weight": 0.1,
        "edge_weight": 0.2, "norm_bound": 2.0, "batch_size": 9, "learning_rate": 0.01,
        "samples_dir": f"{folder}/s", "samples_every": 4, "device": "abacus", "random_state": 6,
        "resume": folder / "all.checkpoint", "progress": True,
    }  # fmt: skip


def test_progress_and_a_reminder_go_to_stderr(folder):
    result = run(f"train-codec {{images.npy}} --out {{told}} {QUICK}", folder, NAMED)
    assert result.exit_code == 0
    assert "training on MNIST train; whatever it sees must be public" in result.stderr
    assert "epoch 2/2: loss" in result.stderr
    assert "public_data" in result.stdout
    assert "MNIST train: 60 images, sha256" in result.stdout
    assert "training: held_out_error" in result.stdout


def test_pictures(folder):
    line = f"train-codec {{images.npy}} --out {{a}} {QUICK} --samples-dir {{pictures}}"
    assert run(line, folder, NAMED).exit_code == 0
    with Image.open(folder / "pictures" / "epoch-0002.png") as picture:
        assert picture.size[0] > 60


def test_procedural_images_need_no_data(folder):
    line = f"train-codec --procedural 70 --image-shape 9x8x3 --out {{p}} {QUICK} --random-state 3"
    result = run_json(line, folder)
    assert result["image_shape"] == [9, 8, 3]
    assert "70 procedural images of seed 3: 70 images" in result["public_data"]
    expected = train_codec(
        procedural_images(70, (9, 8, 3), 3), public_data="70 procedural images of seed 3",
        n_features=5, width=8, epochs=2, batch_size=32, random_state=3,
    )  # fmt: skip
    assert result["id"] == expected.id


def test_procedural_images_beside_public_ones(folder):
    line = f"train-codec {{images.npy}} --procedural 40 --out {{both}} {QUICK}"
    said = run_json(line, folder, NAMED)["public_data"]
    assert said.startswith("MNIST train and 40 procedural images of seed 0: 100 images")


def interrupt_after(epoch, monkeypatch):
    train = codec_training.train_codec

    def stop(done):
        if done.number == epoch:
            raise KeyboardInterrupt

    def interrupted(*images, **options):
        return train(*images, **(options | {"progress": stop}))

    monkeypatch.setattr(codec_training, "train_codec", interrupted)


def test_an_interrupted_training_is_resumed(folder, monkeypatch):
    line = f"train-codec {{images.npy}} --out {{cut}} {QUICK} --epochs 3"
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        assert run(line, folder, NAMED).exit_code == 130
    assert not (folder / "cut").exists()
    assert (folder / "cut.checkpoint").exists()
    result = run(f"{line} --resume --json", folder, NAMED)
    assert "epoch 3/3" in result.stderr
    assert "epoch 2/3" not in result.stderr
    whole = run_json(line.replace("{cut}", "{whole}"), folder, NAMED)
    assert json.loads(result.stdout)["id"] == whole["id"]
    assert not (folder / "cut.checkpoint").exists()


def test_without_resume_a_training_starts_again(folder, monkeypatch):
    line = f"train-codec {{images.npy}} --out {{again}} {QUICK}"
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        assert run(line, folder, NAMED).exit_code == 130
    result = run(line, folder, NAMED)
    assert "epoch 1/2" in result.stderr
    assert "starts from the beginning" in run(f"{line} --resume", folder, NAMED).stderr


def test_info_of_a_trained_codec(folder):
    run_json(f"train-codec {{images.npy}} --out {{told}} {QUICK}", folder, NAMED)
    result = run_json("info {told}", folder)
    assert result["kind"] == "codec"
    assert result["public_data"].startswith("MNIST train: 60 images, sha256 ")
    assert result["training"]["epochs"] == 2
    assert "no privacy guarantee" in result["statement"]
    shown = run("info {told}", folder).stdout
    assert "MNIST train: 60 images" in shown
    assert "must be public" in shown or "are public" in shown


def test_info_of_a_cosine_codec(folder):
    DCTCodec((28, 28), keep=12).save(folder / "cosine")
    result = run_json("info {cosine}", folder)
    assert (result["n_features"], result["public_data"], result["training"]) == (12, "none", None)
    assert "dct/28x28" in run("info {cosine}", folder).stdout


def test_help_says_that_images_must_be_public():
    text = " ".join(run("train-codec --help").stdout.split())
    assert "They must be PUBLIC" in text
    assert "no privacy guarantee" in text


REFUSALS = [
    ("{images.npy} --out {o}", "PUBLIC_IMAGES need --public-data"),
    ("--out {o}", "give PUBLIC_IMAGES, or --procedural N"),
    ("--procedural 5 --out {o}", "needs --image-shape"),
    ("--procedural 5 --image-shape 28 --out {o}", "is no shape such as 28x28"),
    ("--procedural 5 --image-shape 28x28x4 --out {o}", "is no shape such as 28x28"),
    ("--procedural 0 --image-shape 28x28 --out {o}", "--procedural"),
    ("{images.npy} --public-data a --image-shape 8x8 --out {o}", "--image-shape is that of"),
    ("{none.npy} --public-data a --out {o}", "none.npy"),
    ("{both.npz} --public-data a --out {o}", "'train', 'test'"),
    ("{empty} --public-data a --out {o}", "holds 0 images"),
    ("{none} --public-data a --out {o}", "there is no file or folder"),
    ("{rows.npy} --public-data a --out {o}", "(60, 80)"),
    ("{rows.npy} --procedural 4 --public-data a --out {o}", "(60, 80)"),
    ("{images.npy} --public-data a --out {none/o}", "the folder of"),
    ("{images.npy} --public-data a --out {images.npy}", "name the same file"),
    ("{images.npy} --public-data a --out {o} --width 9", "width=9 is no multiple of 8"),
    ("{images.npy} --public-data a --out {o} --device abacus", "device='abacus'"),
]


@pytest.mark.parametrize(("line", "message"), REFUSALS)
def test_refusals(folder, line, message):
    result = run(f"train-codec {line}", folder)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("error: ") == 1
    assert not (folder / "o").exists()
