"""`cloister evaluate-images`: the figures of `evaluate_images`, and that they are the owner's."""

import json
import sys
import types

import numpy as np
import pytest

from cloister.neural.image_report import evaluate_images
from command_line import run, run_json
from tiny_codec import TinyCodec, tiny_images


@pytest.fixture
def folder(tmp_path, monkeypatch):
    def dct(image_shape):
        return TinyCodec(image_shape=image_shape)

    module = types.SimpleNamespace(DCTCodec=dct, load_codec=None)
    monkeypatch.setitem(sys.modules, "cloister.neural.decoders", module)
    for name, seed, n in (("samples", 1, 120), ("real", 2, 150), ("fitted", 3, 150)):
        images, labels = tiny_images(n, seed=seed)
        np.savez(tmp_path / f"{name}.npz", x=images, y=labels)
    np.savez(tmp_path / "flat.npz", x=np.zeros((3, 4), np.uint8), y=np.zeros(3))
    return tmp_path


@pytest.mark.parametrize("training", [False, True])
def test_figures_are_those_of_the_function(folder, training):
    option = " --training {fitted.npz:x}" if training else ""
    told = run_json(f"evaluate-images {{samples.npz}} {{real.npz}} -k 3{option}", folder)
    fitted = tiny_images(150, seed=3)[0] if training else None
    wanted = evaluate_images(
        *tiny_images(120, seed=1), *tiny_images(150, seed=2), TinyCodec(), training=fitted, k=3
    )
    assert told == json.loads(json.dumps(wanted.to_dict()))
    assert "does not cover" in told["not_covered_by_the_guarantee"]


def test_texts_for_people(folder):
    line = "evaluate-images {samples.npz:x} {real.npz} --labels {samples.npz:y}"
    text = run(f"{line} --training {{fitted.npz:x}}", folder).stdout
    for word in ("frechet", "precision", "coverage", "nearer to training", "Owner-side"):
        assert word in text
    assert len([row for row in text.splitlines() if row.split()[:1] in (["3"], ["5"], ["8"])]) == 3
    assert "nearer" not in run(line, folder).stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{none.npz} {real.npz}", "SAMPLES"),
        ("{samples.npz} {none.npz}", "REAL"),
        ("{samples.npz:x} {real.npz}", "SAMPLES with a :KEY needs --labels"),
        ("{samples.npz} {flat.npz}", "REAL has shape (3, 4)"),
        ("{samples.npz} {real.npz} --labels {real.npz:y}", "labels has shape (150,)"),
        ("{samples.npz} {real.npz} -k 0", "k=0"),
    ],
)
def test_bad_arguments_are_refused(folder, line, message):
    result = run(f"evaluate-images {line}", folder)
    assert result.exit_code == 2
    assert message in result.stderr
