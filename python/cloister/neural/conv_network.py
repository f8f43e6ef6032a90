"""The network of a convolutional codec as functions of named tensors; imported with torch alone.

Each layer is normalised within one image (group norm), never across a batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch.nn import functional

from cloister.neural.conv_layers import GROUPS, Architecture

Tensors = Mapping[str, torch.Tensor]
# Bounds of the logarithm of a feature's variance, so that its exponential stays finite.
LOG_VARIANCE = (-10.0, 10.0)


def initial(architecture: Architecture, seed: int) -> dict[str, torch.Tensor]:
    """Draw weights from U(-b, b), b = sqrt(3 / fan_in), whose variance is 1 / fan_in.

    Drawn by a generator of its own: torch's global one is neither read nor moved.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    drawn = {}
    for name, shape in architecture.shapes().items():
        tensor = torch.zeros(shape, dtype=torch.float32, device="cpu")
        if name.endswith(".gain"):
            tensor += 1
        elif name.endswith(".weight"):
            # A transposed convolution of stride 2 has 4 of its 16 products in each pixel.
            fan_in = 4 * shape[0] if name.startswith("up") else math.prod(shape[1:])
            tensor.uniform_(-1, 1, generator=generator).mul_(math.sqrt(3 / fan_in))
        drawn[name] = tensor
    return drawn


def statistics(weights: Tensors, a: Architecture, pixels: torch.Tensor) -> torch.Tensor:
    """Return the latents of images, shape (n, d); of a variational codec, shape (n, 2 d).

    Parameters
    ----------
    weights : mapping of str to tensor
    a : Architecture
    pixels : tensor of shape (n, colours, height, width)
        In [0, 1].
    """
    hidden = 2 * pixels - 1
    for level in range(len(a.channels())):
        layer = f"down{level}"
        weight, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        hidden = functional.conv2d(hidden, weight, bias, stride=1 if level == 0 else 2, padding=1)
        hidden = _activate(weights, layer, hidden)
    flat = hidden.flatten(1)
    return functional.linear(flat, weights["to_latent.weight"], weights["to_latent.bias"])


def latents(weights: Tensors, a: Architecture, pixels: torch.Tensor) -> torch.Tensor:
    """Return the latents of images, shape (n, d): of a variational codec, the posterior means."""
    return statistics(weights, a, pixels)[:, : a.n_features]


def pixels_of(weights: Tensors, a: Architecture, latent: torch.Tensor) -> torch.Tensor:
    """Return images in [0, 1], of shape (n, colours, height, width), of latents (n, d)."""
    sizes, channels = a.sizes(), a.channels()
    flat = functional.linear(latent, weights["from_latent.weight"], weights["from_latent.bias"])
    hidden = functional.silu(flat).view(-1, channels[-1], *sizes[-1])
    for level in range(len(channels) - 1, 0, -1):
        layer = f"up{level}"
        weight, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        hidden = functional.conv_transpose2d(hidden, weight, bias, stride=2, padding=1)
        height, width = sizes[level - 1]
        hidden = _activate(weights, layer, hidden[:, :, :height, :width])
    last = functional.conv2d(hidden, weights["image.weight"], weights["image.bias"], padding=1)
    return torch.sigmoid(last)


def _activate(weights: Tensors, layer: str, hidden: torch.Tensor) -> torch.Tensor:
    gain, shift = weights[f"{layer}.gain"], weights[f"{layer}.shift"]
    return functional.silu(functional.group_norm(hidden, GROUPS, gain, shift))


def loss(
    weights: Tensors,
    a: Architecture,
    pixels: torch.Tensor,
    kl_weight: float,
    edge_weight: float,
    noise: torch.Tensor | None,
) -> torch.Tensor:
    """Return the training loss of a batch.

    Mean squared error of the pixels, plus `edge_weight` times that of their differences to the
    right and below, plus `kl_weight` times the Kullback-Leibler divergence of the posterior from
    N(0, I) a pixel (Kingma and Welling 2014, equation 10, with the likelihood N(x, sigma^2 I) times
    2 sigma^2 / pixels: kl_weight = 2 sigma^2).

    Parameters
    ----------
    noise : tensor of shape (n, d) or None
        Standard normal, of a variational codec.
    """
    found = statistics(weights, a, pixels)
    latent = found[:, : a.n_features]
    total = torch.zeros((), device=pixels.device)
    if noise is not None:
        log_variance = found[:, a.n_features :].clamp(*LOG_VARIANCE)
        divergence = 0.5 * (latent.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        total = total + kl_weight * divergence.mean() / pixels[0].numel()
        latent = latent + noise * (0.5 * log_variance).exp()
    error = pixels_of(weights, a, latent) - pixels
    total = total + error.square().mean()
    if edge_weight > 0:
        across = error[..., :, 1:] - error[..., :, :-1]
        down = error[..., 1:, :] - error[..., :-1, :]
        total = total + edge_weight * (across.square().mean() + down.square().mean())
    return total
