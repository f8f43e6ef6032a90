"""What codecs and classifiers accept: shapes, images and embeddings, checked once when given."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.inputs import as_numpy
from cloister.parameters import check_integer

LARGEST_SIDE = 4096
COLOURS = 3


def check_image_shape(
    name: str, shape: Any, low: int = 1, high: int = LARGEST_SIDE
) -> tuple[int, ...]:
    """Return (height, width), or (height, width, 3), with sides in [low, high] pixels.

    Raises
    ------
    InvalidType, InvalidInput
        If `shape` is anything else.
    """
    if not isinstance(shape, tuple | list):
        raise InvalidType(
            f"{name} must be a tuple such as (28, 28) or (32, 32, 3), got {shape!r} "
            f"({type(shape).__name__})"
        )
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != COLOURS):
        raise InvalidInput(
            f"{name}={tuple(shape)} is no (height, width) of grey images or (height, width, 3) of "
            "colour images; give one of these"
        )
    sides = [
        check_integer(name, side, low, high, way_out="a side in pixels; resize the images first")
        for side in shape[:2]
    ]
    return (*sides, *shape[2:])


def check_images(name: str, images: Any, image_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a batch of images of one shape.

    Raises
    ------
    InvalidType
        If they are no array of uint8.
    InvalidInput
        If their shape is not (n, *image_shape).
    """
    pixels = _pixels(name, images)
    if pixels.ndim != len(image_shape) + 1 or pixels.shape[1:] != image_shape:
        raise InvalidInput(
            f"{name} has shape {pixels.shape}, but (n, {', '.join(map(str, image_shape))}) is "
            "needed; resize the images, or make a codec of their shape"
        )
    return pixels


def check_image_batch(
    name: str, images: Any, smallest: int = 1, largest: int = 2**16
) -> NDArray[np.uint8]:
    """Return a batch of at least one image, of any one shape; a memory map is not read.

    Parameters
    ----------
    name : str
        The argument's name in messages.
    images : array of shape (n, height, width) or (n, height, width, 3), uint8
    smallest, largest : int
        Bounds of their sides, in pixels.

    Raises
    ------
    InvalidType, InvalidInput
        If they are anything else, or none.
    """
    pixels = _pixels(name, images)
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] != COLOURS):
        raise InvalidInput(
            f"{name} has shape {pixels.shape}, but (n, height, width) or (n, height, width, 3) is "
            "needed; colours come last"
        )
    if len(pixels) == 0:
        raise InvalidInput(f"{name} holds 0 images, but at least 1 is needed")
    check_image_shape(name, pixels.shape[1:], smallest, largest)
    return pixels


def _pixels(name: str, images: Any) -> NDArray[np.uint8]:
    images = as_numpy(images)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = getattr(images, "dtype", type(images).__name__)
        raise InvalidType(
            f"{name} must be an array of uint8 pixels in [0, 255], got {found}; for floats in "
            "[0, 1] give (255 * images).round().astype('uint8')"
        )
    return cast(NDArray[np.uint8], images)


def check_embeddings(
    name: str, embeddings: Any, n_features: int, reader: str
) -> NDArray[np.float64]:
    """Return finite embeddings of shape (n, n_features) as float64.

    Parameters
    ----------
    name : str
        The argument's name in messages.
    embeddings : array
        Of any real dtype.
    n_features : int
        Features that are needed.
    reader : str
        Who needs them, in messages.

    Raises
    ------
    InvalidType, InvalidInput
        If they are something else.
    """
    array = np.asarray(as_numpy(embeddings))
    if array.dtype.kind not in "fiu":
        raise InvalidType(
            f"{name} must be an array of real numbers, got dtype {array.dtype}; give the "
            "encoder's embeddings or a mixture's samples"
        )
    if array.ndim != 2 or array.shape[1] != n_features:
        raise InvalidInput(
            f"{name} has shape {array.shape}, but {reader} needs (n, {n_features}); give "
            f"embeddings of {n_features} features, or the decoder of the encoder that made these"
        )
    wide: NDArray[np.float64] = array.astype(np.float64)
    invalid = ~np.isfinite(wide).all(axis=1)
    if invalid.any():
        raise InvalidInput(
            f"{name} has NaN or infinity in {int(invalid.sum())} of {len(wide)} rows (the first "
            f"is row {int(np.argmax(invalid))}); drop these rows"
        )
    return wide
