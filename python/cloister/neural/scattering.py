"""Scattering features of images: a fixed public formula with which linear rules classify well."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2
from threadpoolctl import threadpool_limits

from cloister.errors import InvalidInput
from cloister.neural.codec_input import check_image_batch, check_image_shape, check_images
from cloister.neural.morlet import average_matrix, morlet_filters
from cloister.parameters import check_integer

ORIENTATIONS = 8
# 1 average, 2 scales of 8 orientations, and 8 * 8 pairs of a fine with a coarse one.
CHANNELS = 1 + 2 * ORIENTATIONS + ORIENTATIONS**2
LARGEST_SIDE = 512
BLOCK = 128  # images that one thread takes at a time


class ScatteringEncoder:
    """Encoder by a wavelet scattering transform: no weights, no training, no download.

    Averages over a `cells` by `cells` grid of the image, of the moduli of its oriented wavelet
    coefficients at two scales, and of the moduli of the fine moduli's coarse ones (Bruna and
    Mallat, "Invariant scattering convolution networks", 2013, orders 0 to 2, with the Morlet
    wavelets of Andreux et al., "Kymatio", 2020). DP linear rules on such features rival networks
    trained under DP on small grey images (Tramer and Boneh 2021). No decoder undoes it.

    Images are embedded one by one by operations whose shape does not depend on the batch:
    `row_purity` is "strict".

    Parameters
    ----------
    image_shape : tuple of int
        (height, width) of grey images; colour images, (height, width, 3), are taken by luma.
    cells : int, default=4
        Cells of the grid along a side, at most a quarter of the shorter side of the image.
    channel_scale : array of shape (81,), optional
        Public size of each channel, by which it is divided, so that weak channels count too. None
        divides by nothing; `from_public` measures it.
    codec : Encoder and Decoder, optional
        Images of `image_shape` go through it and back first: private images then look as the
        synthetic ones that it decodes.
    public_data : str, default="none"
        Where `channel_scale` comes from.

    Attributes
    ----------
    n_features : int
        81 * cells^2, channel after channel.
    norm_bound : float
        1.0: embeddings have unit norm, or are 0.
    row_purity : str
        "strict", or that of the codec.
    id : str

    Raises
    ------
    InvalidInput, InvalidType
        Naming the argument.
    """

    norm_bound = 1.0

    def __init__(
        self,
        image_shape: tuple[int, ...],
        *,
        cells: int = 4,
        channel_scale: Any = None,
        codec: Any = None,
        public_data: str = "none",
    ) -> None:
        self.image_shape = check_image_shape("image_shape", image_shape, 8, LARGEST_SIDE)
        side = min(self.image_shape[:2])
        self.cells = check_integer(
            "cells", cells, 1, side // 4, way_out=f"at most a quarter of the shorter side, {side}"
        )
        if codec is not None and tuple(codec.image_shape) != self.image_shape:
            raise InvalidInput(
                f"codec makes images of shape {tuple(codec.image_shape)}, but "
                f"image_shape={self.image_shape}; give the codec's"
            )
        self.codec, self.public_data = codec, public_data
        self.channel_scale = _scale(channel_scale)
        if public_data == "none" and (self.channel_scale != 1).any():
            raise InvalidInput(
                "channel_scale is given, but public_data='none': it must be that of public images; "
                "name them, such as public_data='MNIST train'"
            )
        # The image is mirrored at its edges until sides are multiples of 4 and wavelets fit.
        self._padded = tuple(-(-(length + 4) // 4) * 4 for length in self.image_shape[:2])
        fine, coarse = morlet_filters(self._padded, ORIENTATIONS)
        self._fine = fine.astype(np.float32)
        self._coarse = coarse.astype(np.float32)
        self._averages = {
            step: tuple(
                average_matrix(length, self.cells, step).astype(np.float32)
                for length in self._padded
            )
            for step in (1, 2)
        }

    @classmethod
    def from_public(
        cls, public_images: NDArray[np.uint8], *, public_data: str, **options: Any
    ) -> Self:
        """Return an encoder whose `channel_scale` is that of public images.

        Parameters
        ----------
        public_images : array of shape (n, height, width) or (n, height, width, 3), uint8
            **Public**: what is read off them enters the encoder without noise. A few hundred do.
        public_data : str
            What they are, in words, such as "MNIST train".
        **options
            `cells` and `codec`.

        Raises
        ------
        InvalidInput, InvalidType
            Naming the argument.
        """
        images = check_image_batch("public_images", public_images, 8, LARGEST_SIDE)
        shape = images.shape[1:]
        plain = cls(shape, public_data=public_data, **options)
        channels = plain._raw(images).reshape(len(images), CHANNELS, -1).astype(np.float64)
        scale = np.sqrt(np.square(channels).mean(axis=(0, 2)))
        # What public images never show would be divided by nothing.
        scale = np.maximum(scale, 1e-3 * scale.max() if scale.max() > 0 else 1.0)
        rounded = [float(f"{value:.6g}") for value in scale]
        return cls(shape, public_data=public_data, channel_scale=rounded, **options)

    @property
    def n_features(self) -> int:
        """Features d of an embedding."""
        return CHANNELS * self.cells**2

    @property
    def row_purity(self) -> str:
        """Whether an embedding depends on its image alone; see `Encoder`."""
        return "strict" if self.codec is None else str(self.codec.row_purity)

    @property
    def id(self) -> str:
        """Shape and cells in words, scale and codec by their digests: names are short."""
        shape = "x".join(map(str, self.image_shape))
        scale = "1" if (self.channel_scale == 1).all() else _digest(self.channel_scale.tobytes())
        through = "" if self.codec is None else f", through codec {_digest(self.codec.id.encode())}"
        return f"scattering of {shape}, {self.cells} cells, channel scale {scale}{through}"

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        batch : array of shape (n, *image_shape), uint8

        Returns
        -------
        array of shape (n, n_features), float32
            Of unit norm.

        Raises
        ------
        InvalidInput, InvalidType
            If the images have another shape or dtype.
        """
        features = self._raw(check_images("batch", batch, self.image_shape))
        features /= np.repeat(self.channel_scale, self.cells**2)
        for row in features:  # one by one: a sum over rows of a matrix may depend on their number
            norm = np.sqrt(np.square(row).sum(dtype=np.float64))
            row[:] /= max(norm * (1 + 2**-22), 2.0**-60)  # rounding must not exceed the bound
        return features

    def _raw(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        features = np.empty((len(images), self.n_features), np.float32)

        def fill(first: int) -> None:
            part = images[first : first + BLOCK]
            if self.codec is not None:
                part = self.codec.decode(self.codec.encode(part))
            for row, image in zip(features[first:], part, strict=False):
                row[:] = np.concatenate([m.ravel() for m in self._averaged(image)])

        # One thread of BLAS each: products of small matrices gain nothing by more.
        with threadpool_limits(1), ThreadPoolExecutor(cpu_count()) as pool:
            list(pool.map(fill, range(0, len(images), BLOCK)))
        return features

    def _averaged(self, image: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        """Yield the channels of one image, averaged over cells."""
        signal = self._mirrored(image)
        spectrum = fft2(signal)
        yield self._average(signal, 1)
        fine = np.abs(ifft2(spectrum * self._fine))
        yield self._average(fine, 1)
        yield self._average(np.abs(_every_second(spectrum * self._coarse)), 2)
        pairs = fft2(fine)[:, None] * self._coarse
        yield self._average(np.abs(_every_second(pairs)), 2)

    def _average(self, maps: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        rows, columns = self._averages[step]
        return np.asarray(rows @ maps @ columns.T, np.float32)

    def _mirrored(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        luma: NDArray[Any] = image
        if image.ndim == 3:  # ITU-R BT.601, in whole numbers and so exact
            luma = image.astype(np.int32) @ np.array([299, 587, 114], np.int32) / 1000
        grey = luma.astype(np.float32) / np.float32(255)
        missing = [whole - length for whole, length in zip(self._padded, grey.shape, strict=True)]
        edges = [(extra // 2, extra - extra // 2) for extra in missing]
        return np.pad(grey, edges, mode="reflect")


def _every_second(spectra: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return the signals of spectra at every second pixel: the aliases of a frequency add up."""
    height, width = spectra.shape[-2:]
    folded = spectra.reshape(*spectra.shape[:-2], 2, height // 2, 2, width // 2)
    thinned: NDArray[np.complex64] = ifft2(folded.sum(axis=(-4, -2)) / np.float32(4))
    return thinned


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _scale(channel_scale: Any) -> NDArray[np.float32]:
    if channel_scale is None:
        return np.ones(CHANNELS, np.float32)
    scale = np.asarray(channel_scale, np.float32)
    if scale.shape != (CHANNELS,) or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise InvalidInput(
            f"channel_scale must be {CHANNELS} finite numbers above 0, got shape {scale.shape}; "
            "see ScatteringEncoder.from_public"
        )
    return scale
