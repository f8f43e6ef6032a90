"""What a private k-means will ask, from public numbers alone.

Every rule is a function of (n, d, k, mu) and the way to start. n is the public hint, or the noisy
count of the first release.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isinf, sqrt
from typing import Any, ClassVar

import numpy as np

from cloister.errors import InvalidInput
from cloister.plans import Plan, override_shares
from cloister.predictions import added_loss, eigenvalue_noise, rounded
from cloister.seeding import MAX_SPECTRUM_FEATURES, scatter_radius

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

SPECTRAL_INITS = ("gaussian", "histogram")
"""Starts that ask for the whole second moment."""

OF_VOTES = ("vote_cells", "least_rows", "splits", "lift_radius", "split_offset")
"""Fields that only a start by votes has."""

FEWEST_ROUNDS, MOST_ROUNDS, MOST_NOISELESS_ROUNDS = 5, 10, 100

# The clip of a round biases means. It opens while noise adds less than FREE_LOSS to the loss.
FREE_LOSS = 0.002
SMALLEST_RADIUS, LARGEST_RADIUS = 0.75, 16.0


@dataclass(frozen=True)
class KMeansPlan(Plan):
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
    added_loss : float
        Predicted: what the noise of the last round adds to the mean squared distance, in units of
        what the centres leave, before shrinkage.
    eigenvalue_noise : float
        Predicted: the largest eigenvalue that noise makes in the second moment, in units of
        clip_norm^2 / d (0 where only the trace is released).
    """

    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {
        "vote_cells": (0, 2**20),
        "least_rows": (0.0, 1e12),
        "splits": (0, 2**20),
        "rounds": (1, 10_000),
        "lift_radius": (1e-6, 1e6),
        "round_radius": (1e-6, 1e6),
        "split_offset": (0.0, 1e12),
    }

    vote_cells: int
    least_rows: float
    splits: int
    rounds: int
    lift_radius: float = 0.9
    round_radius: float = SMALLEST_RADIUS
    split_offset: float = 0.1
    added_loss: float = 0.0
    eigenvalue_noise: float = 0.0


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
    overrides = overrides or {}
    shares = checked_shares(init, overrides)
    plan, voted = plan_of_shares(shares, n, d, k, mu), "lift" in shares
    no_votes = f"init={init!r} has no votes; leave it out, or take init='gaussian'"
    plan = plan.override(overrides, {} if voted else dict.fromkeys(OF_VOTES, no_votes))
    check_vote_cells(plan.vote_cells, f"n_clusters={k} centres", k)
    noise = rounds_noise(plan, n, d, k, mu)
    if "round_radius" not in overrides:
        plan = replace(plan, round_radius=round_radius(noise))
    mu_scatter = mu * sqrt(shares["scatter"])
    spectral = init in SPECTRAL_INITS
    radius = scatter_radius(n, d, mu_scatter, spectrum=spectral)
    whole = spectral and d <= MAX_SPECTRUM_FEATURES
    return replace(
        plan,
        added_loss=rounded(noise * plan.round_radius**2),
        eigenvalue_noise=rounded(d * eigenvalue_noise(n, d, mu_scatter, radius)) if whole else 0.0,
    )


def rounds_noise(plan: KMeansPlan, n: float, d: int, k: int, mu: float) -> float:
    """Predict the loss that one round of a plan adds at a clip of one root-mean-square."""
    return plan.rounds * added_loss(n, d, k, mu * sqrt(plan.shares["rounds"]))


def check_vote_cells(cells: int, wanted: str, k: int) -> None:
    """Refuse a vote on fewer cells than there are centres to be made of them."""
    if 0 < cells < k:
        raise InvalidInput(
            f"plan_overrides['vote_cells']={cells}, but {wanted} are made of them: name as many at "
            "least, or 0 for no votes"
        )


def plan_of_shares(
    shares: Mapping[str, float], n: float, d: int, k: int, mu: float, free_loss: float = FREE_LOSS
) -> KMeansPlan:
    """Return the rules' plan for releases that take these shares of mu^2.

    The clip of rounds opens up until noise adds `free_loss`, as a part of the loss.
    """
    voted = "lift" in shares
    mu_votes, mu_lift, mu_split, mu_rounds = (
        mu * sqrt(shares.get(name, 0.0)) for name in ("votes", "lift", "split", "rounds")
    )
    least_rows = _least_rows(d, mu_votes, mu_lift) if voted else 0.0
    # Where a cluster has fewer rows than a cell must have, no lift can be made of a vote.
    worth_it = voted and n / k >= least_rows
    plan = KMeansPlan(
        shares=shares,
        vote_cells=vote_cells(k) if worth_it else 0,
        least_rows=least_rows,
        splits=affordable_splits(n, d, k, mu_split) if worth_it else 0,
        rounds=residual_rounds(n, d, k, mu_rounds),
    )
    noise = rounds_noise(plan, n, d, k, mu)
    return replace(plan, round_radius=round_radius(noise, free_loss))


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


def round_radius(noise: float, free_loss: float = FREE_LOSS) -> float:
    """Return the clip of a round, in units of the root-mean-square.

    `noise` is what noise adds to the loss at a clip of 1. Measured with rows of one broad Gaussian
    (16 clusters in 2 dimensions, 10,000 rows, epsilon = 8): 0.0163 at 0.75, 0.0093 at 6, and
    0.0079 without noise; it never made centres worse while the noise stayed this small.
    """
    if noise <= free_loss / LARGEST_RADIUS**2:
        return LARGEST_RADIUS
    return max(SMALLEST_RADIUS, sqrt(free_loss / noise))


def checked_shares(init: str, overrides: Mapping[str, Any]) -> dict[str, float]:
    """Return the shares of a start, with those of `overrides["shares"]` in their places.

    Raises
    ------
    InvalidInput, InvalidType
        As `override_shares`.
    """
    return override_shares(kmeans_shares(init), overrides, f"init={init!r}")
