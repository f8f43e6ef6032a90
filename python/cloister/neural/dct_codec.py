"""A codec that needs no training: the lowest frequencies of a block cosine transform."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural import codec_file
from cloister.neural.codec_input import check_embeddings, check_image_batch, check_images
from cloister.neural.dct_parameters import DCTParameters
from cloister.neural.dct_transform import BlockTransform
from cloister.neural.row_norms import row_norms, shorten
from cloister.parameters import check_real

# Pixels that are transformed at a time: some 100 MiB in float64, with what is made of them.
CHUNK_PIXELS = 2**21


class DCTCodec:
    """Encoder and decoder by a fixed public transform: block DCT, lowest frequencies.

    An image, less a public mean, is cut into blocks; of each block the `keep` lowest frequencies
    of its orthonormal discrete cosine transform (Ahmed, Natarajan and Rao 1974) in zigzag order
    become features, scaled by public constants. Colour images are first turned into a luma and two
    chromas by an orthogonal map. Nothing is learnt from any image, unless the mean is, so a
    private mixture of these features needs no public data at all.

    Whatever passes through is whole numbers below 2^53 until one last product, so the embedding
    of an image is the same bits in any batch, at any place, for any number of threads:
    `row_purity` is "strict" and the guarantee of a mixture covers the images themselves.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width) of grey images or (height, width, 3) of colour images, in pixels.
    block : int, tuple (height, width) of int, or None, default=None
        Pixels of a block; None takes the image as one block, best where images are small. Images
        that are no multiple of it are padded with their last row and column.
    keep : int or tuple (luma, chroma) of int, default=64
        Frequencies kept of each block; for colour, of its luma and of each of its two chromas. An
        int keeps a quarter of it, rounded up, of each chroma.
    norm_bound : float, default=1.0
        Public bound R of an embedding's norm.
    contrast : float or None, default=None
        Root mean square of (pixel - mean) / 255 over an image that is scaled to norm R; images of
        more contrast lose what exceeds it. A public guess: 0.25 suits photographs, and the smaller
        it is the smaller is the noise of a private mixture, in grey levels. None takes the
        largest that any image can have, so none loses anything.
    frequency_power : float, default=0.0
        Coefficients of frequency f = sqrt(1 + u^2 + v^2) are multiplied by f^power: 1 makes those
        of photographs, whose spectrum falls as 1/f (Field 1987), equally large; 0 keeps distances
        those of pixels, in which noise is then white. The total of a 1/f spectrum stays the same.
    mean : float, array of shape image_shape, or None, default=None
        Public mean image in grey levels [0, 255], rounded to whole ones; None is mid-grey, 128.
        Of dark-grounded images, such as digits, 0.
    public_data : str, default="none"
        Where an array `mean` comes from; it must be public.

    Attributes
    ----------
    n_features : int
        d = blocks * (luma + 2 chroma) frequencies, in the order channel, block, frequency.
    id, encoder_id : str
        All of the parameters, in words.
    row_purity : str
        "strict".

    Raises
    ------
    InvalidInput, InvalidType
        Naming the argument.
    """

    row_purity = "strict"

    def __init__(
        self,
        image_shape: tuple[int, ...],
        *,
        block: int | tuple[int, int] | None = None,
        keep: int | tuple[int, int] = 64,
        norm_bound: float = 1.0,
        contrast: float | None = None,
        frequency_power: float = 0.0,
        mean: float | NDArray[Any] | None = None,
        public_data: str = "none",
    ) -> None:
        self.parameters = DCTParameters.checked(
            image_shape, block, keep, norm_bound, contrast, frequency_power, mean, public_data
        )
        self._transform = BlockTransform(self.parameters)

    @classmethod
    def from_public(
        cls,
        public_images: NDArray[np.uint8],
        *,
        public_data: str,
        share: float = 0.99,
        **options: Any,
    ) -> Self:
        """Return a codec whose mean image and contrast are those of public images.

        Parameters
        ----------
        public_images : array of shape (n, height, width) or (n, height, width, 3), uint8
            **Public** images: what is read off them enters the codec without any noise.
        public_data : str
            What they are, in words, such as "MNIST train".
        share : float, default=0.99
            Share of them that is embedded without loss of contrast, in (0, 1].
        **options
            Further parameters of the codec.

        Raises
        ------
        InvalidInput, InvalidType
            Naming the argument.
        """
        share = check_real("share", share, 0, 1, way_out="such as 0.99", low_open=True)
        images = check_image_batch("public_images", public_images)
        shape = images.shape[1:]
        mean = np.mean(images, axis=0, dtype=np.float64)
        for refused in ("mean", "contrast", "image_shape"):
            if refused in options:
                raise InvalidInput(f"{refused} is read off public_images; leave it out")
        codec = cls(shape, mean=mean, public_data=public_data, **options)
        norms = np.sort(np.concatenate([row_norms(rows) for rows in codec._features(images)]))
        kept = norms[min(len(norms) - 1, int(share * len(norms)))] / codec.norm_bound
        contrast = float(f"{codec.contrast * max(kept, 1e-6):.6g}")
        return cls(shape, mean=mean, public_data=public_data, contrast=contrast, **options)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width) or (height, width, 3) in pixels."""
        return self.parameters.image_shape

    @property
    def n_features(self) -> int:
        """Features d of an embedding."""
        return self._transform.n_features

    @property
    def norm_bound(self) -> float:
        """Public bound R of an embedding's norm."""
        return self.parameters.norm_bound

    @property
    def contrast(self) -> float:
        """Root mean square of (pixel - mean) / 255 that has norm R."""
        return self.parameters.contrast

    @property
    def public_data(self) -> str:
        """Where the mean image comes from; "none" if it is a constant."""
        return self.parameters.public_data

    @property
    def id(self) -> str:
        """All of the parameters, in words; a mean image by its digest."""
        return f"dct/{self.parameters.words()}"

    @property
    def encoder_id(self) -> str:
        """The same: it decodes what it encodes."""
        return self.id

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        batch : array of shape (n, *image_shape), uint8

        Returns
        -------
        array of shape (n, d), float32
            Of norm at most `norm_bound`, each row a function of its own image alone.
        """
        images = check_images("batch", batch, self.image_shape)
        embeddings = np.empty((len(images), self.n_features), dtype=np.float32)
        first = 0
        for features in self._features(images):
            embeddings[first : first + len(features)] = shorten(features, self.norm_bound)
            first += len(features)
        return embeddings

    def decode(self, embeddings: NDArray[Any]) -> NDArray[np.uint8]:
        """Make the image of each embedding: inverse transform, mean, rounded and cut to [0, 255].

        Parameters
        ----------
        embeddings : array of shape (n, d)
            Of any finite value.

        Returns
        -------
        array of shape (n, *image_shape), uint8
            Each a function of its own row alone.
        """
        rows = check_embeddings("embeddings", embeddings, self.n_features, "this DCTCodec")
        images = np.empty((len(rows), *self.image_shape), dtype=np.uint8)
        step = self._chunk()
        for first in range(0, len(rows), step):
            images[first : first + step] = self._transform.inverse(rows[first : first + step])
        return images

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codec to a safetensors file, replacing what is there."""
        codec_file.write_dct(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a codec that `save` wrote; ModelFileError if the file is anything else."""
        codec: Self = codec_file.read_dct(cls, path)
        return codec

    def __repr__(self) -> str:
        return f"DCTCodec({self.parameters.words()})"

    def _features(self, images: NDArray[np.uint8]) -> Iterator[NDArray[np.float64]]:
        step = self._chunk()
        for first in range(0, len(images), step):
            yield self._transform.forward(images[first : first + step])

    def _chunk(self) -> int:
        return max(1, CHUNK_PIXELS // int(np.prod(self._transform.padded_shape)))
