"""One image of any library as an array of uint8, or a typed error that names it."""

from __future__ import annotations

import struct
import sys
import zlib
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.optional_packages import need_pillow

# What Pillow raises for damaged files, beside its own DecompressionBombError.
DAMAGED = (OSError, SyntaxError, ValueError, struct.error, EOFError, zlib.error, IndexError)
GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")
_NO_PIXELS = ("I", "F")


def is_picture(image: Any) -> bool:
    """Say whether it is an image of Pillow; imports nothing."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def is_tensor(image: Any) -> bool:
    """Say whether it is a tensor of torch; imports nothing."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def picture_pixels(image: Any, name: str, *, grey: bool | None = None) -> NDArray[np.uint8]:
    """Return the pixels of a Pillow image, turned upright as its EXIF orientation says.

    Parameters
    ----------
    image : PIL.Image.Image
        Palettes and CMYK become RGB, transparency is dropped, 16-bit grey is divided by 256.
    name : str
        Its name in messages.
    grey : bool, optional
        Whether to return one channel; by default where the image has no colour.

    Returns
    -------
    array of shape (height, width) or (height, width, 3), uint8

    Raises
    ------
    InvalidInput
        If it is damaged or cut short, or holds 32-bit numbers instead of pixels.
    """
    if image.mode in _NO_PIXELS:
        raise InvalidInput(
            f"{name} has pixels of 32 bits (mode {image.mode!r}), and 8 or 16 are read; convert it"
        )
    grey = image.mode in GREY_MODES if grey is None else grey
    bomb = need_pillow().DecompressionBombError
    try:
        upright = need_pillow("PIL.ImageOps").exif_transpose(image)
        if "transparency" in upright.info and upright.mode == "P":
            upright = upright.convert("RGBA")  # of a whole palette of it Pillow warns otherwise
        if upright.mode.startswith("I;16"):  # Pillow's own conversion cuts at 255
            numbers = np.asarray(upright).astype(np.uint16) >> 8
            upright = need_pillow().fromarray(numbers.astype(np.uint8))
        pixels = np.array(upright.convert("L" if grey else "RGB"), dtype=np.uint8)
    except (*DAMAGED, bomb) as error:
        raise damaged(name, error) from error
    return pixels


def damaged(name: str, error: BaseException) -> InvalidInput:
    """Return the error for an image that cannot be read."""
    return InvalidInput(
        f"{name} cannot be read as an image: {type(error).__name__}: {error}; replace or remove it"
    )


def array_pixels(images: Any, name: str, *, channels_first: bool = False) -> NDArray[np.uint8]:
    """Return images as uint8, grey ones without an axis of channels.

    Parameters
    ----------
    images : array of shape (n, height, width[, channels]), or (n, channels, height, width)
        uint8, or floats in [0, 1], which are multiplied by 255 and rounded.
    name : str
        The argument's name in messages.
    channels_first : bool
        Whether the second axis of four is the channels'.

    Raises
    ------
    InvalidInput, InvalidType
    """
    pixels = np.asarray(images)
    if channels_first and pixels.ndim == 4:
        pixels = np.moveaxis(pixels, 1, -1)
    check_image_shape(pixels.shape, name)
    if pixels.dtype != np.uint8:
        pixels = _from_floats(pixels, name)
    grey: NDArray[np.uint8] = pixels[..., 0] if pixels.shape[3:] == (1,) else pixels
    return grey


def _from_floats(pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    check_image_dtype(pixels.dtype, name)
    low, high = float(pixels.min(initial=np.inf)), float(pixels.max(initial=-np.inf))
    if not (low >= 0 and high <= 1):  # NaN too
        raise InvalidInput(
            f"{name} holds floats from {low:g} to {high:g}, but they must lie in [0, 1]; undo any "
            "standardisation, or pass uint8 pixels: encoders standardise by themselves"
        )
    rounded = np.rint(pixels.astype(np.float32) * np.float32(255))
    return cast(NDArray[np.uint8], rounded.astype(np.uint8))


def check_image_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Refuse what is neither uint8 nor floats."""
    if dtype != np.uint8 and dtype.kind != "f":
        raise InvalidType(
            f"{name} has dtype {dtype}, but images are uint8 in [0, 255] or floats in [0, 1]; "
            "convert them"
        )


def check_image_shape(shape: tuple[int, ...], name: str) -> None:
    """Refuse what is no batch of grey or colour images."""
    grey_or_colour = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    if not grey_or_colour:
        found = f"{shape[3]} channels" if len(shape) == 4 else f"{len(shape)} axes"
        raise InvalidInput(
            f"{name} has shape {shape}, {found}: images are (n, height, width) or (n, height, "
            "width, 1 or 3); drop an alpha channel, or stack images along a first axis"
        )
    if min(shape[1:3]) == 0:
        raise InvalidInput(f"{name} has shape {shape}: images of 0 pixels; pass at least 1 x 1")


def one_image(image: Any, name: str) -> NDArray[np.uint8]:
    """Return one image of a data set: of Pillow, a tensor (channels first), or an array."""
    if is_picture(image):
        return picture_pixels(image, name)
    if is_tensor(image):
        image = image.detach().cpu()
        array = (image.float() if image.dtype.is_floating_point else image).numpy()
        return cast(NDArray[np.uint8], array_pixels(array[None], name, channels_first=True)[0])
    if not isinstance(image, np.ndarray):
        raise InvalidType(
            f"{name} is a {type(image).__name__}, but an image is a uint8 array, a tensor or a "
            "Pillow image; (image, label) pairs are taken too"
        )
    return cast(NDArray[np.uint8], array_pixels(image[None], name)[0])
