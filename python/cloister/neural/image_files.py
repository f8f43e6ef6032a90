"""Images in files: a folder (its subfolders are classes), or a list of names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural.image_source import Images, StoredBatches, together
from cloister.neural.optional_packages import need_pillow
from cloister.neural.pixels import DAMAGED, GREY_MODES, damaged, picture_pixels

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm"),
)
"""Names of image files end so, in small or capital letters."""

_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lay the image on its side
# Decoding releases the interpreter's lock; more threads than this wait for the disk and memory.
_MOST_THREADS = 8


class Pictures(StoredBatches):
    """Images that Pillow reads: files, or objects in memory.

    All headers are read at once, so that most damage is met before anything is computed; the
    pixels are decoded when their batch is read.

    Parameters
    ----------
    pictures : sequence of paths or PIL.Image.Image
    names : sequence of str
        For messages.
    labels : array of shape (n,), optional

    Attributes
    ----------
    one_size : bool
        Whether all have one height and width.
    mixed : bool
        Whether some are grey and some have colours: all are then read as RGB.

    Raises
    ------
    InvalidInput
        Naming the first file that is no image.
    MissingDependency
        Without Pillow.
    """

    def __init__(
        self,
        pictures: Sequence[Any],
        names: Sequence[str],
        labels: NDArray[Any] | None = None,
    ) -> None:
        self._pictures, self._names, self.labels = pictures, names, labels
        self.n = len(pictures)
        self._library = need_pillow()
        with self._pool() as pool:
            headers = list(pool.map(self._header, range(self.n)))
        self._grey = all(grey for _, grey in headers)
        self.mixed = not self._grey and any(grey for _, grey in headers)
        sizes = {size for size, _ in headers}
        self.one_size = len(sizes) == 1

    def read(self, start: int, stop: int) -> Images:
        """Return images `start` to `stop` - 1, decoded by a few threads."""
        return together(self.read_each(start, stop, lambda image: image))

    def read_each(
        self, start: int, stop: int, apply: Callable[[NDArray[np.uint8]], Any]
    ) -> list[Any]:
        """Return `apply` of each image, so that only its result is kept of a large one."""
        with self._pool() as pool:
            return list(pool.map(lambda place: apply(self._pixels(place)), range(start, stop)))

    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))

    def _header(self, place: int) -> tuple[tuple[int, int], bool]:
        """Return (height, width) of the upright image, and whether it is grey."""
        with self._opened(place) as image:
            width, height = image.size
            # Looking for EXIF behind the pixels of a PNG would decode them.
            known = image.format != "PNG" or "exif" in image.info
            try:
                turned = known and image.getexif().get(_ORIENTATION, 1) >= 5
            except DAMAGED as error:
                raise damaged(self._names[place], error) from error
            size = (width, height) if turned else (height, width)
            return size, image.mode in GREY_MODES

    def _pixels(self, place: int) -> NDArray[np.uint8]:
        with self._opened(place) as image:
            return picture_pixels(image, self._names[place], grey=self._grey)

    def _opened(self, place: int) -> Any:
        picture = self._pictures[place]
        if not isinstance(picture, str | os.PathLike):
            return picture.copy()  # leaving a `with` would close the caller's own image
        try:
            return self._library.open(picture)
        except (*DAMAGED, self._library.DecompressionBombError) as error:
            raise damaged(self._names[place], error) from error


def folder_images(folder: Path, name: str) -> Pictures:
    """Return the images of a folder in the order of their names; subfolders are classes.

    Raises
    ------
    InvalidInput
        If there is no image, a class without one, or images beside classes.
    """
    loose = [path for path in _sorted(folder) if _is_image(path)]
    classes = [path for path in _sorted(folder) if path.is_dir()]
    if not classes:
        if not loose:
            raise InvalidInput(
                f"{name}: the folder {str(folder)!r} holds 0 images ({', '.join(SUFFIXES)}); "
                "name another"
            )
        return Pictures(loose, [repr(str(path)) for path in loose])
    if loose:
        raise InvalidInput(
            f"{name}: the folder {str(folder)!r} holds {len(loose)} images beside {len(classes)} "
            "subfolders, so that their class is unknown; move them into subfolders, one a class"
        )
    files: list[Path] = []
    labels: list[str] = []
    for subfolder in classes:
        found = [path for path in sorted(subfolder.rglob("*")) if _is_image(path)]
        if not found:
            raise InvalidInput(
                f"{name}: the class folder {str(subfolder)!r} holds 0 images; remove it or fill it"
            )
        files += found
        labels += [subfolder.name] * len(found)
    return Pictures(files, [repr(str(path)) for path in files], np.array(labels))


def _sorted(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    named = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return named and path.is_file()
