"""Parameters of KMeans: their checks, and the ways to choose initial centres."""

import math
import numbers
import warnings
from typing import Any

from cloister.errors import InvalidInput, InvalidType
from cloister.kmeans_parallel import parallel
from cloister.kmeans_plusplus import plus_plus, random_rows

STARTS = {"k-means++": plus_plus, "k-means||": parallel, "random": random_rows}


def number_of_runs(model: Any) -> int:
    """Raise unless all parameters of a KMeans are as documented; return the number of runs."""
    _check_count("n_clusters", model.n_clusters)
    _check_count("max_iter", model.max_iter)
    if isinstance(model.tol, bool) or not isinstance(model.tol, numbers.Real):
        raise InvalidType(f"tol must be a number, got {model.tol!r}")
    if not 0 <= float(model.tol) < math.inf:
        raise InvalidInput(f"tol must be finite and at least 0, got {model.tol!r}")
    if model.metric not in ("euclidean", "cosine"):
        raise InvalidInput(f"metric must be 'euclidean' or 'cosine', got {model.metric!r}")
    if isinstance(model.init, str) and model.init not in STARTS:
        known = ", ".join(map(repr, STARTS))
        raise InvalidInput(f"init must be {known} or an array, got {model.init!r}")
    if isinstance(model.n_init, str):
        if model.n_init != "auto":
            raise InvalidInput(f"n_init must be 'auto' or an integer, got {model.n_init!r}")
        return 10 if isinstance(model.init, str) and model.init == "random" else 1
    _check_count("n_init", model.n_init)
    if not isinstance(model.init, str) and model.n_init > 1:
        warnings.warn(
            f"explicit initial centres make all runs equal: one run instead of {model.n_init}",
            RuntimeWarning,
            stacklevel=3,
        )
        return 1
    return int(model.n_init)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InvalidType(f"{name} must be an integer, got {value!r}")
    if int(value) < 1:
        raise InvalidInput(f"{name} must be at least 1, got {value}")
