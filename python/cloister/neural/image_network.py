"""The small convolutional network that judges synthetic images, and how it is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural.optional_packages import need_torch
from cloister.neural.torch_device import pixel_tensor, threads_for
from cloister.neural.training import rate_of_step

# Channels of one group of `GroupNorm` (Wu and He 2018): statistics of one image alone, unlike
# those of batch norm, which would be of synthetic images while real ones are judged.
GROUP = 4
CELLS = 4  # of the last map, along a side
DROPOUT = 0.2  # before the last layer


@dataclass(frozen=True)
class ImagePlan:
    """The settings of one training; see `cloister.neural.ImageClassifier`."""

    width: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    shift: int
    noise: float
    seed: int


def network(channels: int, width: int, n_classes: int) -> Any:
    """Return four convolutions and a linear layer, for images of shape (channels, any, any)."""
    torch = need_torch("an ImageClassifier")
    nn = torch.nn

    def block(before: int, after: int, size: int, stride: int = 1) -> list[Any]:
        convolution = nn.Conv2d(before, after, size, stride, padding=size // 2)
        return [convolution, nn.GroupNorm(after // GROUP, after), nn.ReLU()]

    layers = nn.Sequential(
        *block(channels, width, 5, 2),
        *block(width, 2 * width, 3),
        nn.MaxPool2d(2, ceil_mode=True),
        *block(2 * width, 4 * width, 3),
        *block(4 * width, 4 * width, 3),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(CELLS),
        nn.Flatten(),
        nn.Dropout(DROPOUT),
        nn.Linear(4 * width * CELLS**2, n_classes),
    )
    return layers.to(memory_format=torch.channels_last)


def train(images: NDArray[np.uint8], targets: NDArray[Any], n_classes: int, plan: ImagePlan) -> Any:
    """Return a network trained by AdamW on images and their classes or soft labels.

    Torch's global generator is left as it was found.
    """
    torch = need_torch("training an ImageClassifier")
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(plan.seed)
        with threads_for(multiply_adds(images.shape[1:], plan)):
            return _train(torch, images, targets, n_classes, plan)


def multiply_adds(image_shape: tuple[int, ...], plan: ImagePlan) -> int:
    """Return about how many multiply-adds a step takes."""
    pixels, w = image_shape[0] * image_shape[1], plan.width
    an_image = pixels // 4 * (25 * w + 18 * w * w) + pixels // 16 * (72 + 144) * w * w
    return 3 * plan.batch_size * an_image


def _train(
    torch: Any, images: NDArray[np.uint8], targets: NDArray[Any], n_classes: int, plan: ImagePlan
) -> Any:
    channels = 1 if images.ndim == 3 else images.shape[3]
    net = network(channels, plan.width, n_classes)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=plan.weight_decay)
    n_steps, step = plan.epochs * math.ceil(len(images) / plan.batch_size), 0
    for _ in range(plan.epochs):
        order = torch.randperm(len(images)).numpy()
        for first in range(0, len(images), plan.batch_size):
            chosen = order[first : first + plan.batch_size]
            for group in optimiser.param_groups:
                group["lr"] = rate_of_step(plan.learning_rate, step, n_steps)
            pixels = _augmented(torch, pixel_tensor(images[chosen]), plan)
            expected = torch.from_numpy(targets[chosen])
            loss = torch.nn.functional.cross_entropy(net(pixels), expected)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
    if not all(bool(parameter.isfinite().all()) for parameter in net.parameters()):
        raise InvalidInput(
            f"learning_rate={plan.learning_rate}: training diverged, weights are not finite; use a "
            "smaller one (the default is 0.003)"
        )
    return net.eval()


def _augmented(torch: Any, pixels: Any, plan: ImagePlan) -> Any:
    """Move each image by up to `shift` pixels, and add noise of a strength drawn for each."""
    if plan.shift:
        pixels = _shifted(torch, pixels, plan.shift)
    if plan.noise:
        strength = plan.noise * torch.rand(len(pixels), 1, 1, 1)
        pixels = pixels + strength * torch.randn(pixels.shape)
    return pixels


def _shifted(torch: Any, pixels: Any, shift: int) -> Any:
    n, channels, height, width = pixels.shape
    wide = torch.nn.functional.pad(pixels, (shift,) * 4)
    moves = torch.randint(0, 2 * shift + 1, (2, n, 1))
    rows = (moves[0] + torch.arange(height))[:, None, :, None]
    columns = (moves[1] + torch.arange(width))[:, None, None, :]
    which, channel = torch.arange(n)[:, None, None, None], torch.arange(channels)[None, :, None]
    return wide[which, channel[..., None], rows, columns]


def logits(net: Any, images: NDArray[np.uint8], batch_size: int) -> Iterator[NDArray[np.float64]]:
    """Yield what the network says of each batch of images, shape (rows, classes)."""
    torch = need_torch("an ImageClassifier")
    with torch.inference_mode(), threads_for(0):
        for first in range(0, len(images), batch_size):
            part = pixel_tensor(images[first : first + batch_size])
            yield net(part).numpy().astype(np.float64)
