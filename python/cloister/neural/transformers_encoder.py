"""Encoders from transformers: CLIP, SigLIP, DINOv2 and others, from a local folder or a model."""

from __future__ import annotations

import os
from typing import Any

from cloister.errors import InvalidInput, ModelFileError
from cloister.neural.method_module import method_module
from cloister.neural.module_encoder import ModuleEncoder
from cloister.neural.open_clip_encoder import MODALITIES
from cloister.neural.optional_packages import need, need_torch
from cloister.neural.preprocessing import Preprocessing, as_preprocessing
from cloister.neural.text_tokens import TextTokens
from cloister.parameters import check_choice

# Pillow's numbers of interpolations.
_RESAMPLE = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
_UNTOLD = "no {what} lies beside the model {name!r} ({error}); pass {argument}"


def transformers_encoder(
    model: Any,
    *,
    modality: str = "image",
    preprocessing: Preprocessing | None = None,
    tokenizer: Any = None,
    **options: Any,
) -> ModuleEncoder:
    """Make an encoder of a model of transformers.

    The embedding is the projection into the space shared with texts where there is one (CLIP,
    SigLIP), else the pooled output (DINOv2, ViT), else the first token.

    Parameters
    ----------
    model : str, path or PreTrainedModel
        A folder that `save_pretrained` wrote, a name on the hub, or a model in memory.
    modality : {"image", "text"}, default="image"
        What is embedded. Texts are padded or cut to the model's longest input.
    preprocessing : Preprocessing, optional
        Of images; by default what the image processor beside the model says.
    tokenizer : PreTrainedTokenizer, optional
        Of texts; by default that beside the model.
    **options
        See `ModuleEncoder`.

    Returns
    -------
    ModuleEncoder

    Raises
    ------
    InvalidInput
        If there is no description of the preprocessing, or the model makes no such embedding.
    ModelFileError
        If there is no such folder or name, it is damaged, or its weights leave a layer random.
    MissingDependency
        Without transformers.
    """
    transformers = need("transformers", "transformers_encoder", "encoders")
    check_choice("modality", modality, MODALITIES)
    named = isinstance(model, str | os.PathLike)
    name = os.fsdecode(model) if named else type(model).__name__
    network = _loaded(transformers, name, modality) if named else model
    options.setdefault("id", f"transformers:{type(network).__name__} {modality}")
    if modality == "text":
        tokens = _tokens(transformers, name, network, tokenizer)
        return ModuleEncoder(method_module(network, _text), preprocessing=tokens, **options)
    described = preprocessing
    if described is None:
        described = _described(transformers, name)
    return ModuleEncoder(
        method_module(network, _image),
        preprocessing=as_preprocessing(described, described),
        **options,
    )


def _loaded(transformers: Any, name: str, modality: str) -> Any:
    try:
        network, found = transformers.AutoModel.from_pretrained(name, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ModelFileError(
            f"model: {name!r} cannot be loaded: {reason}; name a folder that save_pretrained wrote"
        ) from error
    unset = sorted(key for key in found["missing_keys"] if not _unused(key, modality))
    if unset or found.get("mismatched_keys"):
        raise ModelFileError(
            f"model: {name!r} holds weights of another architecture than {type(network).__name__}: "
            f"{len(unset)} missing ({', '.join(unset[:4])}), "
            f"{len(found.get('mismatched_keys') or ())} of another shape; mend its config.json"
        )
    return network


def _unused(key: str, modality: str) -> bool:
    """Say whether a weight has no part in the embedding: the other half of a model of both."""
    other = ("text_",) if modality == "image" else ("vision_", "visual_")
    return key.startswith((*other, "logit_")) or key.endswith("position_ids")


def _described(transformers: Any, name: str) -> Preprocessing:
    """Return what the image processor beside a model does, in our terms."""
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name).to_dict()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise InvalidInput(
            _UNTOLD.format(
                what="image processor",
                name=name,
                error=" ".join(str(error).split())[:200],
                argument="preprocessing=Preprocessing(size=..., mean=..., std=...)",
            )
        ) from error
    size, crop = processor.get("size") or {}, processor.get("crop_size") or {}
    crops = processor.get("do_center_crop") and crop
    whole = processor.get("do_normalize", True)
    shown = crop if crops else size
    height, width = (shown.get("shortest_edge") or shown.get(side) for side in ("height", "width"))
    if (
        height is None
        or width is None
        or float(processor.get("rescale_factor", 1 / 255)) != 1 / 255
    ):
        raise InvalidInput(
            f"preprocessing: the image processor of {name!r} has size {size} and rescale_factor "
            f"{processor.get('rescale_factor')}, which is not read; pass Preprocessing(size=...)"
        )
    shortest = size.get("shortest_edge")
    return Preprocessing(
        size=(int(height), int(width)),
        resize=int(shortest) if crops and shortest else None,
        interpolation=_RESAMPLE.get(int(processor.get("resample", 3)), "bicubic"),
        mean=tuple(processor["image_mean"]) if whole else 0.0,
        std=tuple(processor["image_std"]) if whole else 1.0,
    )


def _tokens(transformers: Any, name: str, network: Any, tokenizer: Any) -> TextTokens:
    if tokenizer is None:
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise InvalidInput(
                _UNTOLD.format(
                    what="tokenizer",
                    name=name,
                    error=" ".join(str(error).split())[:200],
                    argument="tokenizer=...",
                )
            ) from error
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):  # made of thin air, from config.json
        found = f"the one made up for it knows {len(tokenizer)} tokens"
        raise InvalidInput(
            _UNTOLD.format(what="tokenizer", name=name, error=found, argument="tokenizer=...")
        )
    config = getattr(network.config, "text_config", network.config)
    length = int(min(config.max_position_embeddings, tokenizer.model_max_length))

    def tokenize(texts: list[str]) -> dict[str, Any]:
        found = tokenizer(
            texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        return {key: found[key] for key in ("input_ids", "attention_mask") if key in found}

    return TextTokens(f"{type(tokenizer).__name__}, {length} a text", tokenize)


def _image(network: Any, pixels: Any) -> Any:
    if hasattr(network, "get_image_features"):
        return _vector(network.get_image_features(pixel_values=pixels))
    return _vector(network(pixel_values=pixels))


def _text(network: Any, tokens: dict[str, Any]) -> Any:
    if hasattr(network, "get_text_features"):
        return _vector(network.get_text_features(**tokens))
    return _vector(network(**tokens))


def _vector(output: Any) -> Any:
    """Return the embedding among what a model returns."""
    if isinstance(output, need_torch().Tensor):  # before version 5
        return output
    for name in ("image_embeds", "text_embeds", "pooler_output"):
        if output.get(name) is not None:
            return output[name]
    if output.get("last_hidden_state") is None:
        raise InvalidInput(
            f"model: it returns {sorted(output)}, and none of these is an embedding; wrap it in a "
            "module that returns one, and pass that to ModuleEncoder"
        )
    return output["last_hidden_state"][:, 0]
