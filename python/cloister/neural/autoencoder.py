"""A convolutional autoencoder that was trained on public images: encoder and decoder at once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural import codec_file
from cloister.neural.codec_input import check_embeddings, check_images
from cloister.neural.conv_layers import Architecture
from cloister.neural.padded_batches import in_batches
from cloister.neural.public_data import PublicData
from cloister.neural.row_norms import shorten
from cloister.neural.row_purity import MeasurablePurity
from cloister.neural.torch_device import threads_for, torch_device
from cloister.parameters import check_flag, check_integer, check_real

# A sample of a mixture may lie beyond the bound of embeddings, where a network was never trained:
# beyond so many times the bound it is shortened, so that every finite row has an image.
LARGEST_DECODED = 4.0


class ConvCodec(MeasurablePurity):
    """Encoder and decoder learnt from **public** images: convolutional autoencoder or VAE.

    Made by `train_codec`, or loaded from the file that `save` or `cloister train-codec` wrote.
    Never train one on private images: its weights carry no privacy guarantee.

    An embedding is the latent, less the mean latent of the public images, divided by a radius
    that 99 % of them lie within, times R; what lies beyond is shortened to norm R.

    Parameters
    ----------
    architecture : Architecture
    weights : mapping of str to float32 array
        The network's layers, as `Architecture.shapes` lists them.
    center : array of shape (d,), float64
        Mean latent of the public images.
    radius : float
        Norm of a centred latent that is scaled to norm R.
    norm_bound : float
        Public bound R of an embedding's norm.
    public : PublicData
        Which images it saw.
    training : dict
        How it was trained and its error on held-out public images; JSON values.

    Attributes
    ----------
    id, encoder_id : str
        Digest of architecture, weights and scaling.
    strict : bool, default False
        Whether images are embedded one by one, so that an embedding is by construction a function
        of its own image: `row_purity` is then "strict", and embedding takes a few times as long.
        Otherwise images go through in batches of one fixed size, the last one padded, and
        `row_purity` is "unchecked", or "measured" after a `check_row_purity` without difference.
    device : str, default "cpu"
        Where the network runs: a torch device such as "cuda".
    batch_size : int, default 64
        Images of a batch.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, NDArray[np.float32]],
        *,
        center: NDArray[np.float64],
        radius: float,
        norm_bound: float,
        public: PublicData,
        training: dict[str, Any],
    ) -> None:
        self.architecture = architecture
        self.weights = dict(weights)
        self.center = center
        self.radius = check_real("radius", radius, 0, way_out="above 0", low_open=True)
        self.norm_bound = check_real(
            "norm_bound", norm_bound, 0, 1e6, way_out="such as 1.0", low_open=True
        )
        self.public = public
        self.training = training
        self._id = "convolutional-codec/sha256:" + self._digest()
        self._tensors: tuple[str, dict[str, Any]] | None = None
        self.use()

    def use(self, *, strict: bool = False, device: str = "cpu", batch_size: int = 64) -> Self:
        """Set how images are embedded and decoded; see the attributes of these names."""
        self.strict = check_flag("strict", strict)
        self.batch_size = check_integer("batch_size", batch_size, 1, 2**16, way_out="such as 64")
        self.device = device
        self._measured = False  # it was of other batches, or another device
        return self

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width) or (height, width, 3) in pixels."""
        return self.architecture.image_shape

    @property
    def n_features(self) -> int:
        """Features d of an embedding."""
        return self.architecture.n_features

    @property
    def id(self) -> str:
        """Digest of architecture, weights and scaling."""
        return self._id

    @property
    def encoder_id(self) -> str:
        """The same: it decodes what it encodes."""
        return self._id

    @property
    def public_data(self) -> str:
        """Name, number and digest of the public images that it saw."""
        return self.public.words()

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        batch : array of shape (n, *image_shape), uint8

        Returns
        -------
        array of shape (n, d), float32
            Of norm at most `norm_bound`.

        Raises
        ------
        InvalidType, InvalidInput
            If the images are of another type or shape.
        MissingDependency, DeviceError
            If torch or the device is not at hand.
        """
        images = check_images("batch", batch, self.image_shape)
        centred = self.latents(images) - self.center
        rows = shorten(centred * (self.norm_bound / self.radius), self.norm_bound)
        return rows.astype(np.float32)

    def latents(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the network's own latents of images, neither centred nor shortened."""
        from cloister.neural import conv_run  # noqa: PLC0415 - torch is optional

        weights = self._on_device()
        size = 1 if self.strict else self.batch_size

        def embed(part: NDArray[np.uint8]) -> NDArray[np.float32]:
            return conv_run.latents(weights, self.architecture, part, self.device)

        with threads_for(size * self.architecture.multiply_adds()):
            return in_batches(embed, images, size, (self.n_features,), np.float64)

    def decode(self, embeddings: NDArray[Any]) -> NDArray[np.uint8]:
        """Make the image of each embedding.

        Parameters
        ----------
        embeddings : array of shape (n, d)
            Of any finite value; rows of norm above 4 R are shortened to that.

        Returns
        -------
        array of shape (n, *image_shape), uint8

        Raises
        ------
        InvalidType, InvalidInput
            If they have NaN or infinity, or another number of features.
        MissingDependency, DeviceError
            If torch or the device is not at hand.
        """
        rows = check_embeddings("embeddings", embeddings, self.n_features, "this ConvCodec")
        rows = shorten(rows, LARGEST_DECODED * self.norm_bound)
        latent = rows * (self.radius / self.norm_bound) + self.center
        from cloister.neural import conv_run  # noqa: PLC0415 - torch is optional

        weights = self._on_device()

        def image(part: NDArray[np.float32]) -> NDArray[np.uint8]:
            return conv_run.images(weights, self.architecture, part, self.device)

        single = latent.astype(np.float32)
        size = 1 if self.strict else self.batch_size
        with threads_for(size * self.architecture.multiply_adds()):
            return in_batches(image, single, size, self.image_shape, np.uint8)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codec to a safetensors file, replacing what is there."""
        codec_file.write_conv(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a codec that `save` wrote; ModelFileError if the file is anything else."""
        codec: Self = codec_file.read_conv(cls, path)
        return codec

    def __repr__(self) -> str:
        return f"ConvCodec(image_shape={self.image_shape}, n_features={self.n_features}, {self.id})"

    def _on_device(self) -> dict[str, Any]:
        torch, device = torch_device(self.device)
        if self._tensors is None or self._tensors[0] != str(device):
            moved = {name: torch.from_numpy(w).to(device) for name, w in self.weights.items()}
            self._tensors = (str(device), moved)
        return self._tensors[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_tensors": None}

    def _digest(self) -> str:
        known = json.dumps(self.architecture.to_dict(), sort_keys=True)
        sha256 = hashlib.sha256(f"{known} {self.radius!r} {self.norm_bound!r}".encode())
        arrays: list[tuple[str, NDArray[Any]]] = sorted(self.weights.items())
        for name, array in [*arrays, ("center", self.center)]:
            if not np.isfinite(array).all():
                raise InvalidInput(
                    f"weights: {name!r} has NaN or infinity; train with smaller steps"
                )
            sha256.update(name.encode())
            sha256.update(np.ascontiguousarray(array).tobytes())
        return sha256.hexdigest()
