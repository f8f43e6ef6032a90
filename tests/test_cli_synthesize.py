"""`cloister synthesize` and `sample-images`, with a tiny codec in place of the real ones."""

import json
import os
import sys
import types

import numpy as np
import pytest

from cloister.cli_codec_option import open_codec
from cloister.errors import InvalidInput, ModelFileError
from cloister.neural import Synthesizer
from cloister.neural.png import pixels, png_bytes
from command_line import run, run_json
from tiny_codec import TinyCodec, tiny_images

FIT = "synthesize {data.npz:x} --labels {data.npz:y} --classes 3,5,8 --epsilon 4 --out {m}"
BUDGET = "--budget {ledger} --dataset faces --budget-epsilon 5 --budget-delta 1e-5"


@pytest.fixture
def made(monkeypatch):
    """Codecs that were asked for, all of them tiny."""
    found = []

    def dct(image_shape, **parameters):
        found.append(("dct", image_shape, parameters))
        return TinyCodec(image_shape=image_shape)

    def load_codec(path):
        found.append(("file", path))
        if not os.path.exists(path):
            raise ModelFileError(f"path: there is no file {path!r}")
        return TinyCodec(seed=1)

    module = types.SimpleNamespace(DCTCodec=dct, load_codec=load_codec)
    monkeypatch.setitem(sys.modules, "cloister.neural.decoders", module)
    return found


@pytest.fixture
def folder(tmp_path):
    images, labels = tiny_images(400)
    np.savez(tmp_path / "data.npz", x=images, y=labels)
    np.savez(tmp_path / "few.npz", x=images, y=labels[1:])
    np.save(tmp_path / "grey.npy", images)
    np.save(tmp_path / "flat.npy", images.reshape(400, -1))
    np.save(tmp_path / "float.npy", images / 255)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    return tmp_path


def test_one_command_fits_saves_and_draws(folder, made):
    told = run_json(
        f"{FIT} --samples {{samples}} -n 30 --grid {{grid.png}} --random-state 3", folder
    )
    assert made == [("dct", (6, 6), {})]
    codec = TinyCodec()
    model = Synthesizer.load(folder / "m", codec, codec)
    assert told["privacy"] == json.loads(json.dumps(model.privacy_.to_dict()))
    assert told["privacy"]["epsilon"] == pytest.approx(4, rel=1e-9)
    assert told["statement"] == model.privacy_.statement()
    assert (told["model"], told["samples"]) == (f"{folder}/m", f"{folder}/samples")
    assert (told["n_samples"], told["image_shape"]) == (30, [6, 6])
    images, labels = model.sample(30, 3)
    written = sorted((folder / "samples").rglob("*.png"), key=lambda path: path.name)
    np.testing.assert_array_equal([pixels(path) for path in written], images)
    assert [path.parent.name for path in written] == [str(label) for label in labels]
    assert pixels(folder / "grid.png").shape == (3 * 8 - 2, 10 * 8 - 2)


def test_colours_of_one_image_do_not_decide_what_is_released(folder, made):
    images, _ = tiny_images(9)
    for i, image in enumerate(images):
        target = folder / "pictures" / str(i % 3) / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png_bytes(image))
    line = "synthesize {pictures} --classes 0,1,2 --epsilon 4 --n-hint 9 --out {m}"
    assert run_json(line, folder)["image_shape"] == [6, 6]
    coloured = np.repeat(images[0][..., None], 3, axis=-1)
    (folder / "pictures" / "0" / "last.png").write_bytes(png_bytes(coloured))
    refused = run(line.replace("{m}", "{other}"), folder)
    assert refused.exit_code == 2
    assert "of the 10 images" in refused.stderr
    assert "some are grey and some have colours" in refused.stderr
    assert not (folder / "other").exists()


def test_samples_are_drawn_later_with_the_same_codec(folder, made):
    run_json(f"{FIT} --samples {{now.npz}} -n 20 --random-state 3 --codec {{data.npz}}", folder)
    told = run_json(
        "sample-images {m} --out {then.npz} -n 20 --random-state 3 --codec {data.npz}", folder
    )
    assert (folder / "now.npz").read_bytes() == (folder / "then.npz").read_bytes()
    assert told["n_samples"] == 20
    run_json("sample-images {m} --grid {g.png} --codec {data.npz} --temperature 0.1", folder)
    assert (folder / "g.png").exists()
    refused = run("sample-images {m} --grid {h.png}", folder)
    assert refused.exit_code == 2
    assert "decoder: 'tiny-8-(6, 6)-0' was given" in refused.stderr
    assert made[-1] == ("dct", (6, 6), {})  # the shape is the model's


def test_a_folder_that_was_interrupted_is_taken_up(folder, made):
    run_json(f"{FIT} --samples {{pictures}} -n 20 --random-state 3", folder)
    (folder / "pictures" / "labels.csv").unlink()
    kept, *lost = sorted((folder / "pictures").rglob("*.png"))
    lost[0].unlink()
    before = kept.stat().st_mtime_ns
    line = "sample-images {m} --out {pictures} -n 20 --random-state 3"
    assert "resume what was interrupted" in run(line, folder).stderr
    run_json(f"{line} --resume", folder)
    assert lost[0].exists()
    assert (folder / "pictures" / "labels.csv").exists()
    assert kept.stat().st_mtime_ns == before


def test_options_reach_the_mixture_the_labeller_and_the_codec(folder, made):
    told = run_json(
        f"{FIT} --n-components 2 --covariance-type diag --n-hint 400 --delta 1e-6"
        " --labeller-share 0.3 --codec dct:keep=9,mean=0.5",
        folder,
    )
    assert made == [("dct", (6, 6), {"keep": 9, "mean": 0.5})]
    codec = TinyCodec()
    model = Synthesizer.load(folder / "m", codec, codec)
    assert (model.mixture_.n_components, model.mixture_.covariance_type) == (2, "diag")
    assert (model.mixture_.n_hint, model.mixture_.delta) == (400, 1e-6)
    assert model.labeller_share == 0.3
    assert model.labeller_.mixture_.untilted_ is not None
    assert any(e["name"].startswith("labeller: ") for e in told["privacy"]["events"])


def test_a_ledger_pays(folder, made):
    told = run_json(f"{FIT} {BUDGET} --fit-name first --labeller-share 0.5", folder)
    assert told["budget"]["epsilon_spent"] == pytest.approx(4, rel=1e-6)
    again = run(f"{FIT} {BUDGET}", folder)
    assert again.exit_code == 3
    resumed = run_json(f"{FIT} {BUDGET} --fit-name first --labeller-share 0.5", folder)
    assert resumed["budget"]["epsilon_spent"] == told["budget"]["epsilon_spent"]


@pytest.mark.usefixtures("made")
def test_texts_for_people(folder):
    result = run(f"{FIT} --samples {{s.parquet}} -n 10", folder)
    assert result.exit_code == 0
    assert "differentially private" in result.stdout
    assert "image_shape" in result.stdout
    assert "drawing 10 images" in result.stderr
    assert "--codec" in run("synthesize --help").stdout
    assert "costs no privacy" in run("sample-images --help").stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{FIT} --samples {{s}}", "--samples and -n need each other"),
        (f"{FIT} -n 3", "--samples and -n need each other"),
        (f"{FIT} --samples {{full}} -n 3", "--samples: .* holds 1 entries already"),
        (f"{FIT} --samples {{none}}/s.npz -n 3", "the folder of .* does not exist"),
        (f"{FIT} --grid {{none}}/g.png", "--grid: the folder"),
        (f"{FIT} --grid {{m}}", "--out and --grid name the same file"),
        (f"{FIT} --epsilon inf", "--epsilon=inf adds no noise"),
        (f"{FIT} --epsilon 0", "epsilon=0"),
        (f"{FIT} --budget {{ledger}}", "--budget and --dataset need each other"),
        (f"{FIT} --fit-name a", "--fit-name needs --budget"),
        (f"{FIT} --labeller-share 1", "labeller_share=1.0"),
        (f"{FIT} --codec dct:kept=3", "'kept' is no parameter of dct"),
        (f"{FIT} --codec dct:keep=few", "'keep=few' is no NAME=NUMBER"),
        (f"{FIT} --codec {{none}}", "there is no file"),
        ("synthesize {none.npy} --out {m}", "IMAGES"),
        ("synthesize {flat.npy} --out {m}", r"IMAGES has shape \(400, 36\)"),
        ("synthesize {float.npy} --out {m}", "IMAGES must be .* uint8 .*got float64"),
        ("synthesize {grey.npy} --labels {few.npz:y} --out {m}", "y has 399 labels"),
        ("sample-images {full}", "give --out with -n, or --grid"),
        ("sample-images {grey.npy} --grid {g.png}", "no safetensors file"),
    ],
)
@pytest.mark.usefixtures("made")
def test_bad_options_are_refused_and_nothing_is_written(folder, line, message):
    before = sorted(folder.rglob("*"))
    result = run(line, folder)
    assert result.exit_code == 2
    errors = [text for text in result.stderr.splitlines() if text.startswith("error: ")]
    assert len(errors) == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(errors[0])
    assert sorted(folder.rglob("*")) == before


@pytest.mark.usefixtures("made")
def test_a_model_that_was_paid_for_is_not_lost(folder, monkeypatch):
    def full(*_, **__):
        raise OSError("no space")

    monkeypatch.setattr(Synthesizer, "write", full)
    result = run(f"{FIT} --samples {{s.npz}} -n 10", folder)
    assert result.exit_code == 2
    assert "go on with `cloister sample-images`" in result.stderr
    assert (folder / "m").exists()


def test_parameters_of_the_cosine_codec_are_numbers(made):
    open_codec("dct:keep=3, contrast=0.25", (6, 6, 3))
    assert made == [("dct", (6, 6, 3), {"keep": 3, "contrast": 0.25})]
    assert isinstance(made[0][2]["keep"], int)
    with pytest.raises(InvalidInput, match="no NAME=NUMBER"):
        open_codec("dct:keep", (6, 6))


@pytest.mark.usefixtures("made")
def test_a_folder_of_samples_is_a_folder_of_images(folder):
    run_json(f"{FIT} --samples {{samples}} -n 300 --random-state 3", folder)
    told = run_json("synthesize {samples} --classes 3,5,8 --out {again} --epsilon 4", folder)
    assert told["image_shape"] == [6, 6]
    codec = TinyCodec()
    model = Synthesizer.load(folder / "again", codec, codec)
    assert model.classes_.tolist() == ["3", "5", "8"]
