"""Encoders from torchvision: any of its classifiers, without its last layer."""

from __future__ import annotations

import difflib
import os
from typing import Any

from cloister.errors import InvalidInput, InvalidType, ModelFileError
from cloister.neural.module_encoder import ModuleEncoder
from cloister.neural.optional_packages import need
from cloister.neural.preprocessing import Preprocessing, as_preprocessing
from cloister.neural.weights_file import (
    check_weights_argument,
    load_weights,
    names_file,
    read_weights,
)

WAY_OUT = "name a file of weights, or those of torchvision such as 'IMAGENET1K_V1'"


def torchvision_encoder(
    name: str,
    weights: str | os.PathLike[str] | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    **options: Any,
) -> ModuleEncoder:
    """Make an encoder of a torchvision classifier: the features that its last layer reads.

    Parameters
    ----------
    name : str
        As `torchvision.models.get_model` knows it: "mobilenet_v2", "resnet50", "vit_b_16" ...
    weights : str or path
        A local file (.safetensors, or a state dict of `torch.save`), with or without the last
        layer; or the name of torchvision's own, "IMAGENET1K_V1" or "DEFAULT", which are fetched.
    preprocessing : Preprocessing, optional
        By default that of torchvision's own weights of that model: give the right one for others.
    **options
        `norm`, `batch_size`, `device`, `precision`, `strict`, `id`: see `ModuleEncoder`.

    Returns
    -------
    ModuleEncoder

    Raises
    ------
    InvalidInput
        For a name that is no classifier of torchvision, or no weights.
    ModelFileError
        If weights are missing, cannot be fetched, or are of another architecture.
    MissingDependency
        Without torchvision.

    Examples
    --------
    >>> from cloister.neural.encoders import torchvision_encoder
    >>> torchvision_encoder("no_such_model", "weights.pth")
    Traceback (most recent call last):
        ...
    cloister.errors.InvalidInput: name='no_such_model' is none of torchvision's ...
    """
    models = need("torchvision.models", "torchvision_encoder", "torch")
    _check_name(models, name)
    check_weights_argument(weights, WAY_OUT)
    own = models.get_model_weights(name)
    described = preprocessing or _preprocessing(own.DEFAULT.transforms())
    if names_file(weights):
        state, origin = read_weights(weights), repr(os.fsdecode(weights))  # type: ignore[arg-type]
    else:
        state, described, origin = _fetched(own, str(weights), preprocessing)
    network = models.get_model(name, weights=None)
    head = remove_head(network)
    load_weights(network, state, origin, [head + "."])
    if hasattr(network, "transform_input"):
        # Inception and GoogLeNet standardise anew by themselves, as torchvision tells them with its
        # own weights: a file with its own preprocessing comes from elsewhere.
        network.transform_input = preprocessing is None or not names_file(weights)
    options.setdefault("id", f"torchvision:{name}")
    return ModuleEncoder(network, preprocessing=as_preprocessing(described, described), **options)


def remove_head(network: Any) -> str:
    """Put an identity in the place of a classifier's last layer; return that layer's name.

    Raises
    ------
    InvalidInput
        If there is no such layer.
    """
    nn = need("torch.nn", "an encoder", "torch")
    layers = [n for n, part in network.named_modules() if isinstance(part, nn.Linear)]
    if not layers:  # SqueezeNet classifies by a convolution, and pools behind it
        layers = [n for n, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    if not layers:
        raise InvalidInput(
            f"name: {type(network).__name__} has no last linear layer to leave out; pass the "
            "module that makes features to ModuleEncoder"
        )
    head = str(layers[-1])
    parent, _, leaf = head.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())
    return head


def _check_name(models: Any, name: str) -> None:
    if not isinstance(name, str):
        raise InvalidType(f"name must be a str such as 'mobilenet_v2', got {type(name).__name__}")
    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, known) or known
        raise InvalidInput(
            f"name={name!r} is none of torchvision's {len(known)} classifiers; close to it: "
            f"{', '.join(close[:4])}"
        )


def _fetched(own: Any, weights: str, given: Any) -> tuple[dict[str, Any], Preprocessing, str]:
    """Return a state dict of torchvision's own, from its cache or the network."""
    named = {member.name: member for member in own} | {"DEFAULT": own.DEFAULT}
    if weights not in named:
        raise InvalidInput(
            f"weights={weights!r} is neither a file nor one of {sorted(named)}; choose one"
        )
    chosen = named[weights]
    try:
        state = dict(chosen.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:  # no network; a wrong hash
        raise ModelFileError(
            f"weights={weights!r} cannot be fetched from {chosen.url}: {error}; download the file "
            "elsewhere and name it"
        ) from error
    return state, given or _preprocessing(chosen.transforms()), f"{weights!r}"


def _preprocessing(preset: Any) -> Preprocessing:
    """Return what torchvision's own preset of a classifier says."""
    size, resize = preset.crop_size[0], preset.resize_size[0]
    return Preprocessing(
        size=int(size),
        resize=int(resize),
        interpolation=preset.interpolation.value,
        antialias=bool(preset.antialias),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
