"""A module that calls another one in its own way, so that what it returns is an embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cloister.neural.optional_packages import need


def method_module(network: Any, call: Callable[[Any, Any], Any]) -> Any:
    """Return a module whose forward pass is `call(network, inputs)`.

    Parameters
    ----------
    network : torch.nn.Module
        Its weights and modes are those of the new module.
    call : callable
    """
    nn = need("torch.nn", "an encoder", "torch")

    class MethodModule(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, inputs: Any) -> Any:
            return call(self.network, inputs)

    return MethodModule()
