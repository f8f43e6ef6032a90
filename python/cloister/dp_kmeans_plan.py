"""What a private k-means will ask, from public numbers alone.

Every rule is a function of (n, d, k, mu) and the way to start. n is the public hint, or the noisy
count of the first release.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isinf, sqrt
from typing import Any

import numpy as np

from cloister.errors import InvalidInput, InvalidType
from cloister.parameters import check_integer, check_real

INITS = ("gaussian", "histogram", "random")

CELLS_PER_CENTRE = 16
FEWEST_CELLS, MANY_CELLS = 128, 1024

# A cell is lifted if it holds so many standard deviations of a vote's noise ...
CLEAR_VOTE = 4.0
# ... and so many rows that the noise of their mean is at most its radius over this.
CLEAR_MEAN = 1.1

MOST_SPLITS = 2

# Where "auto" is a histogram: few features, many clusters, and so little of n mu / k.
HISTOGRAM_FEATURES, HISTOGRAM_CLUSTERS, LEAST_CROWDED, CROWDED = 5, 32, 16.0, 48.0

OF_VOTES = ("vote_cells", "least_rows", "splits", "lift_radius", "split_offset")
"""Fields that only a start by votes has."""

SHARE_TOLERANCE = 1e-9

FEWEST_ROUNDS, MOST_ROUNDS, MOST_NOISELESS_ROUNDS = 5, 10, 100


@dataclass(frozen=True)
class KMeansPlan:
    """The numbers of one fit of `DPKMeans`.

    Attributes
    ----------
    shares : dict of str to float
        Share of mu^2 of each release, in order; they sum to 1. "rounds" is divided evenly among
        the rounds, "split" among the splits; the rounds get the shares of what is not made.
    vote_cells : int
        Public cells whose rows are counted first (0: none are).
    least_rows : float
        A cell of the vote is lifted (asked for its mean) if its noisy count is above this.
    splits : int
        How often the halves of all centres are asked for their means and clustered anew.
    rounds : int
        Residual rounds; without noise, at most so many.
    lift_radius, round_radius : float
        Clips of residuals, in units of their predicted root-mean-square.
    split_offset : float
        How far the halves of a centre start from it, in the same unit.
    """

    shares: Mapping[str, float]
    vote_cells: int
    least_rows: float
    splits: int
    rounds: int
    lift_radius: float = 0.9
    round_radius: float = 0.75
    split_offset: float = 0.1

    @classmethod
    def of_header(cls, header: Mapping[str, Any]) -> "KMeansPlan":
        """Return the plan of a model file; raise ValueError or TypeError if it is none."""
        shares = {str(name): float(value) for name, value in header["shares"].items()}
        numbers = {name: value for name, value in header.items() if name != "shares"}
        plan = cls(shares=shares, **numbers)
        for name, value in numbers.items():
            kind = int if name in ("vote_cells", "splits", "rounds") else float
            if type(value) is not kind or not 0 <= value < inf:
                raise ValueError(f"{name}={value!r} in its plan")
        return plan


def chosen_init(n: int | None, d: int | None, k: int, mu: float) -> str:
    """Return what `init="auto"` stands for, from public numbers alone.

    A cluster of n / k rows stands out of the noise of counts by about mu n / k. Where that is
    little and features are few, votes lose clusters that a histogram finds; where it is less
    still, neither finds them (docs/design.md has the measurements).
    """
    if n is None or d is None or d > HISTOGRAM_FEATURES or k < HISTOGRAM_CLUSTERS:
        return "gaussian"
    return "histogram" if LEAST_CROWDED <= mu * n / k < CROWDED else "gaussian"


def kmeans_shares(init: str) -> dict[str, float]:
    """Share of mu^2 of each release, in order.

    `init` is one of `INITS`, "array" for public centres, or "candidates" for public points that
    the rows vote on.
    """
    if init == "gaussian":
        return {
            "mean": 0.03,
            "scatter": 0.12,
            "votes": 0.05,
            "lift": 0.10,
            "split": 0.10,
            "rounds": 0.60,
        }
    if init == "histogram":
        return {"mean": 0.05, "scatter": 0.05, "histogram": 0.60, "rounds": 0.30}
    if init == "candidates":
        return {"mean": 0.02, "scatter": 0.02, "votes": 0.16, "rounds": 0.80}
    return {"mean": 0.02, "scatter": 0.02, "rounds": 0.96}


def kmeans_plan(
    init: str, n: float, d: int, k: int, mu: float, overrides: Mapping[str, Any] | None = None
) -> KMeansPlan:
    """Return the plan of a fit of n rows in d dimensions at Gaussian-DP cost mu.

    Raises
    ------
    InvalidInput, InvalidType
        If `overrides` names no field of a plan, or gives it an impossible value.
    """
    changed = dict(overrides or {})
    shares = checked_shares(init, changed.pop("shares", None))
    voted = init == "gaussian"
    mu_votes, mu_lift, mu_split, mu_rounds = (
        mu * sqrt(shares.get(name, 0.0)) for name in ("votes", "lift", "split", "rounds")
    )
    plan = KMeansPlan(
        shares=shares,
        vote_cells=vote_cells(k) if voted else 0,
        least_rows=_least_rows(d, mu_votes, mu_lift) if voted else 0.0,
        splits=affordable_splits(n, d, k, mu_split) if voted else 0,
        rounds=residual_rounds(n, d, k, mu_rounds),
    )
    for name in OF_VOTES:
        if name in changed and not voted:
            raise InvalidInput(
                f"plan_overrides names {name!r}, but init={init!r} has no votes; leave it out, or "
                "take init='gaussian'"
            )
    plan = replace(plan, **{name: _checked(name, value) for name, value in changed.items()})
    if 0 < plan.vote_cells < k:
        raise InvalidInput(
            f"plan_overrides['vote_cells']={plan.vote_cells}, but n_clusters={k} centres are made "
            "of them: name as many at least, or 0 for no votes"
        )
    return plan


def vote_cells(k: int) -> int:
    """Cells of the vote: enough that two of k clusters seldom share one."""
    return min(max(CELLS_PER_CENTRE * k, FEWEST_CELLS), max(MANY_CELLS, 4 * k))


def _least_rows(d: int, mu_votes: float, mu_lift: float) -> float:
    return max(CLEAR_VOTE / mu_votes, CLEAR_MEAN * sqrt(d) / mu_lift, 0.5)


def affordable_splits(n: float, d: int, k: int, mu: float) -> int:
    """How many splits the budget is worth: at least one.

    In one split with all of it the mean of half a cell, of n / (2 k) rows, gets noise of norm
    2 k sqrt(d) / (mu n) radii; in each of several that may be half a radius.
    """
    if isinf(mu):
        return MOST_SPLITS
    return int(np.clip((mu * n / (2 * k)) ** 2 / (4 * d), 1, MOST_SPLITS))


def residual_rounds(n: float, d: int, k: int, mu: float) -> int:
    """How many rounds the rest of the budget is worth.

    One round with all of it adds k^2 d / (mu n)^2 squared radii of noise to the loss; the rounds
    together may add a twentieth. More than ten were not better on real embeddings. Without noise:
    until the centres rest.
    """
    if isinf(mu):
        return MOST_NOISELESS_ROUNDS
    return int(np.clip(0.05 * (mu * n / k) ** 2 / d, FEWEST_ROUNDS, MOST_ROUNDS))


def checked_shares(init: str, overrides: Mapping[str, float] | None) -> dict[str, float]:
    """Return the shares of a start, with the caller's in their places.

    Raises
    ------
    InvalidInput, InvalidType
        If a name is unknown, a share is not positive, or the sum is not 1.
    """
    shares = kmeans_shares(init)
    if overrides is None:
        return shares
    if not isinstance(overrides, Mapping):
        raise InvalidType(f"plan_overrides['shares'] must be a mapping, got {overrides!r}")
    for name, value in overrides.items():
        if name not in shares:
            raise InvalidInput(
                f"plan_overrides['shares'] names {name!r}, but the releases of init={init!r} are "
                f"{', '.join(shares)}"
            )
        way_out = "a share of mu squared"
        shares[name] = check_real(
            f"plan_overrides['shares'][{name!r}]", value, 1e-9, 1.0, way_out=way_out
        )
    total = sum(shares.values())
    if abs(total - 1) > SHARE_TOLERANCE:
        raise InvalidInput(
            f"plan_overrides['shares'] brings the sum of {', '.join(shares)} to {total:.12g}, but "
            "they share one budget: name as many as it takes to bring it to 1"
        )
    return {name: share / total for name, share in shares.items()}


def _checked(name: str, value: Any) -> Any:
    label, way_out = f"plan_overrides[{name!r}]", "leave it out for the rule"
    if name == "rounds":
        return check_integer(label, value, 1, 10_000, way_out=way_out)
    if name in ("vote_cells", "splits"):
        return check_integer(label, value, 0, 2**20, way_out=way_out)
    if name in ("lift_radius", "round_radius"):
        return check_real(label, value, 1e-6, 1e6, way_out=way_out)
    if name in {field.name for field in fields(KMeansPlan)}:
        return check_real(label, value, 0.0, 1e12, way_out=way_out)
    known = ", ".join(field.name for field in fields(KMeansPlan))
    raise InvalidInput(f"plan_overrides names {name!r}, but a plan has {known}")
