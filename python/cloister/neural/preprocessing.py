"""From pixels to what a network sees: resized, cut and standardised, each image by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.image_source import Images
from cloister.neural.optional_packages import need_torch
from cloister.neural.pixels import array_pixels
from cloister.parameters import check_choice, check_flag

INTERPOLATIONS = ("bicubic", "bilinear", "nearest-exact")
_LARGEST_SIZE = 2**14
# ITU-R BT.601, as Pillow's conversion to "L", in thousandths: whole numbers sum without rounding.
# Three equal channels are one grey then, bit for bit, whether a folder is read as grey or as RGB.
_LUMINANCE = (299.0, 587.0, 114.0)


@dataclass(frozen=True)
class Preprocessing:
    """A fixed, public map of one image to the tensor of shape (channels, height, width) it becomes.

    Pixels are resized in float32, cut to [0, 255], divided by 255, less `mean`, divided by `std`.

    Parameters
    ----------
    size : int, pair of int, or None
        (height, width) that the network sees; None takes images as they are, all of one size.
    resize : int or None
        Length to which the shorter side is brought before the centre of `size` is cut out. None
        resizes to `size` itself, whatever the shape of the image was.
    interpolation : {"bicubic", "bilinear", "nearest-exact"}
    antialias : bool
        Average over all pixels when shrinking, as Pillow does.
    mean, std : float, or one a channel
        Of pixels in [0, 1].
    channels : {3, 1}
        Grey images become three equal channels; colours one of luminance.

    Raises
    ------
    InvalidInput, InvalidType
        Naming the parameter.
    """

    size: int | tuple[int, int] | None = None
    resize: int | None = None
    interpolation: str = "bicubic"
    antialias: bool = True
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    channels: int = 3

    def __post_init__(self) -> None:
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        check_flag("antialias", self.antialias)
        if self.channels not in (1, 3):
            raise InvalidInput(f"channels={self.channels!r} must be 1 or 3")
        for name in ("size", "resize"):
            _check_sides(name, getattr(self, name))
        if self.resize is not None and (self.sides is None or self.resize < max(self.sides)):
            raise InvalidInput(
                f"resize={self.resize} must be at least size={self.size}, which is cut out of it"
            )
        for name in ("mean", "std"):
            object.__setattr__(self, name, _by_channel(name, getattr(self, name), self.channels))

    @property
    def sides(self) -> tuple[int, int] | None:
        """(height, width) that the network sees."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def resizes(self) -> bool:
        """Whether images of differing size become tensors of one shape."""
        return self.size is not None

    @property
    def description(self) -> str:
        """All of it in a line, for an encoder's id."""
        words = ["rgb" if self.channels == 3 else "grey"]
        if self.sides is None:
            words.append("size as it is")
        else:
            words.append("x".join(map(str, self.sides)))
            words.append(self.interpolation + ("" if self.antialias else " without antialias"))
            words += [] if self.resize is None else [f"centre of {self.resize}"]
        for name in ("mean", "std"):
            values = getattr(self, name)
            shown = values[:1] if len(set(values)) == 1 else values
            words.append(f"{name} " + "/".join(f"{value:.7g}" for value in shown))
        return ", ".join(words)

    def prepare(self, images: Images) -> Any:
        """Return the images as a float32 tensor of shape (n, channels, height, width).

        Parameters
        ----------
        images : array of shape (n, height, width) or (n, height, width, 3), uint8; or a list
            A list of images may differ in size, and in having colours, if `size` is set.

        Raises
        ------
        InvalidInput, InvalidType
            For what are no images, or images of several sizes without `size`.
        """
        torch = need_torch()
        if not isinstance(images, list):
            return self._tensor(array_pixels(images, "images"))
        if not self.resizes and len({image.shape for image in images}) > 1:
            raise InvalidInput(
                f"images: they have {len({image.shape for image in images})} different shapes, but "
                "this encoder takes images as they are: give it Preprocessing(size=...)"
            )
        return torch.cat([self._tensor(array_pixels(image[None], "images")) for image in images])

    def _tensor(self, pixels: NDArray[np.uint8]) -> Any:
        torch = need_torch()
        writable = pixels if pixels.flags.writeable else pixels.copy()  # torch takes no other
        tensor = torch.from_numpy(np.ascontiguousarray(writable)).float()
        tensor = tensor[:, None] if pixels.ndim == 3 else tensor.permute(0, 3, 1, 2)
        if self.channels == 1 and tensor.shape[1] == 3:
            weights = torch.tensor(_LUMINANCE).view(1, 3, 1, 1)
            tensor = (tensor * weights).sum(dim=1, keepdim=True) / 1000
        tensor = self._resized(tensor)
        mean, std = (
            torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)
            for values in (self.mean, self.std)
        )
        return tensor / (255 * std).float() - (mean / std).float()

    def _resized(self, tensor: Any) -> Any:
        """Return (n, c, height, width) in [0, 255] at the size of the network; grey stays grey."""
        torch = need_torch()
        if self.sides is None:
            return tensor
        height, width = size = self.sides
        if self.resize is not None:
            size = _scaled(tensor.shape[2:], self.resize)
        if tuple(tensor.shape[2:]) != tuple(size):
            smooth = self.interpolation != "nearest-exact"
            tensor = torch.nn.functional.interpolate(
                tensor, size=size, mode=self.interpolation, antialias=self.antialias and smooth
            ).clamp(0, 255)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        return tensor[:, :, top : top + height, left : left + width]


def _scaled(shape: Sequence[int], shorter: int) -> tuple[int, int]:
    """Return the size whose shorter side is as given; the longer is cut to a whole number."""
    height, width = shape
    if height <= width:
        return shorter, int(shorter * width / height)
    return int(shorter * height / width), shorter


def _check_sides(name: str, sides: Any) -> None:
    if sides is None:
        return
    listed = list(sides) if isinstance(sides, tuple | list) and name == "size" else [sides]
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in listed)
    if not whole or (len(listed) != 2 and listed != [sides]):
        raise InvalidType(f"{name} must be a whole number, a pair of them or None, got {sides!r}")
    if not all(1 <= side <= _LARGEST_SIZE for side in listed):
        raise InvalidInput(f"{name}={sides!r} is outside [1, {_LARGEST_SIZE}]; 224 is common")


def _by_channel(name: str, values: Any, channels: int) -> tuple[float, ...]:
    listed: Any = (values,) * channels if isinstance(values, Real) else tuple(values)
    if len(listed) != channels or not all(isinstance(value, Real) for value in listed):
        raise InvalidInput(f"{name}={values!r} must be 1 number, or {channels}, one a channel")
    low = 0.0 if name == "mean" else 1e-6
    if not all(low <= value <= 255 for value in listed):
        raise InvalidInput(
            f"{name}={values!r} is outside [{low:g}, 255]; it is of pixels in [0, 1], such as 0.5"
        )
    return tuple(float(value) for value in listed)


def as_preprocessing(value: Any, default: Preprocessing) -> Preprocessing:
    """Return what a caller gave, or the library's own description where that is None.

    Raises
    ------
    InvalidType
        If it is no `Preprocessing`.
    """
    if value is None:
        return default
    if not isinstance(value, Preprocessing):
        raise InvalidType(
            f"preprocessing must be a Preprocessing or None, got {type(value).__name__}; "
            "Preprocessing(size=224, mean=0.5, std=0.5), say"
        )
    return value
