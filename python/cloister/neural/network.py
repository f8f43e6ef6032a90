"""A torch module that only computes: in evaluation mode, without gradients, and unchanged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import DeviceError, InvalidInput
from cloister.neural.optional_packages import need_torch
from cloister.neural.torch_device import torch_device
from cloister.parameters import check_choice

PRECISIONS = ("float32", "bfloat16", "float16")


class Network:
    """Runs a module on tensors of one batch.

    The module is taken over: switched to evaluation mode, and moved to the device.

    Parameters
    ----------
    module : torch.nn.Module
    device : str
        "auto", or a name that torch knows.
    precision : {"float32", "bfloat16", "float16"}
        Of the products, by autocast.

    Raises
    ------
    InvalidInput
        If a part of it cannot leave training mode, or normalises by statistics of the batch.
    DeviceError
        If the device is not there.
    """

    def __init__(self, module: Any, device: str, precision: str) -> None:
        torch, self.device = torch_device(device)
        self.module = module
        self.precision = check_choice("precision", precision, PRECISIONS)
        self.digest = state_digest(module)
        self._evaluate()
        _refuse_batch_statistics(torch, module)
        try:
            module.to(self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise DeviceError(f"device={device!r} cannot hold the module: {error}") from error
        if any(isinstance(part, torch.nn.Conv2d) for part in module.modules()):
            module.to(memory_format=torch.channels_last)  # convolutions are faster so
        self._made: list[int] | None = self._versions()  # of the weights that the digest is of

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": None}  # tensors that were copied count from the beginning

    def __call__(self, inputs: Any) -> NDArray[np.float32]:
        """Return the module's output of shape (n, d) for a tensor, or a dict of tensors.

        Raises
        ------
        InvalidInput
            If the output has another shape.
        """
        torch = need_torch()
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self.precision != "float32":
                kind = getattr(torch, self.precision)
                stack.enter_context(torch.autocast(self.device.type, dtype=kind))
            elif torch.is_autocast_enabled(self.device.type):  # a caller's, of which no id tells
                stack.enter_context(torch.autocast(self.device.type, enabled=False))
            try:
                output = self.module(self._moved(inputs))
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                shape = "tokens" if isinstance(inputs, dict) else f"shape {tuple(inputs.shape)}"
                raise InvalidInput(
                    f"module: it cannot compute a batch of {shape}: {type(error).__name__}: {error}"
                ) from error
            return _matrix(torch, output)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Hold the module to evaluation mode, and to the weights and buffers that it has.

        Raises
        ------
        InvalidInput
            If it changed them, or somebody did since the encoder was made.
        """
        self._evaluate()
        before = self._versions()
        if self._made is None:
            self._made = before
        if before != self._made:
            raise InvalidInput(
                "module: its weights or buffers were changed after the encoder was made, whose id "
                "is of the former ones; make another encoder of it"
            )
        yield
        if self._versions() != before:
            raise InvalidInput(
                "module: it changed its own weights or buffers while it embedded, so that later "
                "rows would depend on earlier ones; remove running statistics and caches from it"
            )

    def _evaluate(self) -> None:
        """Switch to evaluation mode whatever happened to the module since the last batch."""
        if any(part.training for part in self.module.modules()):
            self.module.eval()
        for name, part in self.module.named_modules():
            if part.training:
                raise InvalidInput(
                    f"module: its part {name!r} ({type(part).__name__}) stays in training mode "
                    "after eval(), where rows depend on each other; let its train() obey"
                )

    def _versions(self) -> list[int]:
        """Return how often each tensor was written to; inference tensors do not count that."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        return [tensor._version for tensor in tensors if not tensor.is_inference()]

    def _moved(self, inputs: Any) -> Any:
        if isinstance(inputs, dict):
            return {name: tensor.to(self.device) for name, tensor in inputs.items()}
        if inputs.ndim != 4:
            return inputs.to(self.device)
        return inputs.to(self.device, memory_format=need_torch().channels_last)


def _refuse_batch_statistics(torch: Any, module: Any) -> None:
    for name, part in module.named_modules():
        kind = torch.nn.modules.batchnorm._NormBase
        across = not isinstance(part, torch.nn.modules.instancenorm._InstanceNorm)
        if isinstance(part, kind) and across and part.running_mean is None:
            raise InvalidInput(
                f"module: its part {name!r} ({type(part).__name__}) has no running statistics and "
                "normalises by those of the batch, so that rows depend on each other; build it "
                "with track_running_stats=True"
            )


def _matrix(torch: Any, output: Any) -> NDArray[np.float32]:
    if not isinstance(output, torch.Tensor) or output.ndim < 2:
        shape = f"of shape {tuple(output.shape)}" if isinstance(output, torch.Tensor) else ""
        raise InvalidInput(
            f"module: it returns a {type(output).__name__} {shape}, but an embedding is a tensor "
            "of shape (n, d); wrap it in a module that returns one"
        )
    if any(length != 1 for length in output.shape[2:]):
        raise InvalidInput(
            f"module: it returns shape {tuple(output.shape)}, but an embedding has shape (n, d); "
            "pool the maps, by torch.nn.AdaptiveAvgPool2d(1) say"
        )
    return np.array(output.reshape(output.shape[:2]).float().cpu().numpy())


def state_digest(module: Any) -> str:
    """Return the SHA-256 of a module's weights and buffers: names, dtypes, shapes and bytes.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    str
        Equal for equal values, wherever they lie and in whatever order they were registered.
    """
    torch = need_torch()
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):  # extra state of a module's own making
            digest.update(f"{name} {tensor!r}\n".encode())
            continue
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def one_row_rules(device: Any) -> Iterator[Any]:
    """Make what torch computes a function of its input: one thread, deterministic, reseeded.

    Yields what to call before each row: it sets the seed, for modules that draw. All is put back.
    """
    torch = need_torch()
    if device.type == "cuda":  # cuBLAS reads it when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.set_num_threads(1)
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = False
            yield lambda: torch.manual_seed(0)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
