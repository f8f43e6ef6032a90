"""The numbers of a private mixture's fit, and the constants that `mixture_rules` makes them of."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, ClassVar

from cloister.dp_kmeans_plan import KMeansPlan
from cloister.errors import InvalidInput
from cloister.mixture_parameters import COVARIANCE_TYPES, POOLED_TYPES
from cloister.parameters import check_choice, check_integer
from cloister.plans import Plan, override_shares
from cloister.predictions import added_loss

TILTED_SHARES = {
    "class counts": 0.01,
    "mean": 0.01,
    "scatter": 0.01,
    "class means": 0.04,
    "second moments": 0.05,
    "gradients": 0.88,
}
GRADIENT_STEPS = 20
RESIDUAL_RADIUS = 0.5  # a residual has norm sqrt(2) at most; those of rows that are learnt, little

# Clips in units of the root-mean-square. Where noise does not matter one opens up to
# LARGEST_RADIUS, so that it biases nothing.
LARGEST_RADIUS = 16.0
SMALLEST_MEAN_RADIUS = 0.9
SMALLEST_MOMENT_RADIUS = 0.7
# Sensitivity is the clip, so a row that is shorter says less than it costs: nearly all are clipped.
SMALLEST_ROW_RADIUS = 0.7
FREE_MEAN_NOISE = 0.005  # a clip opens while the noise of a mean stays below this ...
FREE_MOMENT_NOISE = 0.02  # ... and that of an eigenvalue below this part of the average variance

# Components that stand apart are symmetric: a tight clip does not bias them, and noise is all that
# moves them. Their rounds open up for a two-hundredth of what those of `DPKMeans` may add.
FREE_COMPONENT_LOSS = 1e-5

COMPONENT_SHARES = {
    "mean": 0.02,
    "scatter": 0.01,
    "class means": 0.05,
    "second moments": 0.10,
    "votes": 0.05,
    "lift": 0.10,
    "split": 0.08,
    "rounds": 0.27,
    "component scatters": 0.04,
    "component second moments": 0.28,
}
SCATTERS = ("scatters", "component scatters")
"""Releases of mean squared distances, one number a covariance: they give it its scale."""

COUNT_WAY_OUT = "1 suits most private fits"
COMPONENT_LOSS = 0.02  # what noise may add for n_components="auto", as a part of the loss
MOST_COMPONENTS = 16

OF_TILT = ("gradient_steps", "row_radius", "residual_radius")
"""Fields that only a tilted mixture has."""

OF_COMPONENTS = tuple(KMeansPlan.LIMITS)
"""Fields that only a mixture of several components a class has: those of `DPKMeans`."""


@dataclass(frozen=True)
class MixturePlan(Plan):
    """The numbers of one fit of `DPGaussianMixture`.

    Attributes
    ----------
    shares : dict of str to float
        Share of mu^2 of each release, in order; they sum to 1. "gradients" is divided evenly among
        the steps. "lift", "split" and "rounds" are as in `KMeansPlan`: the rounds get the shares of
        what is not made.
    mean_radius : float
        Clip of the residuals whose class means are released, in units of their root-mean-square.
    moment_radius : float
        Clip of those whose second moments are, in the same unit; that of their squared norms alone
        ("scatters") follows by the same rule.
    gradient_steps : int
        Gradients of a softmax regression (0: the mixture is not tilted).
    row_radius : float
        Clip of the rows in them, about the mean, in the same unit (0 without gradients).
    residual_radius : float
        Clip of the residuals of their probabilities, whose norm is at most sqrt(2) (0 without).
    vote_cells, least_rows, splits, rounds, lift_radius, round_radius, split_offset
        How components of a class are found, as in `KMeansPlan` (0 with one a class).
    n_components : int
        Components a class, as given or by the rule of "auto".
    added_loss : float
        Predicted: mean squared distance by which noise moves the class means (with several
        components a class: the components, in the last round), in the same unit squared, before
        shrinkage.
    eigenvalue_noise : float
        Predicted: the largest eigenvalue (of a diagonal, an entry) that noise makes in the second
        moment, as a part of the average variance.
    """

    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {
        "mean_radius": (1e-6, 1e6),
        "moment_radius": (1e-6, 1e6),
        "gradient_steps": (1, 10_000),
        "row_radius": (1e-6, 1e6),
        "residual_radius": (1e-6, 1.5),
        **KMeansPlan.LIMITS,
    }

    mean_radius: float
    moment_radius: float
    gradient_steps: int = 0
    row_radius: float = 0.0
    residual_radius: float = 0.0
    vote_cells: int = 0
    least_rows: float = 0.0
    splits: int = 0
    rounds: int = 0
    lift_radius: float = 0.0
    round_radius: float = 0.0
    split_offset: float = 0.0
    n_components: int = 1
    added_loss: float = 0.0
    eigenvalue_noise: float = 0.0

    @property
    def tilted(self) -> bool:
        """Whether gradients tilt the mixture."""
        return self.gradient_steps > 0

    def components(self) -> KMeansPlan:
        """Return the part of the plan that finds the components of a class."""
        return KMeansPlan(self.shares, **{name: getattr(self, name) for name in OF_COMPONENTS})


def chosen_components(
    n_components: int | str, tilted: bool, n: float | None, d: int, n_classes: int, mu: float
) -> int:
    """Return the number of components a class, by the rule where the caller leaves it open.

    As many as noise leaves in their places: K of them add K^2 d / (mu_r n)^2 to the loss, in units
    of the mean square, where n are the rows of a class; that may be a fiftieth. On MNIST and
    Fashion-MNIST pixels (784 features, 6,000 rows a class) the rule's 4 were the best of 1, 2, 4, 8
    for the Bayes rule at epsilon = 1, and 8 no worse than fewer at epsilon = 8.

    Raises
    ------
    InvalidInput, InvalidType
        If it is neither "auto" nor a number, or "auto" without a public number of rows.
    """
    if not isinstance(n_components, str):
        return check_integer("n_components", n_components, 1, 2**16, way_out=COUNT_WAY_OUT)
    check_choice("n_components", n_components, ("auto",))
    if tilted:
        return 1
    if n is None:
        raise InvalidInput(
            "n_components='auto' needs n_hint, a public number of rows, got None; give one, or a "
            "number of components"
        )
    noise = sqrt(added_loss(n / n_classes, d, 1, mu * sqrt(COMPONENT_SHARES["rounds"])))
    return int(min(max(sqrt(COMPONENT_LOSS) / noise if noise else inf, 1), MOST_COMPONENTS))


def mixture_shares(n_components: int, covariance_type: str) -> dict[str, float]:
    """Share of mu^2 of each release of an untilted mixture, in order.

    Raises
    ------
    InvalidInput, InvalidType
        If a parameter is not as `DPGaussianMixture` describes it.
    """
    check_integer("n_components", n_components, 1, 2**16, way_out=COUNT_WAY_OUT)
    check_choice("covariance_type", covariance_type, COVARIANCE_TYPES)
    if n_components > 1:
        return dict(COMPONENT_SHARES)
    means = 0.60 if covariance_type in ("diag", "spherical") else 0.35
    scatters = 0.02 if covariance_type in POOLED_TYPES else 0.04
    shares = {"mean": 0.02, "scatter": 0.01, "class means": means, "scatters": scatters}
    return {**shares, "second moments": 1 - sum(shares.values())}


def chosen_shares(
    n_components: int, covariance_type: str, tilted: bool, overrides: Mapping[str, Any]
) -> dict[str, float]:
    """Return the shares of a mixture, with those of `overrides["shares"]` in their places.

    Raises
    ------
    InvalidInput, InvalidType
        As `mixture_shares` and `override_shares`.
    """
    shares = mixture_shares(n_components, covariance_type)
    kind = "a tilted" if tilted else "an untilted"
    return override_shares(TILTED_SHARES if tilted else shares, overrides, f"{kind} mixture")
