"""Weights from a local file into a module: all fit, or the error says which do not."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Mapping
from typing import Any

from safetensors import SafetensorError

from cloister.errors import InvalidInput, InvalidType, ModelFileError
from cloister.neural.optional_packages import need, need_torch

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
# Under these names training scripts put the weights beside optimisers and counters.
_NESTED = ("state_dict", "model", "model_state_dict")
_SHOWN = 4
_DAMAGE = (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError)


def names_file(weights: Any) -> bool:
    """Say whether weights are given as a file, as their name shows."""
    if isinstance(weights, os.PathLike):
        return True
    return isinstance(weights, str) and (
        weights.lower().endswith(SUFFIXES) or os.sep in weights or os.path.exists(weights)
    )


def read_weights(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state dict: .safetensors, or what `torch.save` wrote; executes nothing.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, or holds no weights.
    """
    torch = need_torch()
    file = os.fsdecode(path)
    if not os.path.isfile(file):
        raise ModelFileError(
            f"weights: there is no file {file!r}; check its spelling, or download it first"
        )
    try:
        if file.lower().endswith(".safetensors"):
            found = need("safetensors.torch", "weights", "torch").load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (*_DAMAGE, SafetensorError) as error:
        reason = str(error).split("\n")[0]
        raise ModelFileError(
            f"weights: {file!r} ({os.path.getsize(file)} bytes) cannot be read as a state dict: "
            f"{reason}; it must be .safetensors, or torch.save(module.state_dict(), ...)"
        ) from error
    for name in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not _are_tensors(torch, found):
        raise ModelFileError(
            f"weights: {file!r} holds a {type(found).__name__} and not named tensors; save "
            "module.state_dict()"
        )
    # DataParallel writes each name behind "module.".
    wrapped = all(name.startswith("module.") for name in found)
    return {name.removeprefix("module.") if wrapped else name: t for name, t in found.items()}


def _are_tensors(torch: Any, found: Mapping[Any, Any]) -> bool:
    return bool(found) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    )


def load_weights(
    module: Any, weights: Mapping[str, Any], origin: str, unused: Iterable[str] = ()
) -> None:
    """Put weights into a module; each one must have its place, and its shape.

    Parameters
    ----------
    module : torch.nn.Module
    weights : mapping of str to tensor
        Other dtypes are converted.
    origin : str
        Where they came from, for messages.
    unused : iterable of str
        Beginnings of names that the module has no use for: its former head.

    Raises
    ------
    ModelFileError
        Naming what is missing, what has no place and what has another shape.
    """
    needed = module.state_dict()
    ignored = tuple(unused)
    given = {n: t for n, t in weights.items() if n in needed or not n.startswith(ignored or "\0")}
    missing = [n for n in needed if n not in given and not n.endswith("num_batches_tracked")]
    alien = [name for name in given if name not in needed]
    reshaped = [
        f"{name} {tuple(given[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in needed.items()
        if name in given and given[name].shape != tensor.shape
    ]
    faults = (("missing", missing), ("without a place", alien), ("of another shape", reshaped))
    found = [f"{len(names)} {what} ({_some(names)})" for what, names in faults if names]
    if found:
        raise ModelFileError(
            f"weights: {origin} is of another architecture than {type(module).__name__}, which has "
            f"{len(needed)} tensors: {'; '.join(found)}; name the model that they were trained for"
        )
    try:
        module.load_state_dict(given, strict=False)
    except (RuntimeError, ValueError) as error:  # a module's own idea of old weights
        raise ModelFileError(f"weights: {origin} cannot be loaded: {error}") from error


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def check_weights_argument(weights: Any, way_out: str) -> None:
    """Refuse an encoder without weights: random ones would embed to noise.

    Raises
    ------
    InvalidInput, InvalidType
    """
    if weights is None:
        raise InvalidInput(f"weights=None would leave the network random; {way_out}")
    if not isinstance(weights, str | os.PathLike):
        raise InvalidType(f"weights must be a name or a path, got {type(weights).__name__}")
