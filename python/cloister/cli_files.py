"""Arrays in and out of the command line: .npy and .npz, never pickles."""

import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.atomic_file import check_destination, replacing
from cloister.errors import InvalidInput
from cloister.sources import as_source

DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
CHUNK_ROWS = 65_536


def split_key(spec: str) -> tuple[str, str | None]:
    """Split `file.npz:key` into file and key; the key is None if there is none."""
    path, colon, key = spec.rpartition(":")
    if colon and path.lower().endswith((".npz", ".npy")) and not os.path.exists(spec):
        return path, key
    return spec, None


def check_array_file(argument: str, spec: str) -> None:
    """Check name and existence of an array file, without opening it.

    Raises
    ------
    InvalidInput
        If it is missing, a directory, or neither .npy nor .npz.
    """
    path, key = split_key(spec)
    if not os.path.exists(path):
        raise InvalidInput(f"{argument}: there is no file {path!r}; check its spelling")
    if not os.path.isfile(path):
        raise InvalidInput(f"{argument}: {path!r} is no regular file; name a .npy or .npz file")
    suffix = Path(path).suffix.lower()
    if suffix not in (".npy", ".npz"):
        raise InvalidInput(
            f"{argument}: {path!r} ends in {suffix!r}, but .npy or .npz is needed; convert it with "
            "numpy.save"
        )
    if key is not None and suffix == ".npy":
        raise InvalidInput(f"{argument}: {path!r} holds one array; leave out ':{key}'")


def read_array(argument: str, spec: str, default_key: str) -> NDArray[Any]:
    """Open an array: .npy as a memory map, .npz by `file.npz:key`.

    Parameters
    ----------
    argument : str
        The argument's name in messages.
    spec : str
        `file.npy`, `file.npz:key`, or `file.npz` if it holds one array or one of that name:
    default_key : str

    Raises
    ------
    InvalidInput
        If the file is missing or damaged, holds Python objects, or lacks the key.
    """
    check_array_file(argument, spec)
    path, key = split_key(spec)
    try:
        if Path(path).suffix.lower() == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it is an .npy file; rename it")
            with archive:
                chosen = _chosen_key(argument, path, archive.files, key, default_key)
                return np.asarray(archive[chosen])
    except InvalidInput:
        raise
    except DAMAGE as error:
        raise InvalidInput(
            f"{argument}: {path!r} ({os.path.getsize(path)} bytes) cannot be read as numbers of a "
            f".npy or .npz file: {error}; save it again with numpy.save or numpy.savez"
        ) from error


def _chosen_key(
    argument: str, path: str, keys: list[str], key: str | None, default_key: str
) -> str:
    if key is None:
        key = keys[0] if len(keys) == 1 else default_key
    if key not in keys:
        raise InvalidInput(
            f"{argument}: {path!r} has no array {key!r}; it has {keys}: choose one as {path}:KEY"
        )
    return key


def read_rows(argument: str, spec: str) -> NDArray[Any]:
    """Open rows of shape (n, d); their values are not looked at.

    Raises
    ------
    InvalidInput, InvalidType
        As `read_array`, and for what is no two-dimensional array of real numbers.
    """
    return as_source(read_array(argument, spec, "x"), argument).array


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Scale each row to norm 1, from that row alone; rows of zeros stay, invalid ones go NaN.

    Parameters
    ----------
    rows : array of shape (n, d)

    Returns
    -------
    array of shape (n, d), float32
        In memory, also if `rows` is a memory map.
    """
    scaled = np.empty(rows.shape, dtype=np.float32)
    for first in range(0, len(rows), CHUNK_ROWS):
        part = np.asarray(rows[first : first + CHUNK_ROWS], dtype=np.float64)
        largest = np.abs(part).max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):  # inf / inf: the NaN is met by on_invalid
            part = part / np.where(largest == 0, 1.0, largest)
        norms = np.sqrt(np.square(part).sum(axis=1, keepdims=True))
        scaled[first : first + CHUNK_ROWS] = part / np.where(norms == 0, 1.0, norms)
    return scaled


def parse_classes(text: str | None) -> list[int] | list[str] | None:
    """Read "0,1,2" as integers, or as texts if one of them is none."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    try:
        return [int(part) for part in parts]
    except ValueError:
        return parts


def array_destination(argument: str, path: str, suffixes: tuple[str, ...]) -> Path:
    """Check where an array is to be written, before it is computed.

    Raises
    ------
    InvalidInput
        If the name ends otherwise than in `suffixes`, or the place cannot be written to.
    """
    if Path(path).suffix.lower() not in suffixes:
        raise InvalidInput(f"{argument}: {path!r} must end in {' or '.join(suffixes)}")
    return check_destination(path, argument)


def write_npz(target: Path, x: NDArray[Any], y: NDArray[Any]) -> None:
    """Write rows and labels; the file appears whole or not at all."""
    with replacing(target) as file:
        np.savez(file, x=x, y=y)


def write_npy(target: Path, array: NDArray[Any]) -> None:
    """Write one array; the file appears whole or not at all."""
    with replacing(target) as file:
        np.save(file, array, allow_pickle=False)
