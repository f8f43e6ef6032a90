"""Arrays in and out of the command line: files of `cloister.sources`, never pickles."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.atomic_file import check_destination, replacing
from cloister.errors import InvalidInput
from cloister.sources import Source, array_source, as_source, find_labels
from cloister.sources.file_names import file_specs, split_key
from cloister.sources.files import DEFAULT_LABELS, DEFAULT_ROWS
from cloister.sources.flat_files import DAMAGE

CHUNK_ROWS = 65_536


def check_array_file(argument: str, spec: str) -> None:
    """Check name and existence of array files, without opening one.

    Raises
    ------
    InvalidInput
        If there is none, or one is a directory or of a format that is not read.
    """
    file_specs(spec, argument)


def check_labels(argument: str, spec: str) -> None:
    """Check what names label files; what names a column is known once the rows are opened.

    Raises
    ------
    InvalidInput
        As `check_array_file`.
    """
    if os.path.splitext(split_key(spec)[0])[1]:
        check_array_file(argument, spec)


def read_array(argument: str, spec: str, default_key: str) -> NDArray[Any]:
    """Read an array: .npy as a memory map, .npz by `file.npz:key`, and what `as_source` opens.

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
    files = file_specs(spec, argument)
    if len(files) > 1 or files[0].suffix not in (".npy", ".npz"):
        if default_key == DEFAULT_LABELS:
            return np.concatenate(list(find_labels(spec, None, argument).parts()))
        return whole(as_source(spec, argument))
    path, key = files[0].path, files[0].key
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
    """Read rows of shape (n, d); of an .npy file the values are not looked at.

    Raises
    ------
    InvalidInput, InvalidType
        As `read_array`, and for what is no two-dimensional array of real numbers.
    """
    return array_source(read_array(argument, spec, DEFAULT_ROWS), argument).array


def whole(source: Source) -> NDArray[Any]:
    """Return all rows of a source as one array."""
    return np.concatenate([np.array(rows) for _, rows in source.chunks()])


class UnitRows:
    """A source's rows, each scaled to norm 1: see `unit_rows`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.n, self.d, self.rereadable = source.n, source.d, source.rereadable

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (index of first row, rows) in order: see `Source.chunks`."""
        for first, chunk in self._source.chunks(rows):
            yield first, unit_rows(np.asarray(chunk))


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
    """Read "0,1,2" as integers; as texts if one of them is none, or quoted: '"0",1,2'."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    try:
        return [int(part) for part in parts]
    except ValueError:
        return [part.strip("\"'") for part in parts]


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
