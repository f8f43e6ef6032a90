"""The arithmetic of a cosine codec: whole numbers until one last product."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from cloister.neural.dct_basis import (
    LARGEST_CONTRAST,
    OPPONENT,
    OPPONENT_NORMS,
    STEPS_PER_LEVEL,
    cosine_basis,
    exact_bits,
    zigzag,
)
from cloister.neural.dct_parameters import DCTParameters
from cloister.neural.row_norms import shorten


class BlockTransform:
    """From images to the features of a `DCTCodec` and back; input was checked before."""

    def __init__(self, parameters: DCTParameters) -> None:
        self._parameters = parameters
        (height, width), (rows, columns) = parameters.block, parameters.image_shape[:2]
        self.n_channels = len(parameters.keep)
        self._blocks = (-(-rows // height), -(-columns // width))
        self.padded_shape = (
            self.n_channels,
            self._blocks[0] * height,
            self._blocks[1] * width,
        )
        self._n_numbers = int(np.prod(self.padded_shape))
        u, v = zigzag(height, width, max(parameters.keep))
        self._places = (v, u)
        bits = exact_bits(self._n_numbers)
        self._vertical = cosine_basis(height, int(u.max()) + 1, bits)
        self._horizontal = cosine_basis(width, int(v.max()) + 1, bits)
        self._unit = 2.0 ** (-2 * bits)
        self._scale = self._scales(u, v)
        self.n_features = len(self._scale)

    def _scales(self, u: NDArray[np.intp], v: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return what each coefficient, in grey levels, is multiplied by to become a feature."""
        p = self._parameters
        frequency = np.sqrt(1.0 + np.square(u) + np.square(v))
        weight = frequency**p.frequency_power
        weight *= np.sqrt(np.sum(frequency**-2.0) / np.sum(np.square(weight / frequency)))
        unit_contrast = p.norm_bound / (p.contrast * 255 * sqrt(self._n_numbers))
        n_blocks = self._blocks[0] * self._blocks[1]
        return np.concatenate([np.tile(weight[:keep], n_blocks) for keep in p.keep]) * unit_contrast

    def forward(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return features of shape (n, d), not yet shortened."""
        deviation = images.astype(np.int64) - self._parameters.mean
        channels = deviation[:, None].astype(np.float64)
        if self.n_channels > 1:
            red, green, blue = (deviation[..., c] for c in range(self.n_channels))
            opponent = [red + green + blue, red - blue, red - 2 * green + blue]
            channels = np.stack(opponent, axis=1).astype(np.float64)
        missing = [(0, 0), (0, 0)] + [
            (0, full - have)
            for full, have in zip(self.padded_shape[1:], channels.shape[2:], strict=True)
        ]
        whole = self._coefficients(np.pad(channels, missing, mode="edge"))
        features = whole * (self._scale * self._unit)
        return features / self._channel_norms()

    def _coefficients(self, channels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the kept coefficients, shape (n, d), as whole numbers times 2^(2 bits)."""
        n, (down, across), (height, width) = len(channels), self._blocks, self._parameters.block
        lines = channels.reshape(-1, width) @ self._horizontal.T
        lines = lines.reshape(n, self.n_channels, down, height, across, -1)
        lines = np.ascontiguousarray(lines.transpose(0, 1, 2, 4, 5, 3))
        full = (lines.reshape(-1, height) @ self._vertical.T).reshape(
            *lines.shape[:-1], len(self._vertical)
        )
        v, u = self._places
        kept = [
            full[:, channel][..., v[:keep], u[:keep]].reshape(n, -1)
            for channel, keep in enumerate(self._parameters.keep)
        ]
        return np.concatenate(kept, axis=1)

    def _channel_norms(self) -> NDArray[np.float64]:
        """Return the norm of the direction in colour space that each feature is along."""
        norms = OPPONENT_NORMS if self.n_channels > 1 else np.ones(1)
        n_blocks = self._blocks[0] * self._blocks[1]
        return np.repeat(norms, [keep * n_blocks for keep in self._parameters.keep])

    def inverse(self, features: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the images of features of shape (n, d)."""
        # Shortened first: a sample's features may be any number, and sums must stay below 2^53.
        bound = LARGEST_CONTRAST * 255 * sqrt(self._n_numbers)
        with np.errstate(over="ignore"):
            levels = np.clip(features / self._scale, -1e300, 1e300)
        levels = shorten(levels, bound)
        pixels = self._pixels(np.rint(levels * STEPS_PER_LEVEL))
        rows, columns = self._parameters.image_shape[:2]
        channels = pixels[:, :, :rows, :columns] * (self._unit / STEPS_PER_LEVEL)
        if self.n_channels == 1:
            deviation = channels[:, 0]
        else:
            parts = [channels[:, c] / OPPONENT_NORMS[c] for c in range(self.n_channels)]
            deviation = np.stack(
                [
                    sum(OPPONENT[c, colour] * part for c, part in enumerate(parts))
                    for colour in range(3)
                ],
                axis=-1,
            )
        levels = np.rint(deviation + self._parameters.mean)
        return np.asarray(np.clip(levels, 0, 255).astype(np.uint8))

    def _pixels(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels of shape (n, channels, rows, columns) as whole numbers times 2^(2 bits)."""
        n, (down, across), (height, width) = len(coefficients), self._blocks, self._parameters.block
        shape = (n, self.n_channels, down, across, len(self._horizontal), len(self._vertical))
        full = np.zeros(shape)
        first = 0
        v, u = self._places
        for channel, keep in enumerate(self._parameters.keep):
            last = first + down * across * keep
            part = coefficients[:, first:last].reshape(n, down, across, keep)
            full[:, channel][..., v[:keep], u[:keep]] = part
            first = last
        lines = (full.reshape(-1, shape[-1]) @ self._vertical).reshape(*shape[:-1], height)
        lines = np.ascontiguousarray(lines.transpose(0, 1, 2, 5, 3, 4))  # ..., height, across, v
        pixels = lines.reshape(-1, shape[-2]) @ self._horizontal
        return pixels.reshape(n, self.n_channels, down * height, across * width)
