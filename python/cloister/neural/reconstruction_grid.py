"""Pictures of a codec as it learns: public images above what it makes of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloister.atomic_file import check_destination, replacing
from cloister.errors import InvalidInput
from cloister.neural.optional_packages import need_pillow

SMALLEST_SHOWN = 64  # pixels: smaller images are enlarged by a whole factor
GAP = 2
BACKGROUND = 255


class SampleGrids:
    """Writes `epoch-0005.png` and so on into a folder.

    Raises
    ------
    InvalidInput
        If the folder cannot be made or written to.
    MissingDependency
        If Pillow is not installed.
    """

    def __init__(self, folder: Path, every: int, epochs: int) -> None:
        need_pillow()
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InvalidInput(
                f"samples_dir: {os.fspath(folder)!r} cannot be made: {error.strerror}; name a "
                "folder inside one that exists"
            ) from error
        check_destination(folder / "epoch.png", "samples_dir")
        self._folder, self._every, self._epochs = folder, every, epochs

    def write(
        self, epoch: int, images: NDArray[np.uint8], reconstructions: NDArray[np.uint8]
    ) -> None:
        """Write the picture of an epoch, if it has one."""
        if epoch % self._every == 0 or epoch == self._epochs:
            write_png(self._folder / f"epoch-{epoch:04d}.png", grid(images, reconstructions))


def grid(images: NDArray[np.uint8], reconstructions: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return one picture: a row of images and, below each, its reconstruction.

    Parameters
    ----------
    images, reconstructions : array of shape (n, height, width) or (n, height, width, 3), uint8

    Returns
    -------
    array of shape (rows, columns) or (rows, columns, 3), uint8
    """
    factor = max(1, -(-SMALLEST_SHOWN // max(images.shape[1:3])))
    lines = []
    for line in (images, reconstructions):
        large = line.repeat(factor, axis=1).repeat(factor, axis=2)
        margins = [(0, 0), (GAP, 0), (GAP, 0)] + [(0, 0)] * (line.ndim - 3)
        framed = np.pad(large, margins, constant_values=BACKGROUND)
        lines.append(np.concatenate(list(framed), axis=1))
    return np.concatenate(lines)


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture as PNG; the file appears whole or not at all."""
    pillow = need_pillow()
    with replacing(check_destination(path)) as file:
        pillow.fromarray(picture).save(file, format="PNG")
