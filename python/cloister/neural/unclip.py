"""Images of CLIP image embeddings, by a Stable unCLIP pipeline of the diffusers library."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.codec_input import check_embeddings
from cloister.neural.diffusers_loading import (
    EXTRA,
    as_dtype,
    check_class,
    check_source,
    faults,
    load_whole,
    low_memory,
    moved,
    public_name,
)
from cloister.neural.network import state_digest
from cloister.neural.optional_packages import need
from cloister.neural.row_norms import row_norms
from cloister.neural.torch_device import torch_device
from cloister.parameters import check_integer, check_real

MULTIPLE = 8  # of a side in pixels: the pipeline's own rule


class UnCLIPDecoder:
    """Decoder of CLIP image embeddings: a diffusion model that is conditioned on them.

    Stable unCLIP (diffusers `StableUnCLIPImg2ImgPipeline`; Ramesh et al. 2022) draws an image for
    an embedding. Mixtures hold embeddings scaled to unit norm, the pipeline expects those of CLIP
    itself: of each row only its direction is taken, and it is given `embedding_norm`. By default
    that is the root mean square norm of the embeddings that the pipeline was trained on, read off
    its own normaliser, sqrt(sum(mean^2 + std^2)): a public constant.

    The noise that an image starts from is keyed by `seed` and the embedding's bits, so an image is
    a function of its embedding, wherever in a batch it stands; another seed draws other images.

    Parameters
    ----------
    name_or_folder : str or path
        A folder that `save_pretrained` wrote, or a name on the hub such as "owner/model", of safe
        tensors only: nothing that is loaded is executed.
    encoder_id : str
        `id` of the encoder whose embeddings these are: it must be the CLIP model that the pipeline
        was trained with, its own `image_encoder`.
    embedding_norm : float or None, default=None
        Norm of the embeddings that are given to the pipeline.
    noise_level : int, default=0
        Noise that the pipeline adds to embeddings, as a step of its schedule; more of it gives
        more varied images.
    num_inference_steps : int, default=20
    guidance_scale : float, default=10.0
        Weight of the condition; at most 1 leaves classifier-free guidance out.
    prompt : str, default=""
        Public text to guide all images.
    image_size : int or None, default=None
        Side in pixels, a multiple of 8; None takes the pipeline's own.
    seed : int, default=0
    batch_size : int, default=1
        Images drawn together. Above 1 an image may differ in the last bits with its batch.
    dtype : {"float32", "float16", "bfloat16"}, default="float32"
    device : str, default="cpu"
        A torch device.
    revision : str or None, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        Whether to open no connection.

    Attributes
    ----------
    id : str
        Digest of the weights, and what else decides an image.
    n_features : int
        Features of a CLIP embedding.
    image_shape : tuple of int
        (height, width, 3).
    embedding_norm : float
    public_data : str
        The name or folder: what the model saw is for its authors to say.

    Raises
    ------
    ModelFileError
        If there is no such pipeline, or it is damaged, incomplete or of another class.
    InvalidInput, InvalidType
        Naming the argument.
    MissingDependency, DeviceError
        If diffusers, transformers, torch or the device is not at hand.
    """

    def __init__(
        self,
        name_or_folder: str | os.PathLike[str],
        *,
        encoder_id: str,
        embedding_norm: float | None = None,
        noise_level: int = 0,
        num_inference_steps: int = 20,
        guidance_scale: float = 10.0,
        prompt: str = "",
        image_size: int | None = None,
        seed: int = 0,
        batch_size: int = 1,
        dtype: str = "float32",
        device: str = "cpu",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        if not isinstance(encoder_id, str) or not encoder_id:
            raise InvalidType(f"encoder_id must be the `id` of a CLIP encoder, got {encoder_id!r}")
        if not isinstance(prompt, str):
            raise InvalidType(f"prompt must be a text, got {type(prompt).__name__}")
        self.encoder_id, self._prompt = encoder_id, prompt
        self._steps = check_integer(
            "num_inference_steps", num_inference_steps, 1, 1000, way_out="such as 20"
        )
        self._guidance = check_real("guidance_scale", guidance_scale, 0, 1e3, way_out="such as 10")
        self._seed = check_integer("seed", seed, 0, 2**63 - 1, way_out="such as 0")
        self._batch = check_integer("batch_size", batch_size, 1, 4096, way_out="such as 1")
        source = check_source(name_or_folder)
        self._torch, self._device = torch_device(device)
        as_dtype(self._torch, dtype)
        self._pipeline = _load(source, {"revision": revision, "local_files_only": local_files_only})
        self._check_noise_level(noise_level)
        self.embedding_norm = self._expected_norm(embedding_norm)
        self.n_features = int(self._pipeline.image_normalizer.config.embedding_dim)
        self.image_shape = self._shape(image_size)
        names = ("unet", "vae", "text_encoder", "image_normalizer")
        parts = " ".join(state_digest(getattr(self._pipeline, name)) for name in names)
        digest = hashlib.sha256(parts.encode()).hexdigest()
        choices = (self.embedding_norm, self._noise_level, self._steps, self._guidance, prompt)
        self.id = f"StableUnCLIP/sha256:{digest}/{self.image_shape}/{choices!r}/seed={self._seed}"
        self.public_data = f"that of {public_name(source)}"
        self._dtype = as_dtype(self._torch, dtype)
        moved(self._pipeline, self._torch, self._device, self._dtype)
        self._pipeline.set_progress_bar_config(disable=True)

    def _check_noise_level(self, noise_level: int) -> None:
        steps = self._pipeline.image_noising_scheduler.config.num_train_timesteps
        self._noise_level = check_integer(
            "noise_level", noise_level, 0, steps - 1, way_out="0 adds the least noise"
        )

    def _expected_norm(self, given: float | None) -> float:
        normalizer = self._pipeline.image_normalizer
        with self._torch.no_grad():
            moments = normalizer.mean.double().square() + normalizer.std.double().square()
            expected = float(moments.sum().sqrt())
        if given is None:
            given = expected
        return check_real(
            "embedding_norm", given, 0, 1e6, way_out="or None for the pipeline's", low_open=True
        )

    def _shape(self, image_size: int | None) -> tuple[int, int, int]:
        pipeline = self._pipeline
        side = image_size
        if side is None:
            side = int(pipeline.unet.config.sample_size) * int(pipeline.vae_scale_factor)
        side = check_integer("image_size", side, MULTIPLE, 8192, way_out="a side in pixels")
        if side % MULTIPLE:
            raise InvalidInput(
                f"image_size={side} is no multiple of {MULTIPLE}; take {side - side % MULTIPLE}"
            )
        return (side, side, 3)

    def decode(self, embeddings: NDArray[Any]) -> NDArray[np.uint8]:
        """Draw the image of each embedding.

        Parameters
        ----------
        embeddings : array of shape (n, d)
            CLIP image embeddings or a mixture's samples; only their directions matter.

        Returns
        -------
        array of shape (n, height, width, 3), uint8

        Raises
        ------
        InvalidType, InvalidInput
            If they have NaN or infinity, or another number of features.
        """
        rows = check_embeddings("embeddings", embeddings, self.n_features, "this UnCLIPDecoder")
        norms = row_norms(rows)[:, None]
        scaled = (rows / np.where(norms > 0, norms, 1) * self.embedding_norm).astype(np.float32)
        images = np.empty((len(scaled), *self.image_shape), dtype=np.uint8)
        for first in range(0, len(scaled), self._batch):
            images[first : first + self._batch] = self._draw(scaled[first : first + self._batch])
        return images

    def _draw(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        height, width, _ = self.image_shape
        drawn = self._pipeline(
            prompt=[self._prompt] * len(rows),
            image_embeds=self._torch.from_numpy(rows).to(self._device, self._dtype),
            generator=[self._generator(row) for row in rows],
            noise_level=self._noise_level,
            num_inference_steps=self._steps,
            guidance_scale=self._guidance,
            height=height,
            width=width,
            output_type="np",
        ).images
        levels = np.nan_to_num(np.asarray(drawn, dtype=np.float64), nan=0.0)
        return np.asarray(np.clip(np.rint(255 * levels), 0, 255).astype(np.uint8))

    def _generator(self, row: NDArray[np.float32]) -> Any:
        # Drawn on the CPU, so that the noise of an embedding is the same on every device.
        key = hashlib.sha256(f"{self._seed} ".encode() + row.tobytes()).digest()
        return self._torch.Generator(device="cpu").manual_seed(int.from_bytes(key[:7], "little"))


def _load(source: str, options: dict[str, Any]) -> Any:
    """Return the pipeline; its networks are loaded one by one, to see that none lacks weights."""
    purpose = "a Stable unCLIP pipeline"
    diffusers, transformers = (need(name, purpose, EXTRA) for name in ("diffusers", "transformers"))
    kind = diffusers.StableUnCLIPImg2ImgPipeline
    check_class(kind, source, options)
    normalizers = need(
        "diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer", purpose, EXTRA
    )
    parts = {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
        "image_normalizer": normalizers.StableUnCLIPImageNormalizer,
    }
    loaded = {
        name: load_whole(part, source, {**options, **low_memory(), "subfolder": name})
        for name, part in parts.items()
    }
    text = {**options, "subfolder": "text_encoder"}
    loaded["text_encoder"] = load_whole(transformers.CLIPTextModel, source, text)
    with faults(source, kind.__name__, options):
        return kind.from_pretrained(
            source, use_safetensors=True, **low_memory(), **loaded, **options
        )
