"""The settings of a codec's training, checked before anything is computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

from cloister.errors import InvalidInput, InvalidType
from cloister.parameters import check_integer, check_real

LARGEST_WEIGHT = 1e6


@dataclass(frozen=True)
class CodecPlan:
    """What decides the outcome of a training, beside the images; see `train_codec`."""

    epochs: int
    batch_size: int
    learning_rate: float
    kl_weight: float
    edge_weight: float
    norm_bound: float
    validation_fraction: float
    seed: int

    @classmethod
    def checked(cls, random_state: Any, **given: Any) -> CodecPlan:
        """Return the plan, or raise InvalidInput or InvalidType naming the argument."""
        integers = {"epochs": (1, 10**6), "batch_size": (1, 2**16)}
        reals = {
            "learning_rate": (0.0, 1.0, True),
            "kl_weight": (0.0, LARGEST_WEIGHT, False),
            "edge_weight": (0.0, LARGEST_WEIGHT, False),
            "norm_bound": (0.0, LARGEST_WEIGHT, True),
            "validation_fraction": (0.0, 0.5, False),
        }
        ways_out = {
            "epochs": "passes over the public images",
            "batch_size": "images of a step, such as 128",
            "learning_rate": "the default is 0.002",
            "kl_weight": "0 trains no variances; 0.02 is a common one",
            "edge_weight": "0 leaves edges out of the loss",
            "norm_bound": "such as 1.0",
            "validation_fraction": "the share of the images that is held out",
        }
        checked: dict[str, Any] = {}
        for name, (least, most) in integers.items():
            checked[name] = check_integer(name, given[name], least, most, way_out=ways_out[name])
        for name, (low, high, is_open) in reals.items():
            checked[name] = check_real(
                name, given[name], low, high, way_out=ways_out[name], low_open=is_open
            )
        return cls(**checked, seed=_seed(random_state))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def _seed(random_state: Any) -> int:
    # A training may be resumed by another process, so no state of a generator will do.
    if isinstance(random_state, bool) or not isinstance(random_state, Integral):
        raise InvalidType(f"random_state must be an integer such as 0, got {random_state!r}")
    if not 0 <= int(random_state) < 2**63:
        raise InvalidInput(f"random_state={random_state} is outside [0, 2^63); give one such as 0")
    return int(random_state)
