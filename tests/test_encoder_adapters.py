"""Encoders of the libraries of models: their real loading code, on tiny models built here."""

import urllib.error
from importlib import import_module

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

import tiny_models
from cloister.errors import InvalidInput, MissingDependency, ModelFileError
from cloister.neural.encoders import (
    open_clip_encoder,
    sentence_transformers_encoder,
    timm_encoder,
    torchvision_encoder,
    transformers_encoder,
)
from tiny_models import COLOUR, SMALL, TEXTS, unit

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread", "offline"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, whatever this machine has; caches are empty."""

    def refused(*_, **__):
        raise urllib.error.URLError("no network here")

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("urllib.request.urlopen", refused)
    monkeypatch.setattr("torch.hub.urlopen", refused)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return folder, tiny_models.save_clip(folder).eval()


def test_unknown_names_show_those_that_are_close():
    with pytest.raises(InvalidInput, match=r"'resnet_18' is none of torchvision's.*resnet18"):
        torchvision_encoder("resnet_18", "DEFAULT")
    with pytest.raises(InvalidInput, match="none of torchvision's"):
        torchvision_encoder("fcn_resnet50", "DEFAULT")  # makes maps, not vectors
    with pytest.raises(InvalidInput, match=r"none of timm's.*resnet10t"):
        timm_encoder("resnet10tt")
    with pytest.raises(InvalidInput, match=r"none of open_clip's.*ViT-B-32"):
        open_clip_encoder("ViT-B-33", "openai")
    with pytest.raises(InvalidInput, match=r"'IMAGENET' is neither.*IMAGENET1K_V1"):
        torchvision_encoder("resnet18", "IMAGENET")
    with pytest.raises(InvalidInput, match="neither a file nor 'pretrained'"):
        timm_encoder("resnet10t", "mine")
    with pytest.raises(InvalidInput, match=r"neither a file nor one of \[.*'openai'"):
        open_clip_encoder("ViT-B-32", "mine")
    for make in (torchvision_encoder, timm_encoder, open_clip_encoder):
        name = {"open_clip_encoder": "ViT-B-32"}.get(make.__name__, "resnet18")
        with pytest.raises(InvalidInput, match="weights=None would leave the network random"):
            make(name, None)


def test_without_a_network_the_weights_are_said_to_be_out_of_reach(tmp_path):
    with pytest.raises(ModelFileError, match=r"'DEFAULT' cannot be fetched.*no network"):
        torchvision_encoder("resnet18", "DEFAULT")
    with pytest.raises(ModelFileError, match="timm cannot make it"):
        timm_encoder("resnet10t")
    with pytest.raises(ModelFileError, match="cannot be fetched"):
        open_clip_encoder("ViT-B-32", "openai")
    for make in (transformers_encoder, sentence_transformers_encoder):
        for name in (str(tmp_path / "nowhere"), "nobody/knows-this-model"):
            with pytest.raises(ModelFileError, match="cannot be loaded"):
                make(name)


def test_missing_libraries_name_the_extra(monkeypatch):
    for make, module, extra in (
        (torchvision_encoder, "torchvision.models", "torch"),
        (timm_encoder, "timm", "encoders"),
        (open_clip_encoder, "open_clip", "encoders"),
        (transformers_encoder, "transformers", "encoders"),
        (sentence_transformers_encoder, "sentence_transformers", "encoders"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(import_module("sys").modules, module, None)
            with pytest.raises(MissingDependency, match=rf"cloister\[{extra}\]"):
                make("name", **({"weights": "w"} if make is open_clip_encoder else {}))


def test_timm_gives_pooled_features_with_its_own_preprocessing(tmp_path):
    torch.manual_seed(0)
    whole = timm.create_model("resnet10t", pretrained=False).eval()
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    encoder = timm_encoder("resnet10t", tmp_path / "w.safetensors", batch_size=3)
    assert encoder.n_features == 512
    assert "176x176, bicubic, centre of 201" in encoder.id
    described = encoder._inputs.prepare(COLOUR)
    with torch.no_grad():
        expected = whole.forward_head(whole.forward_features(described), pre_logits=True)
    np.testing.assert_allclose(encoder.encode(COLOUR), unit(expected), atol=1e-5)


def test_open_clip_images_and_texts(tmp_path):
    open_clip.add_model_config(tiny_models.open_clip_config(tmp_path, "tiny-clip"))
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-clip", load_weights=False).eval()
    save_file(model.state_dict(), tmp_path / "tiny.safetensors")
    images = open_clip_encoder("tiny-clip", tmp_path / "tiny.safetensors", batch_size=4)
    assert "32x32, bicubic, centre of 32" in images.id
    with torch.no_grad():
        expected = model.encode_image(images._inputs.prepare(COLOUR))
    np.testing.assert_allclose(images.encode(COLOUR), unit(expected), atol=1e-5)
    texts = open_clip_encoder(
        "tiny-clip", tmp_path / "tiny.safetensors", modality="text", batch_size=4
    )
    with torch.no_grad():
        expected = model.encode_text(open_clip.get_tokenizer("tiny-clip")(TEXTS))
    np.testing.assert_allclose(texts.encode(TEXTS), unit(expected), atol=1e-5)
    assert texts.id != images.id
    with pytest.raises(InvalidInput, match="modality='sound'"):
        open_clip_encoder("tiny-clip", "openai", modality="sound")


def test_clip_of_transformers_images_and_texts(clip):
    folder, model = clip
    images = transformers_encoder(folder, batch_size=4)
    assert images.id.startswith("transformers:CLIPModel image; sha256 ")
    assert "32x32, bicubic, centre of 36, mean 0.4/0.5/0.6, std 0.2/0.3/0.4" in images.id
    with torch.no_grad():
        found = model.get_image_features(pixel_values=images._inputs.prepare(COLOUR))
    np.testing.assert_allclose(images.encode(COLOUR), unit(found.pooler_output), atol=1e-5)
    texts = transformers_encoder(folder, modality="text", batch_size=4)
    assert "10 a text" in texts.id
    assert texts.encode(TEXTS).shape == (3, 8)
    np.testing.assert_array_equal(texts.encode(TEXTS[1:2]), texts.encode(TEXTS)[1:2])
    in_memory = transformers_encoder(model, preprocessing=images._inputs, batch_size=4)
    assert in_memory.id == images.id


def test_the_preprocessing_is_that_of_the_processor(clip):
    # Smooth, as images are: the processor rounds to 8 bits between two passes, we do not.
    coarse = Image.fromarray(COLOUR[0, :6, :6])
    smooth = np.array(coarse.resize((50, 40), Image.Resampling.BICUBIC))
    ours = transformers_encoder(clip[0])._inputs.prepare(smooth[None])
    processor = transformers.AutoImageProcessor.from_pretrained(clip[0])
    theirs = processor([smooth], return_tensors="pt")["pixel_values"]
    assert np.abs(ours.numpy() - theirs.numpy()).max() < 2.1 / 255 / 0.2


def test_dinov2_of_transformers(tmp_path):
    model = tiny_models.save_dinov2(tmp_path / "dino").eval()
    encoder = transformers_encoder(tmp_path / "dino", batch_size=4)
    with torch.no_grad():
        expected = model(pixel_values=encoder._inputs.prepare(COLOUR)).pooler_output
    np.testing.assert_allclose(encoder.encode(COLOUR), unit(expected), atol=1e-5)


def test_folders_of_transformers_that_lack_something_are_refused(clip, tmp_path):
    _folder, model = clip
    model.save_pretrained(tmp_path / "bare")
    with pytest.raises(InvalidInput, match="no image processor lies beside"):
        transformers_encoder(tmp_path / "bare")
    with pytest.raises(InvalidInput, match="no tokenizer lies beside"):
        transformers_encoder(tmp_path / "bare", modality="text")
    state = model.state_dict()
    torch.save(
        {name: tensor for name, tensor in state.items() if "visual_projection" not in name},
        tmp_path / "bare" / "pytorch_model.bin",
    )
    (tmp_path / "bare" / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match="visual_projection"):
        transformers_encoder(tmp_path / "bare", preprocessing=SMALL)
    (tmp_path / "bare" / "config.json").write_text("{")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        transformers_encoder(tmp_path / "bare", preprocessing=SMALL)


def test_sentences(tmp_path):
    model = tiny_models.save_sentence_transformer(tmp_path / "sentences")
    encoder = sentence_transformers_encoder(tmp_path / "sentences", batch_size=4)
    expected = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    assert encoder.id.startswith("sentence-transformers:BertModel+Pooling; sha256 ")
    # Its own encode pads to the longest text of a batch, so that bits depend on it; ours do not.
    assert encoder.check_row_purity(TEXTS).pure
    assert sentence_transformers_encoder(model, batch_size=4).id == encoder.id
