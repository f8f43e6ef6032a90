"""One training of a convolutional codec: weights, Adam and epochs; imported with torch alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural import conv_network, conv_run
from cloister.neural.codec_plan import CodecPlan
from cloister.neural.conv_layers import Architecture
from cloister.neural.padded_batches import in_batches
from cloister.neural.torch_device import pixel_tensor, threads_for

# Share of all steps over which the learning rate rises before its cosine decay.
WARM_UP = 0.05
SHOWN_IMAGES = 16
MEASURED_AT_ONCE = 128
ADAM_STATES = ("exp_avg", "exp_avg_sq")


@dataclass
class TrainingState:
    """All that the rest of a training follows from, at the end of an epoch."""

    epoch: int = 0
    steps: int = 0
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    # Adam's running means of gradients and of their squares, by "exp_avg.<layer>" and so on.
    moments: dict[str, NDArray[np.float32]] = field(default_factory=dict)


class CodecRun:
    """Network, optimiser and public images of one training."""

    def __init__(
        self,
        architecture: Architecture,
        plan: CodecPlan,
        images: NDArray[np.uint8],
        rows: NDArray[np.intp],
        held_out: NDArray[np.uint8],
        device: str,
    ) -> None:
        self.architecture, self.plan, self.device = architecture, plan, device
        self.images, self.rows, self.held_out = images, rows, held_out
        self.epoch = self.steps = 0
        self.steps_per_epoch = math.ceil(len(rows) / plan.batch_size)
        drawn = conv_network.initial(architecture, _key(plan.seed, 0))
        self._weights = {name: w.to(device).requires_grad_() for name, w in drawn.items()}
        self._optimiser = torch.optim.Adam(self._weights.values(), lr=plan.learning_rate)

    def run_epoch(self, on_step: Callable[[], None]) -> float:
        """Go once over the images, in an order keyed by the epoch, and return the mean loss."""
        self.epoch += 1
        order = np.random.default_rng([self.plan.seed, self.epoch]).permutation(self.rows)
        noise = torch.Generator(device="cpu").manual_seed(_key(self.plan.seed, self.epoch))
        total = 0.0
        with self._threads(self.plan.batch_size):
            for first in range(0, len(order), self.plan.batch_size):
                # Sorted: what is in the batch counts, and a memory map is read in one direction.
                rows = np.sort(order[first : first + self.plan.batch_size])
                total += self._step(self.images[rows], noise) * len(rows)
                on_step()
        mean = total / len(self.rows)
        if not math.isfinite(mean):
            raise InvalidInput(
                f"learning_rate={self.plan.learning_rate}: training diverged in epoch "
                f"{self.epoch}, the loss is not finite; use a smaller one (the default is 0.002)"
            )
        return mean

    def _step(self, images: NDArray[np.uint8], generator: torch.Generator) -> float:
        plan, a = self.plan, self.architecture
        n_steps = plan.epochs * self.steps_per_epoch
        for group in self._optimiser.param_groups:
            group["lr"] = _rate(plan.learning_rate, self.steps, n_steps)
        noise = None
        if a.variational:
            shape = (len(images), a.n_features)
            noise = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
            noise = noise.to(self.device)
        pixels = pixel_tensor(images, self.device)
        loss: Any = conv_network.loss(
            self._weights, a, pixels, plan.kl_weight, plan.edge_weight, noise
        )
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self.steps += 1
        return float(loss.detach())

    def held_out_error(self) -> float | None:
        """Return the root mean square error of the held-out images in grey levels, or None."""
        if len(self.held_out) == 0:
            return None
        made = self._reconstruct(self.held_out)
        difference = made.astype(np.float64) - self.held_out
        return math.sqrt(float(np.square(difference).mean()))

    def shown(self) -> NDArray[np.uint8]:
        """Return the public images of the pictures: held-out ones where there are any."""
        return (self.held_out if len(self.held_out) else self.images)[:SHOWN_IMAGES]

    def reconstructions(self) -> NDArray[np.uint8]:
        """Return what the network makes of `shown`."""
        return self._reconstruct(self.shown())

    def _reconstruct(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        a = self.architecture

        def there_and_back(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
            latents = conv_run.latents(self._weights, a, part, self.device)
            return conv_run.images(self._weights, a, latents, self.device)

        with self._threads(MEASURED_AT_ONCE):
            return in_batches(there_and_back, images, MEASURED_AT_ONCE, a.image_shape, np.uint8)

    def _threads(self, n_images: int) -> AbstractContextManager[None]:
        return threads_for(3 * n_images * self.architecture.multiply_adds())

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return a copy of the weights."""
        return {name: w.detach().cpu().numpy().copy() for name, w in self._weights.items()}

    def state(self) -> TrainingState:
        """Return what `take` needs to go on from here."""
        moments = {
            f"{kind}.{name}": self._optimiser.state[w][kind].cpu().numpy().copy()
            for name, w in self._weights.items()
            for kind in ADAM_STATES
        }
        return TrainingState(self.epoch, self.steps, self.weights(), moments)

    def take(self, state: TrainingState | None) -> None:
        """Go on from a state; from the start if that is None."""
        if state is None:
            return
        self.epoch, self.steps = state.epoch, state.steps
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(torch.from_numpy(state.weights[name]))
                self._optimiser.state[weight] = {
                    "step": torch.tensor(float(state.steps), dtype=torch.float32),
                    **{
                        kind: torch.from_numpy(state.moments[f"{kind}.{name}"].copy()).to(weight)
                        for kind in ADAM_STATES
                    },
                }


def _rate(peak: float, step: int, n_steps: int) -> float:
    """Learning rate of one step: linear warm-up times cosine decay to zero."""
    warm_up = min(1.0, (step + 1) / max(1.0, WARM_UP * n_steps))
    return peak * warm_up * 0.5 * (1 + math.cos(math.pi * step / n_steps))


def _key(seed: int, epoch: int) -> int:
    """Return a seed of torch for each seed and epoch."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
