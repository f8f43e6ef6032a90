"""Checks of the parameters of `DPKMeans`."""

from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.dp_kmeans_plan import INITS, KMeansPlan, chosen_init
from cloister.errors import InvalidInput, ModelFileError
from cloister.parameters import check_choice, check_integer, check_release_size
from cloister.plans import checked_overrides
from cloister.privacy.guarantee import UNIT_NORM
from cloister.privacy.session import PrivacyParameters
from cloister.sources import array_source, finite_float64

METRICS = ("euclidean", "cosine")


def kind_of_init(estimator: Any, d: int | None) -> str:
    """Return the kind of start: one of INITS, "array" for k public centres, "candidates" for more.

    What "auto" stands for follows from public numbers; where d is not known it is "gaussian".
    """
    init, k = estimator.init, checked_counts(estimator)
    if not isinstance(init, str):
        return "candidates" if len(array_source(init, "init").array) > k else "array"
    if check_choice("init", init, ("auto", *INITS)) != "auto":
        return init
    return chosen_init(estimator.n_hint, d, k, PrivacyParameters.of(estimator).mu)


def plan_overrides(estimator: Any) -> dict[str, Any]:
    """Return the fields of the plan that the caller fixed."""
    overrides = checked_overrides(estimator)
    if estimator.n_rounds is None:
        return overrides
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


def check_statement(path: str | PathLike[str], model: Any) -> None:
    """Refuse a file whose statement tells of other rows than its metric.

    Raises
    ------
    ModelFileError
    """
    if model.privacy_.transform != checked_metric(model):
        raise ModelFileError(
            f"path: {fspath(path)!r} has metric={model.metric!r} and a statement of the transform "
            f"{model.privacy_.transform!r}; write the model again"
        )


def check_size(k: int, d: int, plan: KMeansPlan, start: NDArray[np.float64] | str) -> None:
    """Refuse a fit of which one release would hold too many numbers.

    Raises
    ------
    InvalidInput
    """
    candidates = 0 if isinstance(start, str) else len(start)
    cells = max(plan.vote_cells, 2 * k if plan.splits else k, candidates)
    check_release_size(
        f"n_clusters={k} and {d} features in X, which make {cells} cells,",
        cells * (d + 1),
        way_out="ask for fewer clusters, or use a smaller embedding",
    )


def public_start(estimator: Any, d: int) -> NDArray[np.float64] | str:
    """Return the name of the seeding, or the public centres or candidates given."""
    if isinstance(estimator.init, str):
        return kind_of_init(estimator, d)
    start = finite_float64(array_source(estimator.init, "init").array, 0, "init")
    k = estimator.n_clusters
    if start.ndim != 2 or start.shape[1] != d or len(start) < k:
        raise InvalidInput(
            f"init has shape {start.shape}, but n_clusters={k} and X has {d} features: pass "
            f"public centres of shape ({k}, {d}), or more public points to choose from"
        )
    return start
