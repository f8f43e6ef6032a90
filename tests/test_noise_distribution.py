"""noise: statistics of 10^7 draws for each sigma, under fresh keys of the operating system.

The keys are new in every run, so every test here fails now and then though nothing is wrong:
the 10 chi-square and Kolmogorov-Smirnov tests with probability at most 10 * 1e-4 = 1e-3 a run in
all (the latter are conservative on the coarse lattices of sigma = 1 and 3), the 54 other p-values,
held to 1e-6 each, 5.4e-5.
"""

import mpmath
import numpy as np
import pytest
from scipy import special, stats

from cloister.privacy.generator import fresh_key, rounded_gaussian

N = 10**7
SIGMAS = [1.0, 3.0, 2.0**10, 2.0**20, 2.0**40]


class Draws:
    def __init__(self, sigma, values):
        self.sigma = sigma
        self.values = values
        self.sorted = np.sort(values)


@pytest.fixture(scope="module", params=SIGMAS, ids=lambda sigma: f"sigma={sigma:g}")
def draws(request):
    return Draws(request.param, rounded_gaussian(request.param, N, key=fresh_key()))


def probability_below(sigma, integers):
    """P(round(g) < m) = P(g < m - 1/2)."""
    return special.ndtr((integers - 0.5) / sigma)


def cell_edges(sigma):
    """Integers that part the line into some 4,000 cells, at least 30 of 10^7 draws in each."""
    quantiles = special.ndtri(np.arange(1, 4096) / 4096)
    return np.unique(np.rint(sigma * np.r_[-4.4, -4, quantiles, 4, 4.4]))


def chi_square(draws):
    edges = cell_edges(draws.sigma)
    below = np.searchsorted(draws.sorted, edges.astype(np.int64), side="left")
    observed = np.diff(np.r_[0, below, len(draws.sorted)])
    expected = len(draws.sorted) * np.diff(np.r_[0, probability_below(draws.sigma, edges), 1])
    assert expected.min() > 25 * len(draws.sorted) / N
    return special.chdtrc(len(observed) - 1, np.sum((observed - expected) ** 2 / expected))


def kolmogorov_smirnov(draws):
    """Both distribution functions are steps at integers; look before and after each that occurs."""
    n = len(draws.sorted)
    last = np.append(np.flatnonzero(np.diff(draws.sorted)), n - 1)
    values = draws.sorted[last].astype(np.float64)
    upto = (last + 1) / n
    after = np.abs(upto - probability_below(draws.sigma, values + 1)).max()
    before = np.abs(np.r_[0, upto[:-1]] - probability_below(draws.sigma, values)).max()
    return special.kolmogorov(np.sqrt(n) * max(after, before))


def two_sided(z):
    return 2 * special.ndtr(-abs(z))


def moments(draws):
    """p-values of mean, variance and sign. Var = sigma^2 + 1/12, within 1.2e-8 for sigma >= 1."""
    n, scaled = len(draws.values), draws.values / draws.sigma
    squares = scaled**2
    variance = 1 + 1 / (12 * draws.sigma**2)
    positive, negative = np.count_nonzero(scaled > 0), np.count_nonzero(scaled < 0)
    return {
        "mean": two_sided(scaled.mean() * np.sqrt(n / variance)),
        "variance": two_sided((squares.mean() - variance) * np.sqrt(n) / squares.std()),
        "sign": two_sided((positive - negative) / np.sqrt(positive + negative)),
    }


def tails(draws):
    """p-values of the numbers beyond 4 and 5 sigma, and of the largest magnitude."""
    sigma, n, largest = draws.sigma, len(draws.values), int(np.abs(draws.values).max())
    p_values = {}
    for multiple in (4, 5):
        bound = np.ceil(multiple * sigma)
        expected = 2 * n * probability_below(sigma, 1 - bound)
        beyond = np.count_nonzero(np.abs(draws.values) >= bound)
        p_values[f"beyond {multiple} sigma"] = two_sided_poisson(beyond, expected)
    p_values["maximum is not too large"] = -np.expm1(
        n * np.log1p(-2 * probability_below(sigma, 1 - largest))
    )
    p_values["maximum is not too small"] = np.exp(
        n * np.log1p(-2 * probability_below(sigma, -largest))
    )
    return p_values


def two_sided_poisson(count, expected):
    return min(
        1.0, 2 * stats.poisson.cdf(count, expected), 2 * stats.poisson.sf(count - 1, expected)
    )


def dependence(a, b):
    """p-values of the correlation of two sequences, and of their magnitudes."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    p_values = {}
    for name, f in (("values", np.positive), ("magnitudes", np.abs)):
        correlation = np.corrcoef(f(a), f(b))[0, 1]
        p_values[f"correlation of {name}"] = two_sided(correlation * np.sqrt(len(a)))
    return p_values


def test_chi_square(draws):
    assert chi_square(draws) > 1e-4


def test_kolmogorov_smirnov(draws):
    assert kolmogorov_smirnov(draws) > 1e-4


def test_moments_tails_and_neighbours(draws):
    neighbours = dependence(draws.values[1:], draws.values[:-1])
    for name, p_value in (moments(draws) | tails(draws) | neighbours).items():
        assert p_value > 1e-6, name


def test_low_bits_are_uniform():
    """The last 12 bits at sigma = 2^40: uniform up to exp(-2 pi^2 2^56), no grid of floats."""
    values = rounded_gaussian(2.0**40, 10**6, key=fresh_key())
    counts = np.bincount(values & 0xFFF, minlength=4096)
    expected = len(values) / 4096
    assert special.chdtrc(4095, np.sum((counts - expected) ** 2) / expected) > 1e-6


def test_streams_keys_and_blocks_are_independent():
    key, n = fresh_key(), 2 * 10**6
    first = rounded_gaussian(2.0**20, n, key=key)
    others = {
        "next stream": (first, rounded_gaussian(2.0**20, n, key=key, stream=1)),
        "another key": (first, rounded_gaussian(2.0**20, n, key=fresh_key())),
        "next block": (first[4096:], first[:-4096]),
        "key of one bit more": (
            first,
            rounded_gaussian(2.0**20, n, key=bytes([key[0] ^ 1]) + key[1:]),
        ),
    }
    for name, (a, b) in others.items():
        for kind, p_value in dependence(a, b).items():
            assert p_value > 1e-6, (name, kind)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_noise_ten_percent_too_small_is_caught(sigma):
    """Power: the same checks reject noise of 0.9 sigma already on 10^5 of the 10^7 draws.

    On all of them the variance check alone, whose estimate then has a standard deviation of
    sqrt(2 / 10^7) = 4.5e-4 of its value, finds an error of sigma of 0.2 % with probability above
    0.999: 0.4 % of the variance is 8.9 standard deviations, 4.9 of which are the threshold.
    """
    small = Draws(sigma, rounded_gaussian(0.9 * sigma, 10**5, key=fresh_key()))
    assert chi_square(small) < 1e-12
    assert kolmogorov_smirnov(small) < 1e-12
    assert moments(small)["variance"] < 1e-12


def test_correlated_noise_is_caught():
    values = rounded_gaussian(2.0**20, 10**5, key=fresh_key())
    assert dependence(values[1:] + values[:-1] // 8, values[:-1])["correlation of values"] < 1e-12
    assert dependence(-values, values)["correlation of magnitudes"] < 1e-12


@pytest.mark.parametrize("sigma", SIGMAS)
def test_cell_probabilities_are_exact(sigma):
    """Against 40 digits: an error of 1e-9 of each expected count moves no p-value."""
    edges = cell_edges(sigma)
    cells = np.diff(np.r_[0, probability_below(sigma, edges), 1])
    with mpmath.workdps(40):
        for i in (1, 2, len(edges) // 2, len(edges) - 2, len(edges) - 1):
            low, high = (
                (mpmath.mpf(int(e)) - 0.5) / mpmath.mpf(sigma) for e in edges[i - 1 : i + 1]
            )
            assert cells[i] == pytest.approx(float(mpmath.ncdf(high) - mpmath.ncdf(low)), rel=1e-9)
