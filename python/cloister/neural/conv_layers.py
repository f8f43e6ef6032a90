"""The layers of a convolutional codec, by name and shape; no torch needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from cloister.errors import InvalidInput
from cloister.neural.codec_input import check_image_shape
from cloister.parameters import check_flag, check_integer

SMALLEST_SIDE, LARGEST_SIDE = 8, 256
# Images are halved until no side is longer; a fully connected layer takes it from there.
COARSEST_SIDE = 8
GROUPS = 8  # channels are normalised in so many groups, within one image (Wu and He 2018)
WIDEST = 4  # times `width` channels


@dataclass(frozen=True)
class Architecture:
    """All that decides the shapes of a convolutional codec's layers.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width) or (height, width, 3), sides of 8 to 256 pixels.
    n_features : int
        Features d of the latent.
    width : int
        Channels at full resolution, a multiple of 8; they double with each halving, up to 4 times.
    variational : bool
        Whether the encoder also has a variance for each feature.
    """

    image_shape: tuple[int, ...]
    n_features: int
    width: int
    variational: bool

    @classmethod
    def checked(
        cls, image_shape: Any, n_features: Any, width: Any, variational: Any
    ) -> Architecture:
        """Return it, or raise InvalidInput or InvalidType naming the argument."""
        shape = check_image_shape("image_shape", image_shape, SMALLEST_SIDE, LARGEST_SIDE)
        d = check_integer("n_features", n_features, 1, 2**16, way_out="features of the latent")
        width = check_integer(
            "width", width, GROUPS, 1024, way_out="channels at full resolution, such as 32"
        )
        if width % GROUPS:
            raise InvalidInput(f"width={width} is no multiple of {GROUPS}; give one, such as 32")
        return cls(shape, d, width, check_flag("variational", variational))

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Architecture:
        """Return what `to_dict` gave; a typed error, KeyError or TypeError for anything else."""
        return cls.checked(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @property
    def colours(self) -> int:
        """Channels of an image: 1 or 3."""
        return 3 if len(self.image_shape) == 3 else 1

    def sizes(self) -> list[tuple[int, int]]:
        """Return (height, width) at each level, from the image's to the coarsest."""
        sizes = [(self.image_shape[0], self.image_shape[1])]
        while len(sizes) == 1 or max(sizes[-1]) > COARSEST_SIDE:
            height, width = sizes[-1]
            sizes.append((-(-height // 2), -(-width // 2)))
        return sizes

    def channels(self) -> list[int]:
        """Return the number of channels at each level."""
        return [self.width * min(2**level, WIDEST) for level in range(len(self.sizes()))]

    def multiply_adds(self) -> int:
        """Return the multiply-adds of embedding and decoding one image."""
        sizes, total = self.sizes(), 0
        for name, shape in self.shapes().items():
            if not name.endswith(".weight"):
                continue
            if name.startswith("down"):  # one product a weight in each pixel that comes out,
                pixels = prod(sizes[int(name.removeprefix("down").split(".")[0])])
            elif name.startswith("up"):  # of a transposed convolution: that goes in
                pixels = prod(sizes[int(name.removeprefix("up").split(".")[0])])
            else:
                pixels = prod(sizes[0]) if name == "image.weight" else 1
            total += prod(shape) * pixels
        return total

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array of the network, in the order in which it is drawn."""
        channels, coarsest = self.channels(), self.sizes()[-1]
        flat = channels[-1] * prod(coarsest)
        shapes: dict[str, tuple[int, ...]] = {}
        inputs = [self.colours, *channels]
        for level, count in enumerate(channels):
            shapes[f"down{level}.weight"] = (count, inputs[level], 3, 3)
            shapes |= _bias_and_norm(f"down{level}", count)
        statistics = self.n_features * (2 if self.variational else 1)
        shapes |= {"to_latent.weight": (statistics, flat), "to_latent.bias": (statistics,)}
        shapes |= {"from_latent.weight": (flat, self.n_features), "from_latent.bias": (flat,)}
        for level in range(len(channels) - 1, 0, -1):
            shapes[f"up{level}.weight"] = (channels[level], channels[level - 1], 4, 4)
            shapes |= _bias_and_norm(f"up{level}", channels[level - 1])
        shapes["image.weight"] = (self.colours, channels[0], 3, 3)
        shapes["image.bias"] = (self.colours,)
        return shapes


def _bias_and_norm(layer: str, count: int) -> dict[str, tuple[int, ...]]:
    return {f"{layer}.{part}": (count,) for part in ("bias", "gain", "shift")}
