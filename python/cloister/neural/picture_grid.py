"""A picture of samples: one row of images for each class."""

from collections.abc import Iterable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cloister.atomic_file import check_destination, replacing
from cloister.errors import InvalidInput
from cloister.neural.codec_input import check_image_batch
from cloister.neural.png import png_bytes
from cloister.parameters import check_integer

MOST_PIXELS = 2**28
BLOCKS_LOOKED_AT = 64


def picture_grid(
    images: Any,
    labels: ArrayLike,
    classes: ArrayLike | None = None,
    per_class: int = 10,
    *,
    gap: int = 2,
    background: int = 255,
    path: str | PathLike[str] | None = None,
) -> NDArray[np.uint8]:
    """Lay images out, one row a class, from left to right in the order given.

    Parameters
    ----------
    images : array of shape (n, height, width) or (n, height, width, 3), uint8
    labels : array-like of shape (n,)
    classes : array-like of shape (classes,), optional
        One row each, from the top; by default the labels present, sorted.
    per_class : int
        Images of a row; where a class has fewer, cells stay blank.
    gap : int
        Pixels between images.
    background : int
        Brightness of gaps and blank cells, 0 to 255.
    path : path, optional
        PNG file to write, in one step; needs Pillow.

    Returns
    -------
    array of shape (rows of pixels, columns of pixels) or with a last axis of 3, uint8

    Raises
    ------
    InvalidInput, InvalidType
        Naming the argument.
    MissingDependency
        Without Pillow, if there is a `path`.
    """
    images, found = check_image_batch("images", images), np.asarray(labels)
    if found.shape != (len(images),):
        raise InvalidInput(
            f"labels has shape {found.shape}, but there are {len(images)} images; give one each"
        )
    rows = np.unique(found) if classes is None else np.asarray(classes)
    n = check_integer("per_class", per_class, 1, 10_000, way_out="10 images a row are usual")
    space = check_integer("gap", gap, 0, 1000, way_out="2 pixels are usual")
    blank = check_integer("background", background, 0, 255, way_out="255 is white")
    target = None if path is None else check_destination(path)
    height, width = images.shape[1:3]
    size = len(rows) * (height + space) - space, n * (width + space) - space
    if size[0] * size[1] > MOST_PIXELS:
        raise InvalidInput(
            f"per_class={n} of {len(rows)} classes makes a picture of {size} pixels, beyond "
            f"{MOST_PIXELS} in all; show fewer"
        )
    picture = np.full((*size, *images.shape[3:]), blank, dtype=np.uint8)
    for row, name in enumerate(rows):
        top = row * (height + space)
        for column, image in enumerate(images[np.flatnonzero(found == name)[:n]]):
            left = column * (width + space)
            picture[top : top + height, left : left + width] = image
    if target is not None:
        content = png_bytes(picture)
        with replacing(target) as file:
            file.write(content)
    return picture


def class_rows(
    blocks: Iterable[tuple[NDArray[Any], ...]], classes: NDArray[Any], per_class: int
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Take from a stream of (images, labels, ...) the first so many images of each class.

    After `BLOCKS_LOOKED_AT` blocks it makes do with what there is.
    """
    n = check_integer("per_class", per_class, 1, 10_000, way_out="10 images a row are usual")
    kept: list[tuple[NDArray[Any], NDArray[Any]]] = []
    missing = dict.fromkeys(classes.tolist(), n)
    for number, (images, labels, *_) in enumerate(blocks, start=1):
        for name, wanted in missing.items():
            mine = np.flatnonzero(labels == name)[:wanted]
            kept.append((images[mine], labels[mine]))
            missing[name] -= len(mine)
        if number == BLOCKS_LOOKED_AT or not any(missing.values()):
            break
    chosen, found = zip(*kept, strict=True)
    return np.concatenate(chosen), np.concatenate(found)
