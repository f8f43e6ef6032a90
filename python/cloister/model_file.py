"""One file format for every model: named arrays and a JSON header in a safetensors file.

The file holds what the caller passes and nothing else: no time, path, user or exact count, so
equal content is equal bytes. Reading executes nothing and trusts nothing: every defect of a file
is a `ModelFileError`.

All metadata is one JSON text under one key, because safetensors writes several keys in an order
that differs from run to run.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from cloister.atomic_file import check_destination, replacing
from cloister.errors import InvalidInput, InvalidType, ModelFileError
from cloister.version import __version__

FORMAT = "cloister"
FORMAT_VERSION = 1
DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)


def write_model(
    path: str | os.PathLike[str],
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    header: Mapping[str, Any],
) -> None:
    """Write a model; the file appears whole, or what was there stays.

    Parameters
    ----------
    path : str or path
        The file to create or replace, in a folder that exists.
    kind : str
        What the model is, such as "mixture"; `read_model` checks it.
    arrays : mapping of str to array
        Of the dtypes in `DTYPES`, of any shape and memory layout.
    header : mapping of str to JSON values
        Finite numbers, texts, booleans, None, lists and mappings with text keys. Tuples come
        back as lists.

    Raises
    ------
    ModelFileError
        If `path` cannot be written.
    InvalidType, InvalidInput
        If `kind`, `arrays` or `header` cannot be stored.
    """
    if not isinstance(kind, str) or not kind:
        raise InvalidType(f"kind must be a text such as 'mixture', got {kind!r}")
    target = check_destination(path, error=ModelFileError)
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "cloister_version": __version__,
        "header": header,
    }
    stored = {name: _storable(name, array) for name, array in arrays.items()}
    content = to_bytes(stored, metadata={FORMAT: _canonical(description)})
    try:
        with replacing(target) as file:
            file.write(content)
    except OSError as error:
        raise ModelFileError(
            f"path: {os.fspath(path)!r} cannot be written: {error.strerror}"
        ) from error


def read_model(
    path: str | os.PathLike[str], kind: str | None = None
) -> tuple[str, dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `write_model` wrote.

    Parameters
    ----------
    path : str or path
        The file.
    kind : str, optional
        The kind that the file must have; None takes any.

    Returns
    -------
    kind : str
    arrays : dict of str to array
        Their names, dtypes, shapes and values are the file's: check each with `model_array`.
    header : dict
        Likewise; see `model_value`.

    Raises
    ------
    ModelFileError
        If the file is missing, unreadable, damaged, not written by cloister, written by a newer
        one, or of another kind.
    InvalidType
        If `path` is no path.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise InvalidType(f"path must be a str or a path, got {type(path).__name__}")
    file = Path(path)
    if not file.exists():
        raise ModelFileError(f"path: there is no file {str(file)!r}; check its spelling")
    if not file.is_file():
        raise ModelFileError(f"path: {str(file)!r} is no regular file; name a model file")
    try:
        with safe_open(file, framework="numpy") as opened:
            description = _description(file, opened.metadata() or {})
            _check_kind(file, description["kind"], kind)
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"path: {str(file)!r} ({file.stat().st_size} bytes) is no safetensors file, or is "
            f"damaged: {error}; write the model again"
        ) from error
    except (TypeError, AttributeError) as error:  # safetensors' way to meet an alien dtype
        raise ModelFileError(
            f"path: {str(file)!r} holds an array of a dtype that numpy lacks: {error}"
        ) from error
    return description["kind"], arrays, description["header"]


def model_array(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    name: str,
    dtype: DTypeLike,
    shape: tuple[int | None, ...],
) -> NDArray[Any]:
    """Return `arrays[name]` if it is what its reader needs.

    Parameters
    ----------
    path : str or path
        The file, for messages.
    arrays : mapping
        As `read_model` returned them.
    name : str
        The array's name.
    dtype : dtype
        Exactly this one.
    shape : tuple
        None stands for any length.

    Raises
    ------
    ModelFileError
        If the array is missing, has another dtype or shape, or holds NaN or infinity.
    """
    if name not in arrays:
        raise ModelFileError(
            f"path: {os.fspath(path)!r} lacks the array {name!r}; it has {sorted(arrays)}; write "
            "the model again"
        )
    array = arrays[name]
    fits = len(shape) == array.ndim and all(
        want in (None, length) for want, length in zip(shape, array.shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        raise ModelFileError(
            f"path: {os.fspath(path)!r} has array {name!r} of dtype {array.dtype} and shape "
            f"{array.shape}, but {np.dtype(dtype)} and {shape} are needed; write the model again"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ModelFileError(
            f"path: {os.fspath(path)!r} has NaN or infinity in array {name!r}, where only finite "
            "numbers are allowed; write the model again"
        )
    return array


def model_value(
    path: str | os.PathLike[str], header: Mapping[str, Any], name: str, of_type: type
) -> Any:
    """Return `header[name]` if it has the type that its reader needs.

    Raises
    ------
    ModelFileError
        If it is missing or of another type (a bool is no int, an int is a float).
    """
    value = header.get(name)
    if of_type is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, of_type) or (isinstance(value, bool) and of_type is not bool):
        raise ModelFileError(
            f"path: {os.fspath(path)!r} has {name}={value!r} in its header, but a "
            f"{of_type.__name__} is needed; write the model again"
        )
    return value


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(name, str) or name == "__metadata__":
        raise InvalidInput(f"arrays: the name {name!r} cannot be stored; use another text")
    if not isinstance(array, np.ndarray) or array.dtype.name not in DTYPES:
        found = getattr(array, "dtype", type(array).__name__)
        raise InvalidType(f"arrays[{name!r}] has dtype {found}, but must be of {sorted(DTYPES)}")
    # safetensors stores the memory as it lies: other layouts would come back scrambled.
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _canonical(description: Mapping[str, Any]) -> str:
    """Return the one JSON text of equal content."""
    _check_keys(description["header"])
    try:
        return json.dumps(
            description, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"header must hold finite JSON values only: {error}; convert arrays with tolist()"
        ) from error


def _check_keys(value: Any) -> None:
    """Refuse keys that JSON would silently turn into texts."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InvalidInput(f"header must have text keys, got {key!r}; use str({key!r})")
            _check_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)


def _description(file: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if FORMAT not in metadata:
        raise ModelFileError(
            f"path: {str(file)!r} is a safetensors file, but no {FORMAT} model (metadata keys "
            f"{sorted(metadata)}); name one that cloister saved"
        )
    try:
        description = json.loads(metadata[FORMAT], parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"path: {str(file)!r} has a damaged header: {error}") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelFileError(
            f"path: {str(file)!r} has format version {version}, and this cloister {__version__} "
            f"reads up to {FORMAT_VERSION}; install a newer cloister"
        )
    if (
        version != FORMAT_VERSION
        or isinstance(version, bool)
        or not isinstance(description.get("kind"), str)
        or not isinstance(description.get("header"), dict)
    ):
        raise ModelFileError(
            f"path: {str(file)!r} has a damaged header (format version {version!r}, "
            f"{FORMAT_VERSION} is read); write the model again"
        )
    return dict(description)


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no finite number")


def _check_kind(file: Path, found: str, wanted: str | None) -> None:
    if wanted is not None and found != wanted:
        raise ModelFileError(
            f"path: {str(file)!r} holds a model of kind {found!r}, but {wanted!r} is needed; load "
            f"it with the class that saved it, or name a {wanted} file"
        )
