"""What the adapters of diffusers refuse: folders, weights, parameters, embeddings."""

import json
import shutil
import sys
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cloister.errors import InvalidInput, InvalidType, MissingDependency, ModelFileError
from cloister.neural.decoders import AutoencoderKLDecoder, UnCLIPDecoder
from tiny_diffusers import save_all

pytestmark = pytest.mark.usefixtures("one_torch_thread")

QUICK = {"encoder_id": "clip-tiny", "num_inference_steps": 2, "local_files_only": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_all(torch, tmp_path_factory.mktemp("diffusers"))


MAKERS = {
    "vae": partial(AutoencoderKLDecoder, local_files_only=True),
    "unclip": lambda name, **options: UnCLIPDecoder(name, **QUICK, **options),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_folders_that_are_refused(folder, tmp_path, kind):
    make = MAKERS[kind]
    with pytest.raises(ModelFileError, match=r"there is no folder .*nowhere"):
        make(tmp_path / "nowhere")
    with pytest.raises(ModelFileError, match=r"there is no folder './nowhere'"):
        make("./nowhere")
    with pytest.raises(ModelFileError, match="there is no folder ''"):
        make("")
    with pytest.raises(ModelFileError, match=r"can be loaded from .*(config|model_index)\.json"):
        make(tmp_path)
    with pytest.raises(ModelFileError, match="can be loaded from 'nobody/nothing'"):
        make("nobody/nothing")
    (tmp_path / "file").write_text("weights")
    with pytest.raises(ModelFileError, match="is a file; name the folder"):
        make(tmp_path / "file")
    with pytest.raises(InvalidType, match="name_or_folder must be a folder or a name"):
        make(3)


def test_a_model_of_another_class_is_refused(folder, tmp_path):
    with pytest.raises(ModelFileError, match="holds the class UNet2DConditionModel, but Autoenc"):
        AutoencoderKLDecoder(folder / "unclip", subfolder="unet")
    with pytest.raises(ModelFileError, match="subfolder='vae'"):
        AutoencoderKLDecoder(folder / "unclip")
    shutil.copytree(folder / "unclip", tmp_path / "other")
    index = tmp_path / "other" / "model_index.json"
    described = json.loads(index.read_text()) | {"_class_name": "StableDiffusionPipeline"}
    index.write_text(json.dumps(described))
    with pytest.raises(ModelFileError, match="class StableDiffusionPipeline, but StableUnCLIP"):
        UnCLIPDecoder(tmp_path / "other", **QUICK)


PARTS = {
    "vae": ("vae", "diffusion_pytorch_model.safetensors"),
    "unclip": ("unclip/unet", "diffusion_pytorch_model.safetensors"),
    "text": ("unclip/text_encoder", "model.safetensors"),
}


@pytest.mark.parametrize("part", PARTS)
def test_incomplete_and_damaged_weights_are_refused(folder, tmp_path, part):
    inside, file = PARTS[part]
    top = inside.split("/")[0]
    shutil.copytree(folder / top, tmp_path / top)
    weights = tmp_path / inside / file
    make = MAKERS[top]
    whole = load_file(weights)
    name = next(name for name in whole if name.endswith("weight"))
    save_file({n: w for n, w in whole.items() if n != name}, weights, {"format": "pt"})
    with pytest.raises(ModelFileError, match=r"lacks 1 weights of its \w+ and has 0"):
        make(tmp_path / top)
    another = {n: w if n != name else np.zeros((3, 3), np.float32) for n, w in whole.items()}
    save_file(another, weights, {"format": "pt"})
    with pytest.raises(ModelFileError, match="name_or_folder: "):
        make(tmp_path / top)
    weights.write_bytes(b"no weights at all")
    with pytest.raises(ModelFileError, match="can be loaded from"):
        make(tmp_path / top)
    weights.unlink()
    with pytest.raises(ModelFileError, match="can be loaded from"):
        make(tmp_path / top)


def test_pickled_weights_are_never_opened(folder, tmp_path):
    shutil.copytree(folder / "vae", tmp_path / "vae")
    weights = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    state = {name: torch.from_numpy(w) for name, w in load_file(weights).items()}
    torch.save(state, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelFileError, match="can be loaded from"):
        AutoencoderKLDecoder(tmp_path / "vae")


@pytest.mark.parametrize("package", ["diffusers", "transformers"])
def test_missing_packages_name_their_extra(folder, monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency, match=r'pip install "cloister\[diffusers\]"'):
        UnCLIPDecoder(folder / "unclip", **QUICK)


BAD_VAE = [
    ({"image_size": 17}, InvalidInput, "17 is no multiple of the model's reduction, 2; take 16"),
    ({"image_size": (16, 16, 3)}, InvalidInput, "must be a number of pixels"),
    ({"norm_bound": 0}, InvalidInput, "norm_bound=0 is outside"),
    ({"rms_bound": -1}, InvalidInput, "rms_bound=-1 is outside"),
    ({"dtype": "int8"}, InvalidInput, "dtype='int8' is not one of"),
    ({"strict": 1}, InvalidType, "strict must be True or False"),
    ({"batch_size": 0}, InvalidInput, "batch_size=0 is outside"),
]
BAD_UNCLIP = [
    ({"encoder_id": ""}, InvalidType, "encoder_id must be the `id` of a CLIP encoder"),
    ({"noise_level": 1000}, InvalidInput, r"noise_level=1000 is outside \[0, 999\]"),
    ({"num_inference_steps": 0}, InvalidInput, "num_inference_steps=0 is outside"),
    ({"guidance_scale": -1}, InvalidInput, "guidance_scale=-1 is outside"),
    ({"embedding_norm": 0}, InvalidInput, r"embedding_norm=0 is outside \(0,"),
    ({"image_size": 20}, InvalidInput, "image_size=20 is no multiple of 8; take 16"),
    ({"prompt": None}, InvalidType, "prompt must be a text"),
    ({"seed": -1}, InvalidInput, "seed=-1 is outside"),
    ({"dtype": None}, InvalidInput, "dtype=None is not one of"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD_VAE)
def test_bad_parameters_of_a_vae(folder, options, kind, message):
    with pytest.raises(kind, match=message):
        AutoencoderKLDecoder(folder / "vae", **options)


@pytest.mark.parametrize(("options", "kind", "message"), BAD_UNCLIP)
def test_bad_parameters_of_unclip(folder, options, kind, message):
    with pytest.raises(kind, match=message):
        UnCLIPDecoder(folder / "unclip", **(QUICK | options))


def test_bad_embeddings(folder):
    vae = AutoencoderKLDecoder(folder / "vae", local_files_only=True)
    unclip = UnCLIPDecoder(folder / "unclip", **QUICK)
    with pytest.raises(InvalidInput, match=r"\(2, 16\), but this AutoencoderKL needs \(n, 128\)"):
        vae.decode(np.zeros((2, 16)))
    with pytest.raises(InvalidInput, match=r"\(2, 128\), but this UnCLIPDecoder needs \(n, 16\)"):
        unclip.decode(np.zeros((2, 128)))
    with pytest.raises(InvalidInput, match="NaN or infinity in 1 of 1 rows"):
        unclip.decode(np.full((1, 16), np.nan))
    with pytest.raises(InvalidInput, match=r"\(1, 8, 8, 3\), but \(n, 16, 16, 3\) is needed"):
        vae.encode(np.zeros((1, 8, 8, 3), np.uint8))
