"""A folder of PNGs, one inner folder a label, with a list of them that is written last."""

import csv
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.atomic_file import replacing
from cloister.errors import InvalidInput, InvalidType
from cloister.neural.png import pixels, png_bytes

LIST = "labels.csv"
_NO_NAMES = ("", ".", "..")


def check_folder(path: str | os.PathLike[str], argument: str = "path", *, resume: bool) -> Path:
    """Return a folder to write into, made if it is not there.

    Raises
    ------
    InvalidInput, InvalidType
        If it is a file, its own folder is missing or read-only, or it holds something (with
        `resume`: something complete).
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise InvalidType(f"{argument} must be a str or a path, got {type(path).__name__}")
    folder = Path(os.path.realpath(path))
    if not os.fspath(path):
        raise InvalidInput(f"{argument} must name a folder, got ''; give one such as 'samples'")
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(
            f"{argument}: {os.fspath(path)!r} is a file; name a folder, or a file that ends in "
            ".parquet or .npz"
        )
    if not folder.parent.is_dir():
        raise InvalidInput(f"{argument}: the folder of {os.fspath(path)!r} does not exist")
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK | os.X_OK):
        raise InvalidInput(f"{argument}: {os.fspath(path)!r} is read-only; choose another place")
    held = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
    if held and not resume:
        raise InvalidInput(
            f"{argument}: {os.fspath(path)!r} holds {len(held)} entries already, {held[0]!r} for "
            "one; name an empty folder, or resume what was interrupted"
        )
    if LIST in held:
        raise InvalidInput(
            f"{argument}: {os.fspath(path)!r} holds {LIST}, and so is complete; name another"
        )
    return folder


def write_folder(
    folder: Path, batches: Iterator[tuple[NDArray[Any], NDArray[Any]]], n: int
) -> None:
    """Write images as `LABEL/INDEX.png`, then the list; PNGs that are there already are kept.

    Raises
    ------
    InvalidInput
        If a label cannot name a folder, or another image is there in place of one of these.
    """
    folder.mkdir(exist_ok=True)
    there = {path.name: path for path in folder.glob("*/*.png")}
    digits, listed = len(str(n - 1)), StringIO(newline="")
    table = csv.writer(listed, lineterminator="\n")
    table.writerow(["file", "label"])
    index = 0
    for images, labels in batches:
        for image, label in zip(images, labels.tolist(), strict=True):
            name = f"{index:0{digits}}.png"
            target = folder / _folder_name(label) / name
            _put(target, image, there.get(name))
            table.writerow([f"{target.parent.name}/{name}", label])
            index += 1
    with replacing(folder / LIST) as file:
        file.write(listed.getvalue().encode())


def _folder_name(label: Any) -> str:
    name = str(label)
    if name in _NO_NAMES or name == LIST or any(sign in name for sign in "/\\\0\n\r:"):
        raise InvalidInput(
            f"labels: {label!r} cannot name a folder; write a .parquet or .npz file instead"
        )
    return name


def _put(target: Path, image: NDArray[np.uint8], there: Path | None) -> None:
    if there is not None:
        if there != target or not np.array_equal(pixels(there), image):
            raise InvalidInput(
                f"path: {str(there)!r} is another image than the one to write there; resume with "
                "the random_state of the draw that was interrupted, or name an empty folder"
            )
        return
    target.parent.mkdir(exist_ok=True)
    with replacing(target, durable=False) as file:
        file.write(png_bytes(image))
