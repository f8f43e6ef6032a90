"""Encoders from timm (PyTorch Image Models): any of its models, without its classifier."""

from __future__ import annotations

import difflib
import math
import os
from typing import Any

from cloister.errors import InvalidInput, ModelFileError
from cloister.neural.module_encoder import ModuleEncoder
from cloister.neural.optional_packages import need
from cloister.neural.preprocessing import INTERPOLATIONS, Preprocessing, as_preprocessing
from cloister.neural.weights_file import (
    check_weights_argument,
    load_weights,
    names_file,
    read_weights,
)

PRETRAINED = "pretrained"


def timm_encoder(
    name: str,
    weights: str | os.PathLike[str] | None = PRETRAINED,
    *,
    preprocessing: Preprocessing | None = None,
    model_options: dict[str, Any] | None = None,
    **options: Any,
) -> ModuleEncoder:
    """Make an encoder of a timm model: its pooled features (`num_classes=0`).

    Parameters
    ----------
    name : str
        As `timm.create_model` knows it: "vit_small_patch14_dinov2.lvd142m", "resnet50" ...
    weights : str or path, default="pretrained"
        A local file (.safetensors, or a state dict), or "pretrained", which timm fetches.
    preprocessing : Preprocessing, optional
        By default what timm says of the model.
    model_options : dict, optional
        Further arguments of `timm.create_model`, such as `img_size`.
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
    timm = need("timm", "timm_encoder", "encoders")
    check_weights_argument(weights, f"name a file of weights, or {PRETRAINED!r}")
    from_file = names_file(weights)
    if not from_file and weights != PRETRAINED:
        raise InvalidInput(f"weights={weights!r} is neither a file nor {PRETRAINED!r}")
    if not (name.startswith(("hf-hub:", "local-dir:")) or timm.is_model(name)):
        known = timm.list_models()
        close = difflib.get_close_matches(name, known) or known
        raise InvalidInput(
            f"name={name!r} is none of timm's {len(known)} models; close: {', '.join(close[:4])}"
        )
    try:
        network = timm.create_model(
            name, pretrained=not from_file, num_classes=0, **(model_options or {})
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelFileError(
            f"name={name!r}: timm cannot make it: {type(error).__name__}: {error}; where there is "
            "no network, download the weights elsewhere and name the file"
        ) from error
    if from_file:
        head = network.default_cfg.get("classifier") or ()
        heads = [head] if isinstance(head, str) else list(head)
        origin = repr(os.fsdecode(weights))  # type: ignore[arg-type]
        load_weights(network, read_weights(weights), origin, [f"{one}." for one in heads])  # type: ignore[arg-type]
    described = _preprocessing(timm.data.resolve_model_data_config(network))
    options.setdefault("id", f"timm:{name}")
    return ModuleEncoder(
        network, preprocessing=as_preprocessing(preprocessing, described), **options
    )


def _preprocessing(config: dict[str, Any]) -> Preprocessing:
    """Return what timm's own evaluation transform does."""
    channels, height, width = config["input_size"]
    known = config["interpolation"] in INTERPOLATIONS
    squash = config.get("crop_mode") == "squash"
    resize = max(math.floor(side / config["crop_pct"]) for side in (height, width))
    return Preprocessing(
        size=(int(height), int(width)),
        resize=None if squash else resize,
        interpolation=config["interpolation"] if known else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        channels=channels,
    )
