"""How much one row can change an exact answer: statements about integers, in grid steps.

`tests/test_sensitivity.py` checks each by brute force over all codes of small balls.
"""

from fractions import Fraction
from math import inf, isqrt, nextafter, sqrt

from cloister.codes import CODE_BOUND, MOMENT_BOUND
from cloister.privacy._gaussian import root_of_sum


def count_weight(d: int, bound: int = CODE_BOUND) -> int:
    """Public weight w of a count beside a sum of norm `bound`, in grid steps.

    w = B (4 d)^(-1/4) balances the error of noisy means between their count and their sum: the
    counts' share of mu^2 is 1 / (1 + sqrt(4 d)).
    """
    return max(1, round(bound / sqrt(sqrt(4 * d))))


def tally_sensitivity(d: int, bound: int = CODE_BOUND) -> float:
    """Sensitivity of a joint release of weighted counts and sums, rounded up.

    One row changes one count cell by w and the sums of one cell by a vector of integer norm at
    most B: Delta^2 = B^2 + w^2.
    """
    squared = bound**2 + count_weight(d, bound) ** 2
    root = sqrt(squared)
    return root if isqrt(squared) ** 2 == squared else nextafter(root, inf)


def moment_sensitivity(bound: int = MOMENT_BOUND) -> float:
    """Sensitivity of a release of second moments of residuals of integer norm at most `bound`.

    The Frobenius norm of r r^T is |r|^2, and bounds that of its diagonal and its trace.
    """
    return float(bound**2)


def gradient_sensitivity(bound: int = MOMENT_BOUND, residual_bound: int = MOMENT_BOUND) -> float:
    """Sensitivity of a sum of gradients q a^T of rows, in grid steps of rows times residuals.

    The Frobenius norm of q a^T is |q| |a|, of a clipped row a of integer norm at most `bound` and
    a clipped residual q of integer norm at most `residual_bound`.
    """
    return float(bound * residual_bound)


def off_diagonal_sigma(sigma: float) -> float:
    """Noise of an off-diagonal entry of a symmetric matrix: sigma / sqrt(2), rounded up.

    Such an entry stands for two in the Frobenius norm. The quotient of float64 numbers, even one
    step further up, can fall below the real one; the exact squares cannot.
    """
    return root_of_sum([Fraction(sigma) ** 2 / 2]) if sigma else 0.0
