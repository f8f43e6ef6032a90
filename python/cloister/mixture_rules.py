"""From the public parameters of a private mixture to its plan.

Every rule is a function of public parameters, d, the number of classes, mu and n. n is the public
hint, or the noisy count of the first releases.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, sqrt
from typing import Any

from cloister.dp_kmeans_plan import (
    check_vote_cells,
    plan_of_shares,
    round_radius,
    rounds_noise,
)
from cloister.errors import InvalidInput
from cloister.mixture_parameters import POOLED_TYPES, is_tilted
from cloister.mixture_plan import (
    FREE_COMPONENT_LOSS,
    FREE_MEAN_NOISE,
    FREE_MOMENT_NOISE,
    GRADIENT_STEPS,
    LARGEST_RADIUS,
    OF_COMPONENTS,
    OF_TILT,
    RESIDUAL_RADIUS,
    SCATTERS,
    SMALLEST_MEAN_RADIUS,
    SMALLEST_MOMENT_RADIUS,
    SMALLEST_ROW_RADIUS,
    MixturePlan,
    chosen_components,
    chosen_shares,
    mixture_shares,
)
from cloister.plans import checked_overrides
from cloister.predictions import added_loss, rounded
from cloister.privacy.session import PrivacyParameters
from cloister.seeding import MAX_SPECTRUM_FEATURES
from cloister.sources import class_list


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
            n_components=self.n_components,
            gradient_steps=GRADIENT_STEPS if self.tilted else 0,
            row_radius=(
                self._mean_radius(mus["gradients"], n, SMALLEST_ROW_RADIUS) if self.tilted else 0.0
            ),
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
        if (
            k > 1 and "round_radius" not in self.overrides
        ):  # the number of rounds may be the caller's
            noise = rounds_noise(plan.components(), n / self.n_classes, self.d, k, self.mu)
            plan = replace(plan, round_radius=round_radius(noise, FREE_COMPONENT_LOSS))
        return self.predicted(plan, n)

    def _of_components(self, n: float) -> dict[str, Any]:
        rows, k = n / self.n_classes, self.n_components
        found = plan_of_shares(self.shares(), rows, self.d, k, self.mu, FREE_COMPONENT_LOSS)
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

    def moment_kind(self, name: str) -> str:
        """Return what a release of second moments asks for: "full", "diagonal" or "trace"."""
        return {"diag": "diagonal", "spherical": "trace"}.get(self._moment_type(name), "full")

    def _moment_type(self, name: str) -> str:
        """Return which covariance a release of second moments is for."""
        if self.tilted:
            return "tied" if self.d <= MAX_SPECTRUM_FEATURES else "diag"
        if self.n_components > 1 and name == "second moments":
            return "tied" if self.d <= MAX_SPECTRUM_FEATURES else "diag"
        return self.covariance_type

    def _is_pooled(self, name: str) -> bool:
        """Say whether all cells share one second moment."""
        first = self.n_components > 1 and name == "second moments"
        return self.tilted or first or self.covariance_type in POOLED_TYPES

    def _mean_radius(self, mu: float, n: float, smallest: float = SMALLEST_MEAN_RADIUS) -> float:
        noise = sqrt(self.d) * self.n_classes / (mu * n)  # of a mean, in units of the radius
        return _opened(smallest, _ratio(FREE_MEAN_NOISE, noise))


def tilts(estimator: Any, n_classes: int | None, n_features: int | None) -> bool:
    """Say whether `fit` tilts; checks all that this and the shares follow from.

    Raises
    ------
    InvalidInput, InvalidType
        If a parameter is not as `DPGaussianMixture` describes it.
    """
    if n_classes is None and estimator.classes is not None:
        n_classes = len(class_list(estimator.classes))
    # With tilt, "auto" is one component.
    components = chosen_components(estimator.n_components, True, None, 1, 1, 1.0)
    mixture_shares(components, estimator.covariance_type)
    shape = components, estimator.covariance_type
    return is_tilted(estimator.tilt, n_classes, *shape, n_features)


def planned_shares(
    estimator: Any, n_classes: int | None, n_features: int | None
) -> dict[str, float]:
    """Return the shares of an estimator's fit.

    Raises
    ------
    InvalidInput, InvalidType
        If a parameter is impossible, or "auto" depends on what is not known.
    """
    tilted = tilts(estimator, n_classes, n_features)
    if estimator.n_components == "auto" and not tilted and n_features is None:
        raise InvalidInput(
            "n_components='auto' follows from the number of features, which is not known yet; "
            "give n_features (--n-features)"
        )
    if n_classes is None:
        n_classes = 2 if estimator.classes is None else len(class_list(estimator.classes))
    components = _components(estimator, n_features or 1, n_classes, tilted)
    overrides = checked_overrides(estimator)
    return chosen_shares(components, estimator.covariance_type, tilted, overrides)


def rules_of(estimator: Any, d: int, n_classes: int, n_hint: int | None) -> MixtureRules:
    """Return what is public of an estimator's fit of rows of d features."""
    tilted = tilts(estimator, n_classes, d)
    return MixtureRules(
        d,
        n_classes,
        _components(estimator, d, n_classes, tilted, n_hint),
        estimator.covariance_type,
        tilted,
        mu=PrivacyParameters.of(estimator).mu_of_share(1.0),
        n_hint=n_hint,
        overrides=checked_overrides(estimator),
    )


def _components(
    estimator: Any, d: int, n_classes: int, tilted: bool, n_hint: int | None = None
) -> int:
    n, mu = n_hint or estimator.n_hint, PrivacyParameters.of(estimator).mu
    return chosen_components(estimator.n_components, tilted, n, d, n_classes, mu)


def _opened(smallest: float, affordable: float) -> float:
    return min(max(affordable, smallest), LARGEST_RADIUS)


def _ratio(allowed: float, noise: float) -> float:
    return allowed / noise if noise > 0 else inf
