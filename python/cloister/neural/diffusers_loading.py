"""Models of the diffusers library from a folder or a hub name: all of their weights, or an error.

The library starts what a file lacks at random and goes on with a line in a log; a decoder of random
weights would make noise that nobody could tell from privacy's.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from safetensors import SafetensorError

from cloister.errors import InvalidInput, InvalidType, ModelFileError

EXTRA = "diffusers"
DTYPES = ("float32", "float16", "bfloat16")
FAULTS = (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError)
LONGEST_REASON = 300


def check_source(name: Any) -> str:
    """Return a folder that exists, or what may be a name on the hub.

    Raises
    ------
    InvalidType
        If `name` is no text and no path.
    ModelFileError
        If it is the path of a file, or of a folder that does not exist.
    """
    if not isinstance(name, str | os.PathLike) or not isinstance(os.fspath(name), str):
        raise InvalidType(
            f"name_or_folder must be a folder or a name such as 'owner/model', got "
            f"{type(name).__name__}"
        )
    text = os.fspath(name)
    if os.path.isdir(text):  # a Path would take the empty text for the current folder
        return text
    if os.path.isfile(text):
        raise ModelFileError(
            f"name_or_folder: {text!r} is a file; name the folder that save_pretrained wrote"
        )
    looks_local = isinstance(name, os.PathLike) or text.startswith(("/", ".", "~"))
    if looks_local or text.count("/") > 1 or not text:
        raise ModelFileError(
            f"name_or_folder: there is no folder {text!r}; give one that save_pretrained wrote, or "
            "a name on the hub such as 'owner/model'"
        )
    return text


def public_name(source: str) -> str:
    """Return how a statement calls a source: of a folder its name alone, not where it lies."""
    return os.path.basename(os.path.abspath(source)) if os.path.isdir(source) else source


def check_class(kind: Any, source: str, options: Mapping[str, Any]) -> None:
    """Require that what is stored was written by the class `kind`, before anything is loaded."""
    with faults(source, kind.__name__, options):
        stored = kind.load_config(source, **options)
    found = stored.get("_class_name")
    if found != kind.__name__:
        raise ModelFileError(
            f"name_or_folder: {source!r} holds the class {found}, but {kind.__name__} is needed; "
            "name one of that class"
        )


def load_whole(kind: Any, source: str, options: Mapping[str, Any]) -> Any:
    """Return a model in evaluation mode, all of whose weights come from its files.

    Parameters
    ----------
    kind : class
        A model of diffusers or transformers.
    source : str
        As `check_source` returned it.
    options : mapping
        Of `from_pretrained`.

    Raises
    ------
    ModelFileError
        If files are missing, damaged, of another architecture, or lack weights.
    """
    with faults(source, kind.__name__, options):
        model, report = kind.from_pretrained(
            source, use_safetensors=True, output_loading_info=True, **options
        )
    missing = sorted(map(str, report.get("missing_keys", ())))
    mismatched = sorted(map(str, report.get("mismatched_keys", ())))
    if missing or mismatched:
        wrong = [*missing, *mismatched]
        raise ModelFileError(
            f"name_or_folder: {source!r} lacks {len(missing)} weights of its {kind.__name__} and "
            f"has {len(mismatched)} of another shape (the first is {wrong[0]!r}); its files are "
            "of another architecture, or incomplete: get them again"
        )
    return model.eval()


def low_memory() -> dict[str, bool]:
    """Return the option that keeps diffusers from advertising a package that is not needed."""
    return {"low_cpu_mem_usage": find_spec("accelerate") is not None}


def moved(model: Any, torch: Any, device: Any, dtype: Any) -> Any:
    """Return a model or pipeline on a device, in a dtype.

    It is loaded in float32 first: the option of `from_pretrained` for another dtype has different
    names in the versions of the library.
    """
    return model.to(device) if dtype == torch.float32 else model.to(device, dtype)


@contextmanager
def faults(source: str, what: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Turn whatever the library raises while it loads into a ModelFileError."""
    try:
        with warnings.catch_warnings():
            # What it deprecates inside itself is nothing that our caller could change.
            for category in (DeprecationWarning, FutureWarning, UserWarning):
                warnings.simplefilter("ignore", category)
            yield
    except FAULTS as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON].rstrip(".") or type(error).__name__
        part = options.get("subfolder")
        place = f"{source!r}" + (f", subfolder {part!r}" if part else "")
        raise ModelFileError(
            f"name_or_folder: no {what} can be loaded from {place}: {reason}. Give a folder that "
            "save_pretrained wrote with safetensors, or download one first where there is a "
            "network (a part of a pipeline has its own subfolder, such as subfolder='vae')"
        ) from error


def as_dtype(torch: Any, dtype: Any) -> Any:
    """Return the torch dtype of that name."""
    if dtype not in DTYPES:
        raise InvalidInput(f"dtype={dtype!r} is not one of {list(DTYPES)}; choose one of these")
    return getattr(torch, dtype)
