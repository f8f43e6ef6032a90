"""The δ of Gaussian differential privacy and directed rounding, in exact or bounded arithmetic.

δ(ε) = Φ(-ε/μ + μ/2) - e^ε Φ(-ε/μ - μ/2) (Balle, Wang 2018, Theorem 8). Let a = ε/μ - μ/2 and
b = a + μ. Since e^ε φ(b) = φ(a), δ = φ(a) (R(a) - R(b)) with the Mills ratio
R(x) = Φ(-x)/φ(x) = √(π/2) erfcx(x/√2): no huge factor meets a tiny one. For μ <= 1 that difference
would cancel, so it is the integral of -R' = 1 - x R(x) over [a, b]: 12 Gauss-Legendre points, whose
truncation error is below 1e-24. `a` is an exact fraction, rounded once. For a <= 38, where all
δ >= 1e-300 lie, the worst error left is that of 1 - x R(x), which is about 1/x²: 4 units in the
last place of x R(x) times 38² are below 2e-12. `MARGIN` is five times that, and a test measures it.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

MARGIN = 1e-11  # bound on the relative error of a computed δ, argued above
SMALLEST_DELTA = 1e-300  # keeps every density above the subnormal numbers

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_POINTS, _WEIGHTS = (_POINTS + 1) / 2, _WEIGHTS / 2  # from [-1, 1] to [0, 1]


def upper_delta(epsilon: float, mu: float) -> float:
    """δ of a μ-GDP release, rounded up; no δ between 0 and `SMALLEST_DELTA` is told apart."""
    if math.isinf(epsilon):
        return 0.0
    if math.isinf(mu):
        return 1.0
    a = threshold(epsilon, mu)
    if a > 40:
        return SMALLEST_DELTA
    return min(1.0, max(SMALLEST_DELTA, math.exp(log_delta(a, mu)) * (1 + MARGIN)))


def threshold(epsilon: float, mu: float) -> float:
    """Give a = ε/μ - μ/2, rounded down, since δ falls with a."""
    return round_down(Fraction(epsilon) / Fraction(mu) - Fraction(mu) / 2)


def log_delta(a: float, mu: float) -> float:
    """Logarithm of φ(a) (R(a) - R(a + μ)) for a >= -μ/2; see the head of the file."""
    log_density = -a * a / 2 - _HALF_LOG_2PI
    if mu <= 1:
        x = a + mu * _POINTS
        return log_density + math.log(mu * float(_WEIGHTS @ (1 - x * _mills(x))))
    far = float(_mills(a + mu))
    if a < 0:  # R(a) would overflow; Φ(-a) is at least 1/2 and nothing cancels
        return math.log(float(ndtr(-a)) - math.exp(log_density) * far)
    return log_density + math.log(float(_mills(a)) - far)


def _mills(x: float | NDArray[np.float64]) -> Any:
    return math.sqrt(math.pi / 2) * erfcx(x / math.sqrt(2))


def root_of_sum(squares: list[Fraction]) -> float:
    """Square root of the exact sum of positive squares, rounded up."""
    total = sum(squares, Fraction(0))
    root = math.nextafter(math.sqrt(total), 0.0)  # not above the root: settle it exactly
    while Fraction(root) ** 2 < total:
        root = math.nextafter(root, math.inf)
    return root


def round_up(exact: Fraction) -> float:
    """Smallest float64 that is not below `exact`."""
    nearest = float(exact)
    return math.nextafter(nearest, math.inf) if Fraction(nearest) < exact else nearest


def round_down(exact: Fraction) -> float:
    """Largest float64 that is not above `exact`."""
    return -round_up(-exact)
