"""Training of codecs: it learns, sees what it should, and refuses what it must."""

import builtins
import sys

import numpy as np
import pytest
import torch

from cloister.errors import InvalidInput, InvalidType, MissingDependency
from cloister.neural import codec_run
from cloister.neural.decoders import train_codec
from tiny_codecs import SHAPE, TINY, images, same, tiny_codec

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("kl_weight", [0.0, 0.001])
def test_it_learns_to_reconstruct(kl_weight):
    errors = []
    codec = tiny_codec(
        (8, 8), n=400, epochs=12, n_features=24, kl_weight=kl_weight,
        progress=lambda epoch: errors.append(epoch.held_out_error),
    )  # fmt: skip
    new = images(200, (8, 8), seed=5)
    away = codec.decode(np.zeros((1, 24)))
    mean_error = np.sqrt(np.square(new.astype(float) - away).mean())
    error = np.sqrt(np.square(new.astype(float) - codec.decode(codec.encode(new))).mean())
    assert error < 0.6 * mean_error
    assert errors[-1] < 0.7 * errors[0]
    assert codec.training["held_out_error"] == errors[-1]
    assert 0.5 * error < errors[-1] < 2 * error
    assert codec.training["n_held_out"] == 40


def test_colour_images_are_learnt_too():
    codec = tiny_codec((8, 9, 3), epochs=1)
    assert codec.decode(codec.encode(images(2, (8, 9, 3)))).shape == (2, 8, 9, 3)


def test_every_setting_changes_the_codec():
    base = tiny_codec()
    assert same(base, tiny_codec())
    changes = [
        {"random_state": 1}, {"epochs": 3}, {"batch_size": 17}, {"learning_rate": 1e-3},
        {"kl_weight": 0.1}, {"edge_weight": 1.0}, {"norm_bound": 2.0}, {"width": 16},
        {"n_features": 7}, {"validation_fraction": 0.2},
    ]  # fmt: skip
    ids = {base.id, *(tiny_codec(**change).id for change in changes)}
    assert len(ids) == 1 + len(changes)
    kl = {tiny_codec(kl_weight=0.1).id, tiny_codec(kl_weight=0.2).id}
    assert len(kl) == 2


def test_nothing_held_out():
    codec = tiny_codec(validation_fraction=0.0)
    assert codec.training["held_out_error"] is None
    assert codec.training["n_held_out"] == 0


def test_held_out_images_are_not_trained_on(monkeypatch):
    seen = {}
    start = codec_run.CodecRun.__init__

    def spy(self, a, plan, given, rows, held_out, device):
        seen.update(training=given[rows], held_out=held_out)
        start(self, a, plan, given, rows, held_out, device)

    monkeypatch.setattr(codec_run.CodecRun, "__init__", spy)
    tiny_codec(validation_fraction=0.25)
    training, held_out = (
        {image.tobytes() for image in seen[part]} for part in ("training", "held_out")
    )
    assert (len(training), len(held_out)) == (60, 20)
    assert not training & held_out
    assert training | held_out == {image.tobytes() for image in images()}


def test_each_epoch_has_an_order_of_its_own(monkeypatch):
    batches = []
    step = codec_run.CodecRun._step

    def spy(self, batch, generator):
        batches.append(batch.copy())
        return step(self, batch, generator)

    monkeypatch.setattr(codec_run.CodecRun, "_step", spy)
    tiny_codec(validation_fraction=0.0)
    first, second = batches[:5], batches[5:]
    for epoch in (first, second):
        assert {i.tobytes() for part in epoch for i in part} == {i.tobytes() for i in images()}
    assert any((a != b).any() for a, b in zip(first, second, strict=True))


def test_global_generators_and_modes_are_left_alone():
    torch.manual_seed(3)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    with torch.inference_mode():
        codec = tiny_codec(kl_weight=0.1)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert same(codec, tiny_codec(kl_weight=0.1))


def test_the_callers_images_are_not_written_to():
    given = images()
    given.setflags(write=False)
    before = given.copy()
    train_codec(given, **TINY)
    np.testing.assert_array_equal(given, before)


def test_a_memory_map_is_read_a_batch_at_a_time(tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", images())
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    kept = []
    start = codec_run.CodecRun.__init__

    def spy(self, a, plan, given, *rest):
        kept.append(given)
        start(self, a, plan, given, *rest)

    monkeypatch.setattr(codec_run.CodecRun, "__init__", spy)
    assert same(train_codec(mapped, **TINY), tiny_codec())
    assert np.shares_memory(kept[0], mapped)


BAD = [
    ({"public_data": ""}, InvalidType, "must say in words which public images .* never see"),
    ({"public_data": None}, InvalidType, "must say in words"),
    ({"epochs": 0}, InvalidInput, "epochs=0 is outside"),
    ({"batch_size": 2.5}, InvalidType, "batch_size must be a whole number"),
    ({"learning_rate": 0}, InvalidInput, r"learning_rate=0 is outside \(0, 1\]"),
    ({"kl_weight": -1}, InvalidInput, "kl_weight=-1 is outside"),
    ({"edge_weight": np.nan}, InvalidInput, "edge_weight=nan is outside"),
    ({"validation_fraction": 0.9}, InvalidInput, "validation_fraction=0.9 is outside"),
    ({"random_state": None}, InvalidType, "random_state must be an integer"),
    ({"random_state": -1}, InvalidInput, "random_state=-1 is outside"),
    ({"width": 20}, InvalidInput, "width=20 is no multiple of 8"),
    ({"samples_every": 0}, InvalidInput, "samples_every=0 is outside"),
    ({"progress": 1}, InvalidType, "progress must be True, False or a function"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_bad_settings(options, kind, message):
    with pytest.raises(kind, match=message):
        tiny_codec(**options)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (np.zeros((0, *SHAPE), np.uint8), InvalidInput, "holds 0 images"),
        (np.zeros((1, *SHAPE), np.uint8), InvalidInput, "holds 1 image, but at least 2"),
        (np.zeros((5, *SHAPE), int), InvalidType, "dtype int64, but images are uint8"),
        (np.full((5, *SHAPE), 2.0), InvalidInput, r"floats from 2 to 2, .* must lie in \[0, 1\]"),
        (np.zeros((5, 120), np.uint8), InvalidInput, r"shape \(5, 120\), 2 axes"),
        (np.zeros((5, 12, 10, 4), np.uint8), InvalidInput, r"\(5, 12, 10, 4\), 4 channels"),
        (np.zeros((5, 4, 4), np.uint8), InvalidInput, r"public_images=4 is outside \[8, 256\]"),
        ("folder", InvalidInput, "there is no file or folder 'folder'"),
        ([images(2), images(2, (8, 9))], InvalidInput, r"of 2 shapes, such as \(8, 9\) and \(12"),
    ],
)
def test_bad_images(given, kind, message):
    with pytest.raises(kind, match=message):
        train_codec(given, **TINY)


def test_a_diverging_training_says_so(monkeypatch):
    monkeypatch.setattr(codec_run, "_rate", lambda *_: 1e30)
    with pytest.raises(InvalidInput, match=r"training diverged in epoch .* use a smaller one"):
        tiny_codec()


def test_a_folder_that_cannot_be_made(tmp_path):
    with pytest.raises(InvalidInput, match=r"samples_dir: .* cannot be made: No such file"):
        tiny_codec(samples_dir=tmp_path / "a" / "b")


@pytest.mark.parametrize(("missing", "options"), [("torch", {}), ("PIL", {"samples_dir": "x"})])
def test_missing_packages_name_their_extra(missing, options, monkeypatch, tmp_path):
    given = builtins.__import__

    def refusing(name, *rest, **more):
        if name.split(".")[0] == missing:
            raise ImportError(f"no {name}")
        return given(name, *rest, **more)

    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", refusing)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingDependency, match=r'pip install "cloister\[torch\]"'):
        tiny_codec(**options)
