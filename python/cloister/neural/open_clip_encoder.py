"""Encoders from open_clip: images or texts in the space that they share."""

from __future__ import annotations

import difflib
import os
from typing import Any

from cloister.errors import InvalidInput, ModelFileError
from cloister.neural.method_module import method_module
from cloister.neural.module_encoder import ModuleEncoder
from cloister.neural.optional_packages import need
from cloister.neural.preprocessing import Preprocessing, as_preprocessing
from cloister.neural.text_tokens import TextTokens
from cloister.neural.weights_file import (
    check_weights_argument,
    load_weights,
    names_file,
    read_weights,
)
from cloister.parameters import check_choice

MODALITIES = ("image", "text")


def open_clip_encoder(
    name: str,
    weights: str | os.PathLike[str] | None,
    *,
    modality: str = "image",
    preprocessing: Preprocessing | None = None,
    **options: Any,
) -> ModuleEncoder:
    """Make an encoder of a model of open_clip.

    Parameters
    ----------
    name : str
        As `open_clip.list_models` lists it: "ViT-B-32" ...
    weights : str or path
        A local file (.safetensors, or a state dict), or the name of a pretrained set of that model
        ("laion2b_s34b_b79k"), which open_clip fetches.
    modality : {"image", "text"}, default="image"
        What is embedded. Texts are padded or cut to the model's context length.
    preprocessing : Preprocessing, optional
        Of images; by default that of the model.
    **options
        See `ModuleEncoder`.

    Returns
    -------
    ModuleEncoder

    Raises
    ------
    InvalidInput, ModelFileError, MissingDependency
        As `torchvision_encoder`.
    """
    open_clip = need("open_clip", "open_clip_encoder", "encoders")
    check_choice("modality", modality, MODALITIES)
    check_weights_argument(weights, "name a file of weights, or a pretrained set of the model")
    known = open_clip.list_models()
    if name not in known:
        close = difflib.get_close_matches(name, known) or known
        raise InvalidInput(
            f"name={name!r} is none of open_clip's {len(known)} models; close: "
            f"{', '.join(close[:4])}"
        )
    network = _network(open_clip, name, weights)
    options.setdefault("id", f"open_clip:{name} {modality}")
    if modality == "text":
        tokenizer = open_clip.get_tokenizer(name)
        length = int(getattr(tokenizer, "context_length", network.context_length))
        tokens = TextTokens(f"open_clip tokens, {length} a text", tokenizer)
        module = method_module(network, lambda model, ids: model.encode_text(ids))
        return ModuleEncoder(module, preprocessing=tokens, **options)
    described = _preprocessing(open_clip.get_model_preprocess_cfg(network))
    module = method_module(network, lambda model, pixels: model.encode_image(pixels))
    return ModuleEncoder(
        module, preprocessing=as_preprocessing(preprocessing, described), **options
    )


def _network(open_clip: Any, name: str, weights: Any) -> Any:
    if names_file(weights):
        network = open_clip.create_model(name, load_weights=False)
        load_weights(network, read_weights(weights), repr(os.fsdecode(weights)))
        return network
    tags = open_clip.list_pretrained_tags_by_model(name)
    if weights not in tags:
        raise InvalidInput(f"weights={weights!r} is neither a file nor one of {tags}; choose one")
    try:
        return open_clip.create_model(name, pretrained=weights)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelFileError(
            f"weights={weights!r} cannot be fetched: {error}; download the file elsewhere and "
            "name it"
        ) from error


def _preprocessing(config: dict[str, Any]) -> Preprocessing:
    sides = config["size"]
    height, width = (sides, sides) if isinstance(sides, int) else sides
    squash = config.get("resize_mode") == "squash"
    return Preprocessing(
        size=(height, width),
        resize=None if squash else max(height, width),
        interpolation=config.get("interpolation", "bicubic"),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
