"""Codecs on disk: what comes back, and files that are refused."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cloister.errors import ModelFileError
from cloister.model_file import read_model, write_model
from cloister.neural.decoders import ConvCodec, DCTCodec, load_codec
from tiny_codecs import SHAPE, images, tiny_codec

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MEAN = np.arange(120, dtype=np.uint8).reshape(SHAPE)
COSINE = {
    "grey": DCTCodec((28, 28), keep=30, block=14, mean=7, contrast=0.3),
    "colour": DCTCodec((8, 9, 3), keep=(20, 4), norm_bound=2.0, frequency_power=0.5),
    "mean image": DCTCodec(SHAPE, keep=9, mean=MEAN, public_data="MNIST train"),
}


@pytest.fixture(scope="module")
def trained():
    return tiny_codec(kl_weight=0.1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "codec.safetensors"


@pytest.mark.parametrize("codec", COSINE.values(), ids=COSINE.keys())
def test_a_cosine_codec_comes_back(codec, path):
    codec.save(path)
    for again in (DCTCodec.load(path), load_codec(str(path))):
        assert type(again) is DCTCodec
        assert again.id == codec.id
        assert again.public_data == codec.public_data
        batch = images(4, codec.image_shape)
        np.testing.assert_array_equal(again.encode(batch), codec.encode(batch))
        rows = codec.encode(batch)
        np.testing.assert_array_equal(again.decode(rows), codec.decode(rows))


def test_a_trained_codec_comes_back(trained, path):
    trained.save(path)
    for again in (ConvCodec.load(path), load_codec(path)):
        assert type(again) is ConvCodec
        assert again.id == trained.id
        assert again.public == trained.public
        assert again.training == trained.training
        np.testing.assert_array_equal(again.encode(images(9)), trained.encode(images(9)))
        rows = np.random.default_rng(0).normal(size=(3, 6))
        np.testing.assert_array_equal(again.decode(rows), trained.decode(rows))


def test_a_file_says_which_public_images_were_seen(trained, path):
    trained.save(path)
    _, arrays, header = read_model(path, "codec")
    assert header["form"] == "convolutional"
    assert header["parameters"] == {
        "image_shape": [12, 10], "n_features": 6, "width": 8, "variational": True,
        "norm_bound": 1.0,
    }  # fmt: skip
    assert header["public_data"]["name"] == "procedural images"
    assert header["public_data"]["n_images"] == 80
    assert header["public_data"]["sha256"] == trained.public.sha256
    assert header["training"]["epochs"] == 2
    assert set(arrays) == {"center", *("network." + name for name in trained.weights)}


def test_equal_codecs_make_equal_files(trained, path, tmp_path):
    trained.save(path)
    tiny_codec(kl_weight=0.1).save(tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


# --- refusals -----------------------------------------------------------------------------------


def changed(path, header=None, arrays=None, drop=()):
    """Write the file again with parts of its header or arrays replaced."""
    kind, stored, described = read_model(path)
    described = {key: value for key, value in described.items() if key not in drop}
    stored = {key: value for key, value in stored.items() if key not in drop}
    write_model(path, kind, stored | (arrays or {}), described | (header or {}))


CONV = {
    "no form": ({"drop": ["form"]}, "form=None"),
    "other form": ({"header": {"form": "wavelet"}}, "of the form 'wavelet', but 'dct' or"),
    "no array": ({"drop": ["network.to_latent.bias"]}, "lacks the array 'network.to_latent.bias'"),
    "wrong shape": (
        {"arrays": {"network.image.bias": np.zeros(2, np.float32)}},
        r"network.image.bias' of dtype float32 and shape \(2,\), but float32 and \(1,\)",
    ),
    "NaN": ({"arrays": {"network.image.bias": np.full(1, np.nan, np.float32)}}, "has NaN"),
    "other weights": (
        {"arrays": {"network.image.bias": np.ones(1, np.float32)}}, "but it was saved as"
    ),
    "center": ({"arrays": {"center": np.zeros(5)}}, r"shape \(5,\), but float64 and \(6,\)"),
    "radius": ({"header": {"radius": -1.0}}, "radius=-1.0 is outside"),
    "radius text": ({"header": {"radius": "1"}}, "radius='1'"),
    "no public data": ({"drop": ["public_data"]}, "public_data=None"),
    "nameless": (
        {"header": {"public_data": {"name": "", "n_images": 1, "sha256": "0" * 64}}},
        "must say in words",
    ),
    "digest": (
        {"header": {"public_data": {"name": "a", "n_images": 1, "sha256": "0"}}}, "has not 64"
    ),
    "no digits": (
        {"header": {"public_data": {"name": "a", "n_images": 1, "sha256": "x" * 64}}}, "invalid"
    ),
    "n_images": (
        {"header": {"public_data": {"name": "a", "n_images": 0, "sha256": "0" * 64}}},
        "n_images=0 is outside",
    ),
    "extra": ({"header": {"public_data": {"who": "me"}}}, "unexpected keyword argument 'who'"),
    "parameters": ({"header": {"parameters": {"norm_bound": 1.0}}}, "missing 4 required"),
    "width": (
        {"header": {"parameters": {
            "image_shape": [12, 10], "n_features": 6, "width": 9, "variational": True,
            "norm_bound": 1.0,
        }}},
        "width=9 is no multiple",
    ),
    "no id": ({"drop": ["id"]}, "id=None"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CONV.values(), ids=CONV.keys())
def test_trained_codecs_that_are_refused(trained, path, change, message):
    trained.save(path)
    changed(path, **change)
    with pytest.raises(ModelFileError, match=message) as caught:
        load_codec(path)
    assert str(path) in str(caught.value)


DCT = {
    "keep": ({"keep": [900, 3]}, "keep=900 is outside"),
    "no keep": ({"keep": []}, "damaged: IndexError"),
    "shape": ({"image_shape": [28]}, r"\(28,\) are needed"),
    "shape number": ({"image_shape": 3}, "damaged: TypeError"),
    "unknown": ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    "contrast": ({"contrast": 0.4}, "but it was saved as"),
}


@pytest.mark.parametrize(("new", "message"), DCT.values(), ids=DCT.keys())
def test_cosine_codecs_that_are_refused(path, new, message):
    COSINE["grey"].save(path)
    _, _, header = read_model(path)
    changed(path, header={"parameters": header["parameters"] | new})
    with pytest.raises(ModelFileError, match=message):
        load_codec(path)


def test_a_mean_of_another_shape_is_refused(path):
    COSINE["mean image"].save(path)
    changed(path, arrays={"mean": MEAN.T.copy()})
    with pytest.raises(ModelFileError, match=r"shape \(10, 12\), but uint8 and \(12, 10\)"):
        load_codec(path)


def test_a_codec_of_the_other_form_is_refused(trained, path):
    trained.save(path)
    with pytest.raises(ModelFileError, match="of the form 'convolutional', but 'dct' is needed"):
        DCTCodec.load(path)
    COSINE["grey"].save(path)
    with pytest.raises(ModelFileError, match="of the form 'dct', but 'convolutional' is needed"):
        ConvCodec.load(path)
    write_model(path, "probe", {}, {})
    with pytest.raises(ModelFileError, match="of kind 'probe', but 'codec' is needed"):
        load_codec(path)
    with pytest.raises(ModelFileError, match="there is no file"):
        load_codec(path.parent / "none")


def test_weights_of_another_program_are_refused(trained, path):
    trained.save(path)
    arrays = load_file(path)
    save_file(arrays, path)  # the arrays alone, as torch programs write them
    with pytest.raises(ModelFileError, match="no cloister model"):
        load_codec(path)


@pytest.mark.parametrize("form", ["dct", "convolutional"])
def test_a_flipped_bit_is_refused_or_changes_nothing_that_is_used(trained, path, form):
    codec = COSINE["mean image"] if form == "dct" else trained
    codec.save(path)
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0] + 8
    assert json.loads(content[8:length])["__metadata__"]
    rng = np.random.default_rng(0)
    for position in [*rng.integers(0, length, 150), *rng.integers(length, len(content), 60)]:
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            again = load_codec(path)
        except ModelFileError:
            continue
        assert again.id == codec.id


def test_a_file_cut_anywhere_is_refused(trained, path):
    trained.save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 997):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            load_codec(path)
