"""Checks of the parameters of `DPKMeans`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.dp_kmeans_plan import INITS
from cloister.errors import InvalidInput, InvalidType
from cloister.parameters import check_choice, check_integer
from cloister.privacy.guarantee import UNIT_NORM
from cloister.sources import array_source, finite_float64

METRICS = ("euclidean", "cosine")


def kind_of_init(init: Any) -> str:
    """Return the kind of start: one of INITS, or "array"."""
    if isinstance(init, str):
        return check_choice("init", init, INITS)
    return "array"


def plan_overrides(estimator: Any) -> dict[str, Any]:
    """Return the fields of the plan that the caller fixed."""
    overrides = {} if estimator.plan_overrides is None else estimator.plan_overrides
    if not isinstance(overrides, Mapping):
        raise InvalidType(f"plan_overrides must be a mapping or None, got {overrides!r}")
    if estimator.n_rounds is None:
        return dict(overrides)
    if "rounds" in overrides:
        raise InvalidInput(
            f"n_rounds={estimator.n_rounds} and plan_overrides['rounds']={overrides['rounds']} say "
            "the same thing; leave one out"
        )
    return {**overrides, "rounds": estimator.n_rounds}


def checked_counts(estimator: Any) -> int:
    """Return the number of clusters, with the numbers of rounds and rows checked beside it."""
    for name, most in (("n_rounds", 10_000), ("n_hint", 2**32)):
        if getattr(estimator, name) is not None:
            check_integer(name, getattr(estimator, name), 1, most, way_out="or None for the rule")
    return check_integer(
        "n_clusters", estimator.n_clusters, 1, 2**20, way_out="how many clusters are wanted"
    )


def checked_metric(estimator: Any) -> str | None:
    """Return the transform of rows that the metric implies.

    Raises
    ------
    InvalidInput
        If the metric is unknown, or if `clip_norm` is not the norm that it gives every row.
    """
    metric = check_choice("metric", estimator.metric, METRICS)
    if metric == "euclidean":
        return None
    if estimator.clip_norm != 1.0:
        raise InvalidInput(
            f"clip_norm={estimator.clip_norm}, but metric='cosine' gives every row norm 1; leave "
            "clip_norm=1.0"
        )
    return UNIT_NORM


def public_start(init: Any, k: int, d: int) -> NDArray[np.float64] | str:
    """Return the name of the seeding, or the public centres given."""
    if kind_of_init(init) != "array":
        return str(init)
    start = finite_float64(array_source(init, "init").array, 0, "init")
    if start.shape != (k, d):
        raise InvalidInput(
            f"init has shape {start.shape}, but n_clusters={k} and X has {d} features: pass "
            f"public centres of shape ({k}, {d})"
        )
    return start
