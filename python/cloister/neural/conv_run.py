"""The network of a convolutional codec on arrays of numpy; imported with torch alone."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cloister.neural.conv_layers import Architecture
from cloister.neural.conv_network import Tensors, pixels_of
from cloister.neural.conv_network import latents as latents_of
from cloister.neural.torch_device import pixel_tensor


def as_images(pixels: torch.Tensor, image_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return pixels in [0, 1] as images of uint8, of shape (n, *image_shape)."""
    levels = (pixels * 255).round().clamp(0, 255).to(torch.uint8)
    batch = levels.permute(0, 2, 3, 1).reshape(-1, *image_shape)
    return np.asarray(batch.cpu().numpy())


def _float32(device: str) -> AbstractContextManager[Any]:
    """Leave a caller's autocast outside: an id tells of no other precision."""
    return torch.autocast(torch.device(device).type, enabled=False)


def latents(
    weights: Tensors, a: Architecture, images: NDArray[np.uint8], device: str
) -> NDArray[np.float32]:
    """Return the latents of one batch of images, shape (n, d)."""
    with torch.inference_mode(), _float32(device):
        return np.asarray(latents_of(weights, a, pixel_tensor(images, device)).cpu().numpy())


def images(
    weights: Tensors, a: Architecture, latent: NDArray[np.float32], device: str
) -> NDArray[np.uint8]:
    """Return the images of one batch of latents."""
    with torch.inference_mode(), _float32(device):
        moved = torch.from_numpy(latent).to(device)
        return as_images(pixels_of(weights, a, moved), a.image_shape)
