"""What Gaussian noise costs: exact Gaussian differential privacy, never optimistic.

Adding N(0, σ²) to a query of L2 sensitivity Δ is μ-GDP with μ = Δ/σ, and releases of μ₁, μ₂, ...
are together √(Σ μᵢ²)-GDP, also where later ones are chosen in view of earlier ones (Dong, Roth,
Su 2022, arXiv 1905.02383, Theorem 2.7 and Corollary 3.3). μ-GDP is (ε, δ)-DP exactly for
δ(ε) = Φ(-ε/μ + μ/2) - e^ε Φ(-ε/μ - μ/2) (Balle, Wang 2018, Theorem 8). These functions work on
public numbers alone and cost no privacy. Whatever is no float64 is rounded to the side that claims
less privacy.

Every number is an int, a float or a NumPy scalar of up to 64 bits: another type raises
`InvalidType`, and `InvalidInput` meets a value outside 1e-300 <= δ <= 0.5, 1e-15 <= μ <= 1e6 (or
inf: no noise), 1e-60 <= Δ <= 1e60, 1e-80 <= σ <= 1e80 (or 0: no noise; Δ and σ share the query's
units), or outside the range of ε that a function states.

The formula itself and the rounding, with their error bounds, are in `_gaussian.py`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import brentq

from cloister.errors import InvalidInput, InvalidType
from cloister.privacy._gaussian import (
    MARGIN,
    SMALLEST_DELTA,
    log_delta,
    root_of_sum,
    round_down,
    round_up,
    threshold,
    upper_delta,
)

# The ranges keep every μ² inside float64 and δ above its subnormal numbers.
_DELTA, _MU = (SMALLEST_DELTA, 0.5), (1e-15, 1e6)
_SENSITIVITY, _SIGMA = (1e-60, 1e60), (1e-80, 1e80)
_WAY_OUT = {
    "epsilon": "epsilon=1.0 is a usual choice; math.inf stands for no privacy at all.",
    "delta": "Gaussian noise gives no guarantee at delta=0; take one far below 1/n, such as 1e-5.",
    "mu": "Get it from mu_from_epsilon or mu_of; math.inf stands for no noise.",
    "sensitivity": "Give the public L2 bound on what one unit can change, such as the clip norm.",
    "sigma": "Get it from sigma_for; 0 stands for no noise.",
}


def delta_from_mu(epsilon: float, mu: float) -> float:
    """Smallest δ for which a μ-GDP release is (ε, δ)-DP, rounded up (Balle, Wang 2018, Theorem 8).

    Parameters
    ----------
    epsilon, mu : float
        ε in [0, 1e12] or inf; μ.

    Returns
    -------
    float
        In [0, 1], at most 1.2e-11 (relative) above the true δ; 1e-300 where that is smaller still.
    """
    epsilon = float(_number("epsilon", epsilon, (0.0, 1e12), math.inf))
    return upper_delta(epsilon, _checked_mu(mu))


def epsilon_from_mu(delta: float, mu: float) -> float:
    """Smallest ε for which a μ-GDP release is (ε, δ)-DP, rounded up.

    Parameters
    ----------
    delta, mu : float
        δ and μ.

    Returns
    -------
    float
        ε with `delta_from_mu(ε, mu) <= delta`; 0.0 if that allows it, inf for mu=inf.
    """
    delta = float(_number("delta", delta, _DELTA))
    mu = _checked_mu(mu)
    if math.isinf(mu):
        return math.inf
    if upper_delta(0.0, mu) <= delta:
        return 0.0
    # Solving for a, not ε, keeps ε's relative precision at every μ. The target leaves room for
    # upper_delta's margin and the solver's tolerance.
    target = math.log(delta) - 2 * MARGIN
    a = brentq(lambda a: log_delta(a, mu) - target, max(-mu / 2, -40.0), 40.0, xtol=1e-15)
    epsilon = round_up(Fraction(mu) * (Fraction(a) + Fraction(mu) / 2))
    step = mu * 1e-14
    while upper_delta(epsilon, mu) > delta:  # the certificate: the formula itself has to agree
        epsilon, step = math.nextafter(epsilon + step, math.inf), 2 * step
    return epsilon


def mu_from_epsilon(epsilon: float, delta: float) -> float:
    """Largest μ whose release is (ε, δ)-DP, rounded down: calibration, the way to `sigma_for`.

    Parameters
    ----------
    epsilon, delta : float
        ε in [1e-12, 1e11] or inf; δ.

    Returns
    -------
    float
        μ with `delta_from_mu(epsilon, μ) <= delta`; inf for epsilon=inf.
    """
    epsilon = float(_number("epsilon", epsilon, (1e-12, 1e11), math.inf))
    delta = float(_number("delta", delta, _DELTA))
    if math.isinf(epsilon):
        return math.inf

    def excess(log_mu: float) -> float:
        mu = math.exp(log_mu)
        return log_delta(threshold(epsilon, mu), mu) - (math.log(delta) - 2 * MARGIN)

    # The two ends are the μ at which a = 40 (δ < 1e-300) and a = -40 (δ rounds to 1).
    root = math.sqrt(1600 + 2 * epsilon)
    ends = math.log(2 * epsilon / (root + 40)), math.log(root + 40)
    mu = math.exp(brentq(excess, *ends, xtol=1e-15))
    step = mu * 1e-16
    while upper_delta(epsilon, mu) > delta:  # the same certificate
        mu, step = math.nextafter(mu - step, 0.0), 2 * step
    return mu


def compose(mus: Iterable[float]) -> float:
    """√(Σ μᵢ²), rounded up: μ of several releases (Dong, Roth, Su 2022, Corollary 3.3).

    Parameters
    ----------
    mus : iterable of float
        At least one μ.
    """
    values = [_checked_mu(mu, f"mus[{i}]") for i, mu in enumerate(_items("mus", mus))]
    return math.inf if math.inf in values else root_of_sum([Fraction(mu) ** 2 for mu in values])


def rho_from_mu(mu: float) -> float:
    """ρ = μ²/2 of zero-concentrated DP, rounded up (Bun, Steinke 2016, Proposition 1.6)."""
    return _rho(_checked_mu(mu))


def sigma_for(sensitivity: float, mu: float) -> float:
    """Δ/μ, rounded up: the standard deviation σ of the noise that makes a query μ-GDP.

    Parameters
    ----------
    sensitivity : int or float
        Δ; an integer counts exactly, however large.
    mu : float
        μ.

    Returns
    -------
    float
        In the query's units; 0.0 for mu=inf. This very float64, with no rounding, is the σ to use.
    """
    exact = Fraction(_number("sensitivity", sensitivity, _SENSITIVITY))
    mu = _checked_mu(mu)
    return 0.0 if math.isinf(mu) else round_up(exact / Fraction(mu))


def mu_of(sensitivity: float, sigma: float) -> float:
    """Δ/σ, rounded up: μ of a Gaussian release; inf for sigma=0."""
    ratio = _ratio(sensitivity, sigma)
    return math.inf if ratio is None else round_up(ratio)


@dataclass(frozen=True)
class GaussianEvent:
    """One release of a query with Gaussian noise, as the ledger records it.

    Parameters
    ----------
    name : str
        What was released, for the reader of the ledger.
    sensitivity, sigma : int or float
        Δ and σ; stored as float64, Δ rounded up and σ down.
    """

    name: str
    sensitivity: float
    sigma: float

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InvalidType(f"name must be a str; got {type(self.name).__name__}. Say what ran.")
        if not self.name.strip():
            raise InvalidInput(f"name must not be blank; got {self.name!r}. Say what ran.")
        sensitivity = Fraction(_number("sensitivity", self.sensitivity, _SENSITIVITY))
        sigma = Fraction(_number("sigma", self.sigma, _SIGMA, 0.0))
        object.__setattr__(self, "sensitivity", round_up(sensitivity))
        object.__setattr__(self, "sigma", round_down(sigma))

    @property
    def mu(self) -> float:
        """Δ/σ, rounded up; inf for sigma=0."""
        return mu_of(self.sensitivity, self.sigma)

    @property
    def mu_squared(self) -> float:
        """(Δ/σ)², rounded up once; inf for sigma=0."""
        ratio = _ratio(self.sensitivity, self.sigma)
        return math.inf if ratio is None else round_up(ratio**2)


@dataclass(frozen=True)
class Guarantee:
    """What a set of releases promises together: (ε, δ)-DP, μ-GDP and ρ-zCDP at once."""

    epsilon: float
    delta: float
    mu: float
    rho: float


def guarantee_of(events: Iterable[GaussianEvent], delta: float) -> Guarantee:
    """Compose the events, in any order, and state the guarantee at `delta`.

    Parameters
    ----------
    events : iterable of GaussianEvent
        At least one; their common μ must be in range.
    delta : float
        δ.
    """
    squares = []
    for i, event in enumerate(_items("events", events)):
        if not isinstance(event, GaussianEvent):
            found = type(event).__name__
            raise InvalidType(f"events[{i}] must be a GaussianEvent; got {found}. Construct one.")
        squares.append(event.mu_squared)
    # Sums of float64 stay cheap as fractions (powers of two below); exact Δ/σ would not.
    mu = math.inf if math.inf in squares else root_of_sum([Fraction(s) for s in squares])
    mu = _checked_mu(mu, "mu of all events")
    return Guarantee(epsilon_from_mu(delta, mu), float(delta), mu, _rho(mu))


def _rho(mu: float) -> float:
    return math.inf if math.isinf(mu) else round_up(Fraction(mu) ** 2 / 2)


def _ratio(sensitivity: float, sigma: float) -> Fraction | None:
    """Exact Δ/σ of arguments that it checks; None for σ = 0."""
    exact = Fraction(_number("sensitivity", sensitivity, _SENSITIVITY))
    sigma = _number("sigma", sigma, _SIGMA, 0.0)
    return exact / Fraction(sigma) if sigma else None


def _items(name: str, values: Iterable[Any]) -> list[Any]:
    try:
        items = list(values) if not isinstance(values, str | bytes) else None
    except TypeError:
        items = None
    if items is None:
        found = type(values).__name__
        raise InvalidType(f"{name} must be a list or another iterable; got {found}. Use [...].")
    if not items:
        raise InvalidInput(
            f"{name} must hold at least 1 release; got 0. If nothing was released, ask nothing."
        )
    return items


def _checked_mu(mu: float, where: str = "mu") -> float:
    return float(_number("mu", mu, _MU, math.inf, where))


def _number(
    name: str,
    value: object,
    bounds: tuple[float, float],
    also: float | None = None,
    where: str | None = None,
) -> float:
    """Check a number: inside `bounds`, or equal to `also`; integers stay exact integers."""
    where = where or name
    accepted = (int, float, np.integer, np.float16, np.float32)
    if isinstance(value, bool) or not isinstance(value, accepted):
        found = type(value).__name__
        raise InvalidType(f"{where} must be an int or a float; got {found}. {_WAY_OUT[name]}")
    number = int(value) if isinstance(value, int | np.integer) else float(value)
    if bounds[0] <= number <= bounds[1] or number == also:  # NaN fails every comparison
        return number
    # Python refuses to print integers of thousands of digits.
    huge = isinstance(number, int) and abs(number) > 10**300
    shown = f"an integer beyond ±1e300 ({value.__class__.__name__})" if huge else f"{number}"
    allowed = f"[{bounds[0]:g}, {bounds[1]:g}]" + ("" if also is None else f" or be {also}")
    raise InvalidInput(f"{where} must lie in {allowed}; got {shown}. {_WAY_OUT[name]}")
