"""What a private mixture will ask, from public numbers alone.

Every rule is a function of public parameters, d, the number of classes, mu and n. n is the public
hint, or the noisy count of the first releases.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, sqrt
from typing import Any, ClassVar

from cloister.dp_kmeans_plan import (
    KMeansPlan,
    check_vote_cells,
    plan_of_shares,
    rounds_noise,
)
from cloister.errors import InvalidInput
from cloister.mixture_parameters import COVARIANCE_TYPES, POOLED_TYPES
from cloister.parameters import check_choice, check_integer
from cloister.plans import Plan, override_shares
from cloister.predictions import added_loss, rounded
from cloister.seeding import MAX_SPECTRUM_FEATURES

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
FREE_MEAN_NOISE = 0.005  # a clip opens while the noise of a mean stays below this ...
FREE_MOMENT_NOISE = 0.02  # ... and that of an eigenvalue below this part of the average variance

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
        the steps.
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


@dataclass(frozen=True)
class MixtureRules:
    """All that is public of a fit but its number of rows, and the plan that follows with it.

    Attributes
    ----------
    d, n_classes, n_components : int
        Features, classes, and components of each.
    covariance_type : str
        One of `COVARIANCE_TYPES`.
    tilted : bool
        As `is_tilted` says.
    mu : float
        Gaussian-DP cost of the whole fit.
    n_hint : int or None
        Public number of rows, which rules take instead of a noisy count.
    overrides : mapping
        The caller's `plan_overrides`.
    """

    d: int
    n_classes: int
    n_components: int
    covariance_type: str
    tilted: bool
    mu: float
    n_hint: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def shares(self) -> dict[str, float]:
        """Return the share of mu^2 of each release, in order.

        Raises
        ------
        InvalidInput, InvalidType
            As `override_shares`.
        """
        return chosen_shares(self.n_components, self.covariance_type, self.tilted, self.overrides)

    def mus(self) -> dict[str, float]:
        """Return the Gaussian-DP cost of each release."""
        return {name: self.mu * sqrt(share) for name, share in self.shares().items()}

    def plan(self, n: float) -> MixturePlan:
        """Return the plan of a fit of n rows; `n_hint` goes before.

        Raises
        ------
        InvalidInput, InvalidType
            If `overrides` names no field of a plan, or gives it an impossible value.
        """
        n, mus = self.n_hint or n, self.mus()
        plan = MixturePlan(
            shares=self.shares(),
            mean_radius=self._mean_radius(mus["class means"], n),
            moment_radius=self.moment_radius("second moments", n),
            gradient_steps=GRADIENT_STEPS if self.tilted else 0,
            row_radius=self._mean_radius(mus["gradients"], n) if self.tilted else 0.0,
            residual_radius=RESIDUAL_RADIUS if self.tilted else 0.0,
            **(self._of_components(n) if self.n_components > 1 else {}),
        )
        absent: dict[str, str] = {}
        if not self.tilted:
            absent |= dict.fromkeys(OF_TILT, "this mixture is not tilted; leave it out")
        if self.n_components == 1:
            one = "n_components=1 has none to find; leave it out"
            absent |= dict.fromkeys(OF_COMPONENTS, one)
        plan = plan.override(self.overrides, absent)
        k = self.n_components
        check_vote_cells(plan.vote_cells, f"n_components={k} of a class", k)
        return self.predicted(plan, n)

    def _of_components(self, n: float) -> dict[str, Any]:
        rows, k = n / self.n_classes, self.n_components
        found = plan_of_shares(self.shares(), rows, self.d, k, self.mu)
        return {name: getattr(found, name) for name in OF_COMPONENTS}

    def moment_radius(self, name: str, n: float) -> float:
        """Clip of a release of second moments of n rows, in units of the root-mean-square.

        Counts of classes are sharper than the first count, so a fit asks again once it has them.
        """
        if "moment_radius" in self.overrides and name not in SCATTERS:
            return float(self.overrides["moment_radius"])
        noise = self._moment_noise(name, self.n_hint or n)
        return _opened(SMALLEST_MOMENT_RADIUS, sqrt(_ratio(FREE_MOMENT_NOISE, noise)))

    def _moment_noise(self, name: str, n: float) -> float:
        """Noise of an eigenvalue (of an entry, of the trace) over the average variance.

        At a clip of one root-mean-square; it grows with the squared radius. Of a whole matrix it is
        d times `eigenvalue_noise`.
        """
        kind = "spherical" if name in SCATTERS else self._moment_type(name)
        matrices = 1 if self._is_pooled(name) else self.n_classes * self.n_components
        whole = sqrt(2) * float(self.d**1.5)
        dimension = {"diag": float(self.d), "spherical": 1.0}.get(kind, whole)
        return dimension / (self.mus()[name] * (n / matrices))

    def predicted(self, plan: MixturePlan, n: float) -> MixturePlan:
        """Return the plan with the predictions that follow for n rows; `n_hint` goes before."""
        n = self.n_hint or n
        noise = self._moment_noise("second moments", n)
        if self.n_components == 1:
            mu = self.mus()["class means"]
            loss = added_loss(n, self.d, self.n_classes, mu, plan.mean_radius)
        else:
            found, rows = plan.components(), n / self.n_classes
            loss = rounds_noise(found, rows, self.d, self.n_components, self.mu)
            loss *= found.round_radius**2
        noise *= plan.moment_radius**2
        return replace(plan, added_loss=rounded(loss), eigenvalue_noise=rounded(noise))

    def _moment_type(self, name: str) -> str:
        """Return which covariance a release of second moments is for."""
        if self.tilted:
            return "tied" if self.d <= MAX_SPECTRUM_FEATURES else "diag"
        first = self.n_components > 1 and name == "second moments"
        return "tied" if first else self.covariance_type

    def _is_pooled(self, name: str) -> bool:
        """Say whether all cells share one second moment."""
        first = self.n_components > 1 and name == "second moments"
        return self.tilted or first or self.covariance_type in POOLED_TYPES

    def _mean_radius(self, mu: float, n: float) -> float:
        noise = sqrt(self.d) * self.n_classes / (mu * n)  # of a mean, in units of the radius
        return _opened(SMALLEST_MEAN_RADIUS, _ratio(FREE_MEAN_NOISE, noise))


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


def _opened(smallest: float, affordable: float) -> float:
    return min(max(affordable, smallest), LARGEST_RADIUS)


def _ratio(allowed: float, noise: float) -> float:
    return allowed / noise if noise > 0 else inf
