"""The latents of a diffusers AutoencoderKL as embeddings, and images of them."""

from __future__ import annotations

import os
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, ModelFileError
from cloister.neural.codec_input import check_embeddings, check_images
from cloister.neural.diffusers_loading import (
    EXTRA,
    as_dtype,
    check_class,
    check_source,
    load_whole,
    low_memory,
    moved,
    public_name,
)
from cloister.neural.network import state_digest
from cloister.neural.optional_packages import need
from cloister.neural.padded_batches import in_batches
from cloister.neural.row_norms import shorten
from cloister.neural.row_purity import MeasurablePurity
from cloister.neural.torch_device import torch_device
from cloister.parameters import check_flag, check_integer, check_real

LARGEST_DECODED = 4.0  # times R: samples beyond are shortened, see `ConvCodec`


class AutoencoderKLDecoder(MeasurablePurity):
    """Encoder and decoder by the autoencoder of a latent diffusion model (Rombach et al. 2022).

    An embedding is the mean of the posterior, less the model's `shift_factor` and times its
    `scaling_factor`, which give latents a standard deviation near 1; flattened to d = channels *
    height * width of the latent; and divided by `rms_bound * sqrt(d)`, times R. Rows of more than
    that are shortened to norm R.

    Parameters
    ----------
    name_or_folder : str or path
        A folder that `save_pretrained` wrote, or a name on the hub such as "owner/model", of safe
        tensors only: nothing that is loaded is executed.
    subfolder : str, default=""
        Where the autoencoder lies in a pipeline's folder: "vae".
    image_size : int, tuple (height, width) of int, or None, default=None
        Of images in pixels, multiples of the model's reduction; None takes the model's own.
    norm_bound : float, default=1.0
        Public bound R of an embedding's norm.
    rms_bound : float, default=1.5
        Root mean square of a scaled latent's values that has norm R; a public guess.
    strict : bool, default=False
        Whether images are embedded one by one, so that `row_purity` is "strict"; otherwise it is
        "unchecked", or "measured" after a `check_row_purity` without difference.
    batch_size : int, default=8
        Images of a call otherwise; the last batch is padded.
    dtype : {"float32", "float16", "bfloat16"}, default="float32"
    device : str, default="cpu"
        A torch device.
    revision : str or None, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        Whether to open no connection.

    Attributes
    ----------
    id, encoder_id : str
        Digest of the weights, and the scaling.
    image_shape : tuple of int
        (height, width, 3); (height, width) of a model of one channel.
    latent_shape : tuple of int
        (channels, height, width).
    n_features : int
    public_data : str
        The name or folder: what the model saw is for its authors to say.

    Raises
    ------
    ModelFileError
        If there is no such model, or it is damaged, incomplete or of another class.
    InvalidInput, InvalidType
        Naming the argument.
    MissingDependency, DeviceError
        If diffusers, torch or the device is not at hand.
    """

    def __init__(
        self,
        name_or_folder: str | os.PathLike[str],
        *,
        subfolder: str = "",
        image_size: int | tuple[int, int] | None = None,
        norm_bound: float = 1.0,
        rms_bound: float = 1.5,
        strict: bool = False,
        batch_size: int = 8,
        dtype: str = "float32",
        device: str = "cpu",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.norm_bound = check_real(
            "norm_bound", norm_bound, 0, 1e6, way_out="such as 1.0", low_open=True
        )
        self._rms_bound = check_real(
            "rms_bound", rms_bound, 0, 1e6, way_out="such as 1.5", low_open=True
        )
        self.strict = check_flag("strict", strict)
        self.batch_size = check_integer("batch_size", batch_size, 1, 4096, way_out="such as 8")
        source = check_source(name_or_folder)
        diffusers = need("diffusers", "an AutoencoderKL", EXTRA)
        self._torch, self._device = torch_device(device)
        self._dtype = as_dtype(self._torch, dtype)
        options = {"revision": revision, "local_files_only": local_files_only}
        if subfolder:
            options["subfolder"] = subfolder
        check_class(diffusers.AutoencoderKL, source, options)
        model = load_whole(diffusers.AutoencoderKL, source, {**options, **low_memory()})
        self._digest = state_digest(model)
        self._model = moved(model, self._torch, self._device, self._dtype)
        self.image_shape, self.latent_shape = _shapes(model.config, image_size)
        self.n_features = prod(self.latent_shape)
        self._shift = float(model.config.shift_factor or 0.0)
        self._scale = float(model.config.scaling_factor)
        self.public_data = f"that of {public_name(source)}" + (f"/{subfolder}" if subfolder else "")

    @property
    def id(self) -> str:
        """Digest of the weights, and the scaling."""
        size = "x".join(map(str, self.image_shape))
        bounds = f"rms={self._rms_bound!r}/R={self.norm_bound!r}"
        scaling = f"scale={self._scale!r}/shift={self._shift!r}"
        return f"AutoencoderKL/sha256:{self._digest}/{size}/{scaling}/{bounds}"

    @property
    def encoder_id(self) -> str:
        """The same: it decodes what it encodes."""
        return self.id

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed images of shape (n, *image_shape), uint8, as float32 of shape (n, d)."""
        images = check_images("batch", batch, self.image_shape)
        rows = in_batches(self._encode, images, self._rows(), (self.n_features,), np.float64)
        rows *= self.norm_bound / (self._rms_bound * sqrt(self.n_features))
        return shorten(rows, self.norm_bound).astype(np.float32)

    def _encode(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        torch = self._torch
        with torch.inference_mode():
            pixels = torch.from_numpy(images).to(self._device, self._dtype) / 127.5 - 1
            pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
            mean = self._model.encode(pixels.contiguous()).latent_dist.mode()
            scaled = (mean.float() - self._shift) * self._scale
        return np.asarray(scaled.flatten(1).cpu().numpy())

    def decode(self, embeddings: NDArray[Any]) -> NDArray[np.uint8]:
        """Make images, uint8 of shape (n, *image_shape), of finite embeddings of shape (n, d).

        Rows of norm above 4 R are shortened to that.

        Raises
        ------
        InvalidType, InvalidInput
            If they have NaN or infinity, or another number of features.
        """
        rows = check_embeddings("embeddings", embeddings, self.n_features, "this AutoencoderKL")
        rows = shorten(rows, LARGEST_DECODED * self.norm_bound)
        rows *= self._rms_bound * sqrt(self.n_features) / self.norm_bound
        latents = (rows / self._scale + self._shift).astype(np.float32)
        return in_batches(self._decode, latents, self._rows(), self.image_shape, np.uint8)

    def _decode(self, latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        torch = self._torch
        with torch.inference_mode():
            batch = torch.from_numpy(latents).to(self._device, self._dtype)
            sample = self._model.decode(batch.view(-1, *self.latent_shape)).sample.float()
            levels = ((sample / 2 + 0.5) * 255).nan_to_num(0.0).round().clamp(0, 255)
            images = levels.to(torch.uint8).permute(0, 2, 3, 1)
        return np.asarray(images.reshape(-1, *self.image_shape).cpu().numpy())

    def _rows(self) -> int:
        return 1 if self.strict else self.batch_size


def _shapes(config: Any, image_size: Any) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    """Return the shapes of images and of latents."""
    if config.in_channels not in (1, 3) or config.out_channels != config.in_channels:
        raise ModelFileError(
            f"name_or_folder: a model from {config.in_channels} to {config.out_channels} channels "
            "makes no images; 1 or 3 are needed"
        )
    if not config.scaling_factor:
        raise ModelFileError(
            f"name_or_folder: scaling_factor={config.scaling_factor!r} in the model's config, but "
            "a number other than 0 is needed"
        )
    size = config.sample_size if image_size is None else image_size
    sides = (size, size) if not isinstance(size, tuple | list) else tuple(size)
    reduction = 2 ** (len(config.block_out_channels) - 1)
    if len(sides) != 2:
        raise InvalidInput(f"image_size={size!r} must be a number of pixels, or (height, width)")
    for side in sides:
        check_integer("image_size", side, reduction, 8192, way_out="a side in pixels")
        if side % reduction:
            raise InvalidInput(
                f"image_size={size!r}: {side} is no multiple of the model's reduction, "
                f"{reduction}; take {side - side % reduction}"
            )
    height, width = int(sides[0]), int(sides[1])
    latent = (int(config.latent_channels), height // reduction, width // reduction)
    return ((height, width, 3) if config.in_channels == 3 else (height, width)), latent
