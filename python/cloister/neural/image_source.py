"""What every source of images promises, and how batches of any size become batches of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# Images of one size as one array (n, height, width) or (n, height, width, 3), uint8; of several
# sizes as a list of arrays (height, width) or (height, width, 3).
Images = NDArray[np.uint8] | list[NDArray[np.uint8]]
# The same from a stream, with their labels where it has some.
Part = tuple[Images, list[Any] | None]


@runtime_checkable
class ImageSource(Protocol):
    """Images in order.

    Attributes
    ----------
    n : int or None
        Number of images; None where only passing over them all can tell.
    labels : array of shape (n,) or None
        Their classes, where they are known without reading the images.
    """

    @property
    def n(self) -> int | None: ...  # noqa: D102
    @property
    def labels(self) -> NDArray[Any] | None: ...  # noqa: D102

    def batches(
        self, size: int, start: int = 0
    ) -> Iterator[tuple[Images, Sequence[Any] | NDArray[Any] | None]]:
        """Yield (images, labels) from image `start` on, `size` at a time; the last may be smaller.

        Labels are None where the source has none.
        """


@runtime_checkable
class StoredImages(ImageSource, Protocol):
    """Images that can be read from anywhere."""

    def read(self, start: int, stop: int) -> Images:
        """Return images `start` to `stop` - 1."""


class StoredBatches:
    """The `batches` of images that can be read from anywhere."""

    n: int
    labels: NDArray[Any] | None

    def read(self, start: int, stop: int) -> Images:
        """Return images `start` to `stop` - 1."""
        raise NotImplementedError

    def batches(self, size: int, start: int = 0) -> Iterator[tuple[Images, NDArray[Any] | None]]:
        """Yield (images, labels): see `ImageSource.batches`."""
        for first in range(start, self.n, size):
            stop = min(first + size, self.n)
            labels = None if self.labels is None else self.labels[first:stop]
            yield self.read(first, stop), labels


def together(images: Sequence[NDArray[np.uint8]]) -> Images:
    """Return images as one array if they have one size, else as a list."""
    if len({image.shape for image in images}) == 1:
        return np.stack(images)
    return list(images)


def recut(parts: Iterable[Part], size: int) -> Iterator[Part]:
    """Cut batches of any size anew, so that a network sees batches of one shape."""
    images: list[NDArray[np.uint8]] = []
    labels: list[Any] = []
    labelled = False
    for more, classes in parts:
        images.extend(more)
        labelled = classes is not None
        labels.extend(classes if classes is not None else [])
        while len(images) >= size:
            yield together(images[:size]), labels[:size] if labelled else None
            images, labels = images[size:], labels[size:]
    if images:
        yield together(images), labels if labelled else None
