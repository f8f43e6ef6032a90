"""Images in arrays: in memory, mapped, or in .npy and .npz files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural.image_source import StoredBatches
from cloister.neural.pixels import array_pixels, check_image_dtype, check_image_shape
from cloister.sources.file_names import ARRAY_SUFFIXES, choose, file_specs
from cloister.sources.flat_files import arrays_of, reading

_CHECKED = 1024  # images whose floats are looked at at a time


class ArrayImages(StoredBatches):
    """Images of one array; a memory map is read a batch at a time.

    Parameters
    ----------
    array : array of shape (n, height, width) or (n, height, width, 1 or 3)
        uint8, or floats in [0, 1], all of which are looked at first.
    name : str
        The argument's name in messages.
    channels_first : bool
        Of tensors (n, channels, height, width).

    Raises
    ------
    InvalidInput, InvalidType
    """

    labels: NDArray[Any] | None = None

    def __init__(self, array: NDArray[Any], name: str, *, channels_first: bool = False) -> None:
        if channels_first and array.ndim == 4:
            array = np.moveaxis(array, 1, -1)
        check_image_shape(array.shape, name)
        check_image_dtype(array.dtype, name)
        self.n = len(array)
        if self.n == 0:
            raise InvalidInput(f"{name} holds 0 images (shape {array.shape}); pass at least 1")
        self._array, self._name = array, name
        if array.dtype != np.uint8:
            for start in range(0, self.n, _CHECKED):
                array_pixels(array[start : start + _CHECKED], name)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return images `start` to `stop` - 1."""
        return array_pixels(self._array[start:stop], self._name)

    def whole(self) -> NDArray[np.uint8]:
        """Return all images: the array itself, or a view, where it is of uint8."""
        return self.read(0, self.n)


def array_file_images(spec: str, name: str) -> ArrayImages:
    """Return the images of "file.npy", mapped, or of "file.npz:key", loaded.

    Raises
    ------
    InvalidInput, InvalidType
        If the file is missing or damaged, or holds no images or several arrays of them.
    """
    files = file_specs(spec, name)
    if len(files) != 1 or files[0].suffix not in ARRAY_SUFFIXES[:2]:
        raise InvalidInput(
            f"{name}={spec!r} names {len(files)} file(s), and one .npy or .npz of images is read "
            "at a time; or name a folder of image files"
        )
    path, found = files[0].path, arrays_of(files[0].path, name)
    if files[0].suffix == ".npy":
        return ArrayImages(np.lib.format.open_memmap(path, mode="r"), name)
    candidates = [key for key, array in found.items() if len(array.shape) in (3, 4)]
    others = [key for key in found if key not in candidates]
    key = choose(name, path, files[0].key, candidates, others, "array of images")
    with reading(path, name), np.load(path, allow_pickle=False) as archive:
        return ArrayImages(np.asarray(archive[key]), name)
