"""One budget for two fits: each part's own epsilon, such that together they never exceed it."""

import math
from fractions import Fraction

from cloister.errors import InvalidInput
from cloister.parameters import check_real
from cloister.privacy.accounting import epsilon_from_mu, mu_from_epsilon

LEAST_EPSILON = 1e-6  # of a private estimator


def split_epsilon(
    epsilon: float, delta: float, share: float, name: str = "share"
) -> tuple[float, float]:
    """Split (epsilon, delta) between two fits on the same rows, in exact Gaussian DP.

    Parameters
    ----------
    epsilon, delta : float
        The whole budget, checked already; infinite epsilon stays so in both parts.
    share : float
        Of mu^2, that the second fit takes; above 0 and below 1.
    name : str
        The argument's name in messages.

    Returns
    -------
    first, second : float
        Each part's epsilon at the same delta. A fit of (first, delta) and one of (second, delta)
        compose to (epsilon, delta): mu^2 adds up (Dong, Roth, Su 2022, Corollary 3.3), and each
        part's is rounded down. They add up to more than epsilon, as epsilons do.

    Raises
    ------
    InvalidInput, InvalidType
        If the share is none, or leaves one of the two fits no epsilon that can be fitted with.
    """
    part = check_real(name, share, 0.0, 1.0, way_out="0.5 gives both fits as much", low_open=True)
    if part == 1.0:
        raise InvalidInput(f"{name}=1.0 leaves nothing to the other fit; 0.5 gives both as much")
    if math.isinf(epsilon):
        return epsilon, epsilon
    square = Fraction(mu_from_epsilon(epsilon, delta)) ** 2
    parts = [(1 - Fraction(part)) * square, Fraction(part) * square]
    first, second = (_largest_epsilon(square, delta) for square in parts)
    if min(first, second) < LEAST_EPSILON:
        raise InvalidInput(
            f"{name}={share:g} of epsilon={epsilon:g} leaves the two fits {first:g} and "
            f"{second:g}, but each needs {LEAST_EPSILON:g}; take a share nearer to 0.5"
        )
    return first, second


def _largest_epsilon(mu_squared: Fraction, delta: float) -> float:
    """Return an epsilon whose fit costs at most `mu_squared`, and hardly less; 0 if there is none.

    A fit spends `mu_from_epsilon(epsilon, delta)`: that function has to agree, not the inverse.
    """
    epsilon = epsilon_from_mu(delta, math.sqrt(mu_squared))
    step = math.ulp(epsilon)
    while epsilon >= LEAST_EPSILON and Fraction(mu_from_epsilon(epsilon, delta)) ** 2 > mu_squared:
        epsilon, step = epsilon - step, 2 * step
    return max(epsilon, 0.0)
