"""What noise does to the answers that plans ask for, from public numbers alone.

With s the share of mu^2 that a release takes and r its clip, its noise has standard deviation
sigma r / sqrt(s) a coordinate, where sigma = 1 / mu is that of sensitivity 1 at the whole budget.
Both rules of thumb follow; `mu` below is that of the release itself, mu sqrt(s).
"""

from math import sqrt


def rounded(prediction: float) -> float:
    """Return a prediction to 6 digits: clips opened up to a noise then have it, whatever n is."""
    return float(f"{prediction:.6g}")


def added_loss(n: float, d: int, k: int, mu: float, radius: float = 1.0) -> float:
    """Predict by how much noise moves k means, as a mean squared distance.

    K^2 d sigma^2 r^2 / (s n^2): each mean divides its noise by n / k rows. Counts that are
    released with the sums take 1 / (1 + sqrt(4 d)) of the budget. Of clusters that are not the
    same size the small ones get more; the rows feel Sum 1/p_j >= k^2 in place of k^2.

    Parameters
    ----------
    n : float
        Number of rows.
    d, k : int
        Features and clusters.
    mu : float
        Gaussian-DP cost of the release, counts and sums together.
    radius : float
        Clip of the residuals; its unit, squared, is that of the result.

    Returns
    -------
    float
        Mean squared distance between the noisy means and those without noise, over rows. Before
        shrinkage, which makes it less.
    """
    counts_ride_along = 1 + 1 / sqrt(4 * d)
    return k**2 * d * (radius / (mu * n)) ** 2 * counts_ride_along


def eigenvalue_noise(n: float, d: int, mu: float, radius: float = 1.0) -> float:
    """Predict the largest eigenvalue that noise makes in a second moment of n rows.

    sigma r^2 sqrt(2 d) / (sqrt(s) n): noise of standard deviation sigma on the diagonal and
    sigma / sqrt(2) off it is sigma / sqrt(2) times a matrix of the Gaussian orthogonal ensemble,
    whose eigenvalues fill [-2 sqrt(d), 2 sqrt(d)] (Wigner's semicircle).

    Parameters
    ----------
    n : float
        Number of rows.
    d : int
        Features; the law is that of many, and too large by about 0.6 / d^(2/3) of itself.
    mu : float
        Gaussian-DP cost of the release.
    radius : float
        Clip of the residuals; its unit, squared, is that of the result.

    Returns
    -------
    float
    """
    return sqrt(2 * d) * radius**2 / (mu * n)
