"""The parameters of a cosine codec, checked once and stated in words."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.codec_input import check_image_shape
from cloister.neural.inputs import as_numpy
from cloister.parameters import check_integer, check_real

MID_GREY = 128
LARGEST_POWER = 4.0
LARGEST_CONTRAST = 100.0  # above 1 where a frequency_power raises what an image has most of


@dataclass(frozen=True)
class DCTParameters:
    """What a `DCTCodec` is, with nothing left to defaults."""

    image_shape: tuple[int, ...]
    block: tuple[int, int]
    keep: tuple[int, ...]  # frequencies of each channel: one, or luma and two chromas
    norm_bound: float
    contrast: float
    frequency_power: float
    mean: NDArray[np.uint8]  # of shape image_shape
    public_data: str

    @classmethod
    def checked(
        cls,
        image_shape: Any,
        block: Any,
        keep: Any,
        norm_bound: Any,
        contrast: Any,
        frequency_power: Any,
        mean: Any,
        public_data: Any,
    ) -> DCTParameters:
        """Return them with defaults filled in, or raise InvalidInput or InvalidType."""
        shape = check_image_shape("image_shape", image_shape)
        block = _block(block, shape)
        if not isinstance(public_data, str) or not public_data.strip():
            raise InvalidType(f"public_data must be words, 'none' if none, got {public_data!r}")
        mean_image = _mean(mean, shape, public_data)
        return cls(
            shape,
            block,
            _keep(keep, block, len(shape) == 3),
            check_real("norm_bound", norm_bound, 0, 1e6, way_out="such as 1.0", low_open=True),
            _contrast(contrast, mean_image),
            check_real(
                "frequency_power",
                frequency_power,
                -LARGEST_POWER,
                LARGEST_POWER,
                way_out="0 leaves frequencies as they are, 1 evens those of photographs out",
            ),
            mean_image,
            public_data,
        )

    def words(self) -> str:
        """Return all that decides an embedding, as one line."""
        levels = np.unique(self.mean)
        digest = hashlib.sha256(self.mean.tobytes()).hexdigest()
        mean = str(levels[0]) if len(levels) == 1 else f"sha256:{digest}"
        return (
            f"{_by(self.image_shape)}/block={_by(self.block)}/keep={'+'.join(map(str, self.keep))}"
            f"/contrast={self.contrast!r}/power={self.frequency_power!r}/R={self.norm_bound!r}"
            f"/mean={mean}"
        )


def _by(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))


def _block(block: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    sides = (block, block) if not isinstance(block, tuple | list) else tuple(block)
    if block is None:
        sides = shape[:2]
    if len(sides) != 2:
        raise InvalidInput(f"block={block!r} is no pair (height, width); give one, or an int")
    low_high = [
        check_integer("block", side, 1, length, way_out="pixels of a block, at most the image's")
        for side, length in zip(sides, shape[:2], strict=True)
    ]
    return (low_high[0], low_high[1])


def _keep(keep: Any, block: tuple[int, int], colour: bool) -> tuple[int, ...]:
    most = block[0] * block[1]
    way_out = f"a block of {block[0]} x {block[1]} pixels has {most} frequencies"
    if isinstance(keep, tuple | list):
        if not colour or len(keep) != 2:
            raise InvalidInput(
                f"keep={keep!r} must be an int for grey images, or (luma, chroma) for colour images"
            )
        luma, chroma = (check_integer("keep", part, 1, most, way_out=way_out) for part in keep)
    else:
        luma = check_integer("keep", keep, 1, most, way_out=way_out)
        chroma = ceil(luma / 4)
    return (luma, chroma, chroma) if colour else (luma,)


def _mean(mean: Any, shape: tuple[int, ...], public_data: str) -> NDArray[np.uint8]:
    array = np.asarray(MID_GREY if mean is None else as_numpy(mean))
    if array.dtype.kind not in "fiu":
        raise InvalidType(f"mean must be a number or an array of numbers, got {array.dtype}")
    if array.shape not in ((), shape):
        raise InvalidInput(
            f"mean has shape {array.shape}, but the images' shape {shape} or one number is needed"
        )
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
        raise InvalidInput(
            f"mean has values from {array.min()} to {array.max()}, but grey levels lie in [0, 255]"
        )
    if array.shape == shape and public_data == "none":
        raise InvalidInput(
            "mean is an image, but public_data='none': a mean image must come from public images; "
            "name them, such as public_data='MNIST train'"
        )
    return np.broadcast_to(np.rint(array), shape).astype(np.uint8)


def _contrast(contrast: Any, mean: NDArray[np.uint8]) -> float:
    level = mean.astype(np.float64)
    largest = sqrt(float(np.mean(np.square(np.maximum(level, 255 - level))))) / 255
    if contrast is None:
        return largest
    way_out = "the root mean square of (pixel - mean) / 255 of images, such as 0.25"
    return check_real("contrast", contrast, 0, LARGEST_CONTRAST, way_out=way_out, low_open=True)
