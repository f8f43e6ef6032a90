"""What a private mixture will ask, from public numbers alone.

Every rule is a function of public parameters, d, the number of classes, mu and n. n is the public
hint, or the noisy count of the first releases.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, sqrt
from typing import Any, ClassVar

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
ROUND_RADIUS = 1.0

OF_TILT = ("gradient_steps", "row_radius", "residual_radius")
"""Fields that only a tilted mixture has."""


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
        Clip of those whose second moments are, in the same unit.
    gradient_steps : int
        Gradients of a softmax regression (0: the mixture is not tilted).
    row_radius : float
        Clip of the rows in them, about the mean, in the same unit (0 without gradients).
    residual_radius : float
        Clip of the residuals of their probabilities, whose norm is at most sqrt(2) (0 without).
    round_radius : float
        Clip of the residuals that move components, in the same unit (0 with one a class).
    added_loss : float
        Predicted: mean squared distance by which noise moves the class means, in the same unit
        squared, before shrinkage.
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
        "round_radius": (1e-6, 1e6),
    }

    mean_radius: float
    moment_radius: float
    gradient_steps: int = 0
    row_radius: float = 0.0
    residual_radius: float = 0.0
    round_radius: float = 0.0
    added_loss: float = 0.0
    eigenvalue_noise: float = 0.0

    @property
    def tilted(self) -> bool:
        """Whether gradients tilt the mixture."""
        return self.gradient_steps > 0


def mixture_shares(n_components: int, covariance_type: str) -> dict[str, float]:
    """Share of mu^2 of each release of an untilted mixture, in order.

    Raises
    ------
    InvalidInput, InvalidType
        If a parameter is not as `DPGaussianMixture` describes it.
    """
    check_integer("n_components", n_components, 1, 2**16, way_out="1 suits most private fits")
    check_choice("covariance_type", covariance_type, COVARIANCE_TYPES)
    shares = {"mean": 0.02, "scatter": 0.01, "class means": 0.35, "second moments": 0.62}
    if n_components > 1:
        shares |= {"class means": 0.20, "second moments": 0.37, "components 1": 0.20}
        shares["components 2"] = 0.20
        if covariance_type not in POOLED_TYPES:
            shares |= {"second moments": 0.20, "component second moments": 0.17}
    elif covariance_type in ("diag", "spherical"):
        shares |= {"class means": 0.60, "second moments": 0.37}
    return shares


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
            round_radius=ROUND_RADIUS if self.n_components > 1 else 0.0,
        )
        absent: dict[str, str] = {}
        if not self.tilted:
            absent |= dict.fromkeys(OF_TILT, "this mixture is not tilted; leave it out")
        if self.n_components == 1:
            absent["round_radius"] = "n_components=1 moves no components; leave it out"
        return self.predicted(plan.override(self.overrides, absent), n)

    def moment_radius(self, name: str, n: float) -> float:
        """Clip of a release of second moments of n rows, in units of the root-mean-square.

        Counts of classes are sharper than the first count, so a fit asks again once it has them.
        """
        if "moment_radius" in self.overrides:
            return float(self.overrides["moment_radius"])
        noise = self._moment_noise(name, self.n_hint or n)
        return _opened(SMALLEST_MOMENT_RADIUS, sqrt(_ratio(FREE_MOMENT_NOISE, noise)))

    def _moment_noise(self, name: str, n: float) -> float:
        """Noise of an eigenvalue (of an entry, of the trace) over the average variance.

        At a clip of one root-mean-square; it grows with the squared radius. Of a whole matrix it is
        d times `eigenvalue_noise`.
        """
        kind = self._moment_type(name)
        matrices = 1 if kind in POOLED_TYPES or self.tilted else self.n_classes * self.n_components
        whole = sqrt(2) * float(self.d**1.5)
        dimension = {"diag": float(self.d), "spherical": 1.0}.get(kind, whole)
        return dimension / (self.mus()[name] * (n / matrices))

    def predicted(self, plan: MixturePlan, n: float) -> MixturePlan:
        """Return the plan with the predictions that follow for n rows; `n_hint` goes before."""
        n = self.n_hint or n
        noise = self._moment_noise("second moments", n)
        mu = self.mus()["class means"]
        return replace(
            plan,
            added_loss=rounded(added_loss(n, self.d, self.n_classes, mu, plan.mean_radius)),
            eigenvalue_noise=rounded(noise * plan.moment_radius**2),
        )

    def _moment_type(self, name: str) -> str:
        """Return which covariance a release of second moments is for."""
        if self.tilted:
            return "tied" if self.d <= MAX_SPECTRUM_FEATURES else "diag"
        pooled = self.n_components > 1 and name == "second moments"
        return "tied" if pooled else self.covariance_type

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
