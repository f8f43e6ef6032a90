"""`as_images`: from whatever a caller gave to images in batches."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.image_arrays import ArrayImages, array_file_images
from cloister.neural.image_files import SUFFIXES, Pictures, folder_images
from cloister.neural.image_source import ImageSource
from cloister.neural.image_streams import StreamedImages, dataset_images
from cloister.neural.pixels import is_picture, is_tensor
from cloister.sources.file_names import split_key

_READ = 256  # images at a time


def as_images(images: Any, name: str = "images") -> ImageSource:
    """Take images from what a caller gave; pixels of files are not read yet.

    Parameters
    ----------
    images : images
        - An array of shape (n, height, width) or (n, height, width, 1 or 3), uint8 or floats in
          [0, 1]; a memory map stays on disk. A tensor may have its channels first.
        - "file.npy", "file.npz" or "file.npz:key".
        - A folder. Its subfolders, if it has any, are classes, in the order of their names; so
          are images within. Or a pattern such as "folder/*.png".
        - A list of image files, or of Pillow images.
        - A torch `Dataset` or `DataLoader`, or an iterable of batches: of images or of
          (images, labels).

        Files are read by Pillow: turned upright as EXIF says, palettes and CMYK as RGB, without
        transparency, 16 bits cut to 8. They are all grey or all RGB.
    name : str
        The argument's name in messages.

    Returns
    -------
    ImageSource

    Raises
    ------
    InvalidInput, InvalidType
        For a missing or empty folder, a file that is no image (all headers are read), 2 or 4
        channels, floats outside [0, 1], other dtypes. A file whose pixels are damaged is named
        when its batch is read.
    MissingDependency
        For image files without Pillow.
    """
    if isinstance(images, str | os.PathLike):
        return _named(os.fsdecode(images), name)
    if isinstance(images, ImageSource):
        return images
    if is_tensor(images):
        first = images.ndim == 4 and images.shape[1] in (1, 3)
        array = images.detach().cpu()
        array = (array.float() if array.dtype.is_floating_point else array).numpy()
        return ArrayImages(array, name, channels_first=first)
    if isinstance(images, list | tuple):
        return _listed(images, name)
    if isinstance(images, np.ndarray) or hasattr(images, "__array_interface__"):
        array = images if isinstance(images, np.ndarray) else np.asarray(images)
        return ArrayImages(array, name)
    return _iterated(images, name)


def as_image_array(images: Any, name: str = "images") -> NDArray[np.uint8]:
    """Take images of one size as one array: see `as_images`.

    Returns
    -------
    array of shape (n, height, width) or (n, height, width, 3), uint8
        A memory map, where that was given or named; else in memory.

    Raises
    ------
    InvalidInput, InvalidType
        As `as_images`, and where sizes differ or there are 0 images.
    """
    source = as_images(images, name)
    if isinstance(source, ArrayImages):
        return source.whole()
    parts = [batch for batch, _ in source.batches(_READ)]
    shapes = sorted({image.shape for batch in parts for image in batch})
    if len(shapes) != 1:
        raise InvalidInput(
            f"{name}: there are images of {len(shapes)} shapes"
            + (f", such as {shapes[0]} and {shapes[-1]}" if shapes else "")
            + "; give at least 1 image, and resize them to one shape"
        )
    return np.concatenate(parts)


def _named(path: str, name: str) -> ImageSource:
    if split_key(path)[0].lower().endswith((".npy", ".npz")):
        return array_file_images(path, name)
    if os.path.isdir(path):
        return folder_images(Path(path), name)
    files = [path]
    if not os.path.exists(path):
        files = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
    if not files:
        raise InvalidInput(f"{name}: there is no file or folder {path!r}; check its spelling")
    return _files(files, name)


def _files(files: list[str], name: str) -> Pictures:
    for file in files:
        if not os.path.isfile(file):
            raise InvalidInput(f"{name}: there is no file {file!r}; check its spelling")
        if not file.lower().endswith(SUFFIXES):
            raise InvalidInput(
                f"{name}: {file!r} ends in {Path(file).suffix!r}, but image files end in "
                f"{', '.join(SUFFIXES)}; arrays in .npy or .npz"
            )
    return Pictures(files, [repr(file) for file in files])


def _listed(images: list[Any] | tuple[Any, ...], name: str) -> ImageSource:
    if not images:
        raise InvalidInput(f"{name} is a list of 0 images; pass at least 1")
    if all(isinstance(image, str | os.PathLike) for image in images):
        return _files([os.fsdecode(image) for image in images], name)
    if all(is_picture(image) for image in images):
        return Pictures(images, [f"{name}[{place}]" for place in range(len(images))])
    if all(isinstance(image, tuple) or _is_batch(image) for image in images):
        return StreamedImages(images, None, name, batched=True)
    raise InvalidType(
        f"{name} is a list of {sorted({type(image).__name__ for image in images})}, but lists of "
        "file names, of Pillow images or of batches are read; numpy.stack makes an array of arrays"
    )


def _is_batch(image: Any) -> bool:
    """Say whether it holds many images: of three axes it may be one in colour."""
    axes = getattr(image, "ndim", 0)
    return axes == 4 or (axes == 3 and image.shape[2] != 3)


def _iterated(images: Any, name: str) -> ImageSource:
    module = sys.modules.get("torch.utils.data")
    if module is not None and isinstance(images, module.DataLoader):
        size = len(images.dataset) if hasattr(images.dataset, "__len__") else None
        known = None if images.drop_last else size
        return StreamedImages(images, known, name, batched=images.batch_size is not None)
    is_dataset = module is not None and isinstance(images, module.Dataset)
    if is_dataset or (hasattr(images, "__getitem__") and hasattr(images, "__len__")):
        return dataset_images(images, name)
    if isinstance(images, Iterable) and not isinstance(images, dict | bytes):
        return StreamedImages(images, None, name, batched=True)
    raise InvalidType(
        f"{name} is a {type(images).__name__}, but images are a uint8 array, a folder, a list of "
        "files, or a data set of torch"
    )
