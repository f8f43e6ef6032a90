"""Gradient descent for the two-layer network: the only file of the probe that needs torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, xlogy

from cloister.errors import InvalidInput
from cloister.neural.closed_form import Units
from cloister.neural.examples import Batch, Examples
from cloister.neural.optional_packages import need_torch
from cloister.neural.torch_device import one_thread_if

if TYPE_CHECKING:
    import torch

# Small sets get smaller batches, so that an epoch is never less than this many steps: the default
# number of epochs then fits 500 rows as well as 50,000.
STEPS_PER_EPOCH = 40
SMALLEST_BATCH = 8
# Share of all steps over which the learning rate rises before its cosine decay
# (Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts).
WARM_UP = 0.1
# Multiply-adds of a step below which torch's threads would mostly wait for each other: beside
# other busy programs that made small networks ten times slower.
SMALL_STEP = 2**27
# Mean divergence (nats) from the soft labels at which a network has nothing left to learn: no
# network has less than 0 (Gibbs' inequality), and at this one probabilities are 0.2 % off at most
# in the mean (Pinsker's inequality).
NOTHING_TO_LEARN = 1e-5


@dataclass(frozen=True)
class Plan:
    """The settings of one training run; see `cloister.neural.Probe` for their meaning."""

    hidden: int
    max_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    dropout: float
    patience: int
    seed: int


@dataclass(frozen=True)
class Trained:
    """The network of the best epoch, and the held-out loss after each epoch."""

    parameters: list[NDArray[np.float32]]  # (d, hidden), (hidden,), (hidden, classes), (classes,)
    held_out_losses: list[float]  # empty where no row was held out, or no epoch was run
    n_epochs: int
    best_epoch: int  # 0: the network that training started from


def train(examples: Examples, n_classes: int, plan: Plan, start: Units | None = None) -> Trained:
    """Minimise the cross entropy with AdamW and keep the epoch of the smallest held-out loss.

    With `start` (for soft labels), the network starts as these units, which take part in the
    selection as epoch 0: a later epoch replaces them only if its held-out loss is smaller by more
    than the standard error of the difference. All randomness comes from a generator of this run:
    torch's global seed is neither read nor moved.
    """
    torch = need_torch("training a Probe")
    # A caller's no_grad or inference_mode would otherwise make the backward pass fail.
    with torch.inference_mode(False), torch.enable_grad():
        run = _Run(torch, examples, n_classes, plan, start)
        small = _batch_rows(plan, examples.n) * examples.d * plan.hidden < SMALL_STEP
        with one_thread_if(small):
            return run.run() if start is None else run.run_from_start()


def _batch_rows(plan: Plan, n: int) -> int:
    return min(plan.batch_size, max(SMALLEST_BATCH, n // STEPS_PER_EPOCH))


class _Run:
    """One training run: network, optimiser and generator."""

    def __init__(
        self, torch: Any, examples: Examples, n_classes: int, plan: Plan, start: Units | None
    ) -> None:
        self.torch, self.examples, self.plan = torch, examples, plan
        self.generator = torch.Generator(device="cpu").manual_seed(plan.seed)
        d = examples.d
        self.parameters = [
            self._uniform(d, d, plan.hidden),
            self._uniform(d, plan.hidden),
            self._uniform(plan.hidden, plan.hidden, n_classes),
            self._uniform(plan.hidden, n_classes),
        ]
        if start is not None:
            self._take(start)
        self.optimiser = torch.optim.AdamW(self.parameters, weight_decay=plan.weight_decay)

    def _random(self, *shape: int) -> torch.Tensor:
        # dtype and device are spelt out because both have process-wide defaults.
        float32 = self.torch.float32
        drawn: torch.Tensor = self.torch.rand(
            *shape, generator=self.generator, dtype=float32, device="cpu"
        )
        return drawn

    def _uniform(self, fan_in: int, *shape: int) -> torch.Tensor:
        """Draw from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the law of `torch.nn.Linear`."""
        return ((2 * self._random(*shape) - 1) / math.sqrt(fan_in)).requires_grad_()

    def _take(self, start: Units) -> None:
        """Make the first hidden units those of `start`, and silence the others and the biases."""
        units = len(start.first_bias)
        first, first_bias, second, second_bias = (p.detach() for p in self.parameters)
        first[:, :units] = self.torch.from_numpy(start.first)
        first_bias[:units] = self.torch.from_numpy(start.first_bias)
        second.zero_()
        second[:units] = self.torch.from_numpy(start.second)
        second_bias.zero_()

    def _shuffle(self, n: int) -> NDArray[np.intp]:
        order = self.torch.randperm(n, generator=self.generator, device="cpu")
        return np.asarray(order.numpy())

    def run_from_start(self) -> Trained:
        at_start = self._divergences()
        if at_start.mean() <= NOTHING_TO_LEARN:
            return Trained(self._snapshot(), [], 0, 0)

        def beats_start() -> bool:
            gain = at_start - self._divergences()
            return bool(gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)))

        return self.run(beats_start)

    def run(self, acceptable: Callable[[], bool] | None = None) -> Trained:
        """Train; with `acceptable`, the initial network stays until it finds a better one so."""
        plan = self.plan
        batch = _batch_rows(plan, self.examples.n)
        n_steps = plan.max_epochs * math.ceil(self.examples.n / batch)
        losses: list[float] = []
        best, best_epoch, step = self._snapshot(), 0, 0
        for epoch in range(1, plan.max_epochs + 1):
            for examples in self.examples.training(epoch, batch, self._shuffle):
                self._step(examples, rate_of_step(plan.learning_rate, step, n_steps))
                step += 1
            if self.examples.n_held_out == 0:
                best, best_epoch = self._snapshot(), epoch
                continue
            losses.append(self._mean_loss())
            smallest = losses[-1] == np.nanmin([np.inf, *losses])
            if smallest and (acceptable is None or acceptable()):
                best, best_epoch = self._snapshot(), epoch
            elif epoch - best_epoch >= plan.patience:
                break
        failed = best_epoch == 0 and acceptable is None
        if failed or not all(np.isfinite(p).all() for p in best):
            raise InvalidInput(
                f"learning_rate={plan.learning_rate}: training diverged in {epoch} epochs, the "
                "loss is not finite; use a smaller one (the default is 0.002)"
            )
        return Trained(best, losses, epoch, best_epoch)

    def _step(self, batch: Batch, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        rows, targets = batch
        logits = self._logits(rows, self.plan.dropout)
        loss = self._cross_entropy(logits, targets)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def _logits(self, rows: NDArray[np.float32], dropout: float) -> Any:
        torch = self.torch
        first, first_bias, second, second_bias = self.parameters
        hidden = torch.relu(torch.from_numpy(rows) @ first + first_bias)
        if dropout > 0:
            hidden = hidden * (self._random(*hidden.shape) >= dropout) / (1 - dropout)
        return hidden @ second + second_bias

    def _cross_entropy(self, logits: Any, targets: NDArray[Any], reduction: str = "mean") -> Any:
        torch = self.torch
        expected = torch.from_numpy(targets)
        return torch.nn.functional.cross_entropy(logits, expected, reduction=reduction)

    def _mean_loss(self) -> float:
        with self.torch.no_grad():
            sums = (
                float(self._cross_entropy(self._logits(rows, 0.0), targets, "sum"))
                for rows, targets in self.examples.held_out(self.plan.batch_size)
            )
            return sum(sums) / self.examples.n_held_out

    def _divergences(self) -> NDArray[np.float64]:
        """Return the Kullback-Leibler divergence (nats) from each held-out row's soft labels."""
        parts = []
        with self.torch.no_grad():
            for rows, targets in self.examples.held_out(self.plan.batch_size):
                logits = self._logits(rows, 0.0).numpy().astype(np.float64)
                wanted = targets.astype(np.float64)
                surplus = xlogy(wanted, wanted) - wanted * log_softmax(logits, axis=1)
                parts.append(surplus.sum(axis=1))
        return np.concatenate(parts)

    def _snapshot(self) -> list[NDArray[np.float32]]:
        return [parameter.detach().numpy().copy() for parameter in self.parameters]


def rate_of_step(peak: float, step: int, n_steps: int) -> float:
    """Learning rate of one step: linear warm-up times cosine decay to zero."""
    warm_up = min(1.0, (step + 1) / max(1.0, WARM_UP * n_steps))
    return peak * warm_up * 0.5 * (1 + math.cos(math.pi * step / n_steps))
