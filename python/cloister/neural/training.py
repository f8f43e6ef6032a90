"""Gradient descent for the two-layer network: the only file of the probe that needs torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, MissingDependency

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
    held_out_losses: list[float]  # empty where no row was held out
    n_epochs: int
    best_epoch: int


def train(
    rows_at: Callable[[NDArray[np.intp]], NDArray[np.float32]],
    targets: NDArray[np.int64],
    parts: tuple[NDArray[np.intp], NDArray[np.intp]],
    n_classes: int,
    plan: Plan,
) -> Trained:
    """Minimise the cross entropy with AdamW and keep the epoch of the smallest held-out loss.

    `parts` are the indices to train on and those held out. Rows are asked for one batch at a
    time through `rows_at(indices)`, already standardised, so the whole set is never copied. All
    randomness comes from a generator of this run: torch's global seed is neither read nor moved.
    """
    torch = import_torch()
    # A caller's no_grad or inference_mode would otherwise make the backward pass fail.
    with torch.inference_mode(False), torch.enable_grad():
        run = _Run(torch, rows_at, targets, n_classes, plan)
        d = run.parameters[0].shape[0]
        small = _batch_rows(plan, len(parts[0])) * d * plan.hidden < SMALL_STEP
        with _one_thread_if(small, torch):
            return run.run(*parts)


def _batch_rows(plan: Plan, n: int) -> int:
    return min(plan.batch_size, max(SMALLEST_BATCH, n // STEPS_PER_EPOCH))


@contextmanager
def _one_thread_if(small: bool, torch: Any) -> Iterator[None]:
    before = torch.get_num_threads()
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def import_torch() -> Any:
    """Return the torch module, or raise MissingDependency saying how to get it."""
    try:
        import torch  # noqa: PLC0415 - optional and slow to import
    except ImportError as error:
        raise MissingDependency(
            'training a Probe needs torch, which is not installed: pip install "cloister[torch]"'
        ) from error
    return torch


class _Run:
    """One training run: network, optimiser and generator."""

    def __init__(
        self,
        torch: Any,
        rows_at: Callable[[NDArray[np.intp]], NDArray[np.float32]],
        targets: NDArray[np.int64],
        n_classes: int,
        plan: Plan,
    ) -> None:
        self.torch, self.rows_at, self.targets, self.plan = torch, rows_at, targets, plan
        self.generator = torch.Generator(device="cpu").manual_seed(plan.seed)
        d = rows_at(np.zeros(1, dtype=np.intp)).shape[1]
        self.parameters = [
            self._uniform(d, d, plan.hidden),
            self._uniform(d, plan.hidden),
            self._uniform(plan.hidden, plan.hidden, n_classes),
            self._uniform(plan.hidden, n_classes),
        ]
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

    def run(self, training: NDArray[np.intp], held_out: NDArray[np.intp]) -> Trained:
        plan = self.plan
        batch = _batch_rows(plan, len(training))
        n_steps = plan.max_epochs * math.ceil(len(training) / batch)
        losses: list[float] = []
        best, best_epoch, step = self._snapshot(), 0, 0
        for epoch in range(1, plan.max_epochs + 1):
            shuffle = self.torch.randperm(len(training), generator=self.generator, device="cpu")
            order = training[shuffle.numpy()]
            for start in range(0, len(order), batch):
                self._step(order[start : start + batch], _rate(plan.learning_rate, step, n_steps))
                step += 1
            if len(held_out) == 0:
                best, best_epoch = self._snapshot(), epoch
                continue
            losses.append(self._mean_loss(held_out, plan.batch_size))
            if losses[-1] == np.nanmin([np.inf, *losses]):
                best, best_epoch = self._snapshot(), epoch
            elif epoch - best_epoch >= plan.patience:
                break
        if best_epoch == 0 or not all(np.isfinite(p).all() for p in best):
            raise InvalidInput(
                f"learning_rate={plan.learning_rate}: training diverged in {epoch} epochs, the "
                "loss is not finite; use a smaller one (the default is 0.002)"
            )
        return Trained(best, losses, epoch, best_epoch)

    def _step(self, batch: NDArray[np.intp], rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss = self._loss(batch, self.plan.dropout)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def _loss(self, batch: NDArray[np.intp], dropout: float, reduction: str = "mean") -> Any:
        torch = self.torch
        first, first_bias, second, second_bias = self.parameters
        hidden = torch.relu(torch.from_numpy(self.rows_at(batch)) @ first + first_bias)
        if dropout > 0:
            hidden = hidden * (self._random(*hidden.shape) >= dropout) / (1 - dropout)
        logits = hidden @ second + second_bias
        target = torch.from_numpy(self.targets[batch])
        return torch.nn.functional.cross_entropy(logits, target, reduction=reduction)

    def _mean_loss(self, rows: NDArray[np.intp], batch_size: int) -> float:
        with self.torch.no_grad():
            parts = (rows[i : i + batch_size] for i in range(0, len(rows), batch_size))
            return sum(float(self._loss(part, 0.0, "sum")) for part in parts) / len(rows)

    def _snapshot(self) -> list[NDArray[np.float32]]:
        return [parameter.detach().numpy().copy() for parameter in self.parameters]


def _rate(peak: float, step: int, n_steps: int) -> float:
    """Learning rate of one step: linear warm-up times cosine decay to zero."""
    warm_up = min(1.0, (step + 1) / max(1.0, WARM_UP * n_steps))
    return peak * warm_up * 0.5 * (1 + math.cos(math.pi * step / n_steps))
