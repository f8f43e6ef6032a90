"""Private images as rows of embeddings, encoded a batch at a time while they are read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.codec_input import check_image_batch
from cloister.neural.image_source import StoredImages as Readable
from cloister.neural.images import as_images
from cloister.neural.protocols import Encoder
from cloister.privacy.guarantee import ROW_PURITIES
from cloister.sources.protocol import gathered


@dataclass(frozen=True)
class StoredImages:
    """Images that are read a batch at a time.

    Attributes
    ----------
    n : int
        Their number.
    shape : tuple of int, or None
        Of each of them; None where they differ, or only reading tells.
    read : callable
        `read(start, stop)` returns these images as an encoder takes them.
    labels : array of shape (n,), or None
        Their classes, where the images come with them.
    """

    n: int
    shape: tuple[int, ...] | None
    read: Callable[[int, int], Any]
    labels: NDArray[Any] | None = None


def stored_images(images: Any, name: str = "images") -> StoredImages:
    """Take private images from what a caller gave: see `cloister.neural.images.as_images`.

    Raises
    ------
    InvalidInput, InvalidType
        As it does, and for images that can be read only once.
    """
    if not isinstance(images, np.ndarray):
        source = as_images(images, name)
        if not isinstance(source, Readable) or source.n is None:
            raise InvalidType(
                f"{name} is a stream of batches, which is read once, but 2 fits may read images; "
                "give an array, a folder or a list of files"
            )
        return StoredImages(source.n, None, source.read, source.labels)
    array = check_image_batch(name, images)
    return StoredImages(
        len(array), array.shape[1:], lambda start, stop: np.asarray(array[start:stop])
    )


def check_encoder(encoder: Any, name: str = "encoder") -> Encoder:
    """Return `encoder` if it is one.

    Raises
    ------
    InvalidType, InvalidInput
        If it lacks a part of the protocol, or states a `row_purity` that there is not.
    """
    if not isinstance(encoder, Encoder):
        missing = [part for part in _PARTS if not hasattr(encoder, part)]
        raise InvalidType(
            f"{name} must be an encoder, got {type(encoder).__name__}, which lacks {missing}; see "
            "cloister.neural.encoders"
        )
    if encoder.row_purity not in ROW_PURITIES:
        raise InvalidInput(
            f"{name}.row_purity is {encoder.row_purity!r}, and must be one of {list(ROW_PURITIES)}"
        )
    return encoder


_PARTS = ("id", "n_features", "norm_bound", "row_purity", "encode")


def encode(
    encoder: Encoder | None, images: NDArray[np.uint8], batch_size: int
) -> NDArray[np.float32]:
    """Embed images, so many at a time, into an array of shape (n, d).

    Raises
    ------
    InvalidInput
        Without an encoder, of a model that was loaded without.
    """
    if encoder is None:
        raise InvalidInput(
            "encoder=None, but images are to be encoded: load the model with its labeller_encoder"
        )
    rows = EncodedImages(stored_images(images), encoder, batch_size)
    return np.concatenate([part for _, part in rows.chunks(batch_size)])


class EncodedImages:
    """The embeddings of images: a `cloister.sources.Source`.

    Images are encoded when rows are asked for, and so after the fit was paid for.

    Parameters
    ----------
    images : StoredImages
    encoder : Encoder
    batch_size : int
        Images that the encoder is given at a time.
    keep : bool
        Keep the embeddings (4 n d bytes) and encode once, however often they are read.
    """

    rereadable = True

    def __init__(
        self, images: StoredImages, encoder: Encoder, batch_size: int, *, keep: bool = False
    ) -> None:
        self.n, self.d = images.n, encoder.n_features
        self._images, self._encoder, self._batch_size = images, encoder, batch_size
        self._keep, self._kept = keep, np.empty((0, self.d), np.float32)

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of first row, rows) in order: see `Source.chunks`."""
        batches = iter([self._kept]) if len(self._kept) else self._encoded()
        yield from gathered(batches, self.d, rows)

    def _encoded(self) -> Iterator[NDArray[np.float32]]:
        kept = np.empty((self.n if self._keep else 0, self.d), np.float32)
        for first in range(0, self.n, self._batch_size):
            batch = self._images.read(first, min(first + self._batch_size, self.n))
            rows = np.asarray(self._encoder.encode(batch), dtype=np.float32)
            if rows.shape != (len(batch), self.d):
                raise InvalidInput(
                    f"encoder {self._encoder.id!r} made an array of shape {rows.shape} of "
                    f"{len(batch)} images, but ({len(batch)}, {self.d}) is needed; mend its "
                    "encode or its n_features"
                )
            if self._keep:
                kept[first : first + len(rows)] = rows
            yield rows
        self._kept = kept
