"""Accounting against dp-accounting and against 50-digit arithmetic."""

import math
from collections import namedtuple

import mpmath
import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from scipy.special import erfcx

from cloister.privacy.accounting import (
    GaussianEvent,
    delta_from_mu,
    epsilon_from_mu,
    guarantee_of,
    mu_from_epsilon,
)

# 120 digits leave more than 50 after the worst cancellation, at mu = 1e-15.
DIGITS = 120

ParameterSet = namedtuple("ParameterSet", "group events delta")


# --- oracles and parameter sets ---------------------------------------------------------------


def exact_delta(epsilon, mu):
    """The textbook formula (Balle, Wang 2018, Theorem 8) in 120 digits, nothing clever."""
    with mpmath.workdps(DIGITS):
        epsilon, mu = mpmath.mpf(epsilon), mpmath.mpf(mu)
        near, far = epsilon / mu - mu / 2, epsilon / mu + mu / 2
        root = mpmath.sqrt(2)
        return (mpmath.erfc(near / root) - mpmath.exp(epsilon) * mpmath.erfc(far / root)) / 2


def exact_epsilon(delta, mu, start):
    """Root of the textbook formula by Newton's method, bracketed to 50 digits."""
    with mpmath.workdps(DIGITS):
        delta, mu, epsilon = mpmath.mpf(delta), mpmath.mpf(mu), mpmath.mpf(start)
        if exact_delta(0, mu) <= delta:
            return mpmath.mpf(0)
        for _ in range(20):
            value = exact_delta(epsilon, mu)
            slope = mpmath.exp(epsilon) * mpmath.ncdf(-epsilon / mu - mu / 2)
            step = (value - delta) / slope
            epsilon += step
            if abs(step) < mpmath.mpf(10) ** -55 * epsilon:
                break
        width = mpmath.mpf(10) ** -50 * epsilon
        assert exact_delta(epsilon - width, mu) > delta >= exact_delta(epsilon + width, mu)
        return epsilon


def exact_mu(events):
    with mpmath.workdps(DIGITS):
        return mpmath.sqrt(
            sum((mpmath.mpf(e.sensitivity) / mpmath.mpf(e.sigma)) ** 2 for e in events)
        )


def parameter_sets(count):
    """Random mixtures: 1 to 6 releases, total mu from 0.007 to 17, delta from 1e-8 to 1e-2.

    The releases of a set come from one of 10 groups of 8, and lie within a factor of 2 in mu:
    so the oracle can discretise each of only 80 different mechanisms once (see `PLDs`).
    """
    rng = np.random.default_rng(20220101)
    groups = []
    for scale in np.geomspace(0.01, 5, 10):
        sensitivities = 10 ** rng.uniform(-3, 6, 8)
        mus = scale * 2 ** rng.uniform(-0.5, 0.5, 8)
        groups.append(
            [
                GaussianEvent(f"release {i}", float(sensitivity), float(sensitivity / mu))
                for i, (sensitivity, mu) in enumerate(zip(sensitivities, mus, strict=True))
            ]
        )
    sets = []
    for _ in range(count):
        group = groups[rng.integers(len(groups))]
        events = [group[i] for i in rng.integers(len(group), size=rng.integers(1, 7))]
        sets.append(ParameterSet(group, events, float(10 ** rng.uniform(-8, -2))))
    return sets


@pytest.fixture(scope="module")
def thousand_sets():
    return parameter_sets(1000)


class PLDs:
    """dp-accounting's privacy loss distributions, discretised finely enough and only once.

    The default interval of 1e-4 is too coarse for mu below 0.1 and too slow above 1. The
    "connect the dots" discretisation is pessimistic by O(interval²): an interval of 1/500 of
    the smallest mu makes it right to 1e-6 with some 10,000 points a mechanism, at any scale. The
    masses cut off (up to 1e-15 a composition by default) would show at small delta: here they
    are at most 1e-19 a mechanism.
    """

    def __init__(self):
        self._cache = {}

    def of(self, event, interval):
        key = (event, interval)
        if key not in self._cache:
            self._cache[key] = privacy_loss_distribution.from_gaussian_mechanism(
                event.sigma,
                sensitivity=event.sensitivity,
                value_discretization_interval=interval,
                log_mass_truncation_bound=-45,
            )
        return self._cache[key]

    def epsilon(self, group, events, delta):
        interval = min(event.mu for event in group) / 500
        total = self.of(events[0], interval)
        for event in events[1:]:
            total = total.compose(self.of(event, interval), tail_mass_truncation=1e-24)
        return total.get_epsilon_for_delta(delta)


# --- against the oracles ----------------------------------------------------------------------


def test_epsilon_agrees_with_privacy_loss_distributions(thousand_sets):
    plds = PLDs()
    for group, events, delta in thousand_sets:
        epsilon = guarantee_of(events, delta).epsilon
        oracle = plds.epsilon(group, events, delta)
        assert abs(epsilon - oracle) <= 1e-6 * max(1, epsilon)
        assert epsilon <= oracle + 1e-9, "the oracle's discretisation is pessimistic"


def test_epsilon_is_never_below_50_digits(thousand_sets):
    for _, events, delta in thousand_sets:
        epsilon = guarantee_of(events, delta).epsilon
        reference = exact_epsilon(delta, exact_mu(events), epsilon)
        assert 0 <= epsilon - reference <= 1e-10 * max(1, epsilon)


def wide_range(seed, count):
    """(mu, a, delta) over the whole supported range; a = epsilon/mu - mu/2, see `_gaussian.py`."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        mu = float(10 ** rng.uniform(-15, 6))
        yield mu, float(rng.uniform(max(-mu / 2, -9), 38)), float(10 ** rng.uniform(-300, -0.302))


def test_delta_is_above_the_truth_by_its_margin_at_most():
    tested = 0
    for mu, a, _ in wide_range(1, 1000):
        epsilon = max(0.0, mu * (a + mu / 2))
        delta = delta_from_mu(epsilon, mu)
        truth = exact_delta(epsilon, mu)
        assert delta >= truth
        if delta > 1e-300:
            tested += 1
            assert delta == 1.0 or delta <= truth * (1 + 1.2e-11)
            # Far inside the margin: it covers more than the arithmetic needs.
            assert delta == 1.0 or delta >= truth * (1 + 0.9e-11)
    assert tested > 800


def test_whole_range_against_50_digits():
    for mu, _, delta in wide_range(2, 300):
        epsilon = epsilon_from_mu(delta, mu)
        reference = exact_epsilon(delta, mu, epsilon)
        assert reference <= epsilon <= reference * (1 + 1e-10) + 1e-10 * mu


def test_calibration_is_never_above_50_digits():
    rng = np.random.default_rng(3)
    for _ in range(500):
        epsilon, delta = float(10 ** rng.uniform(-12, 11)), float(10 ** rng.uniform(-300, -0.302))
        mu = mu_from_epsilon(epsilon, delta)
        assert exact_delta(epsilon, mu) <= delta < exact_delta(epsilon, mu * (1 + 1e-10))


def test_mills_ratio_is_as_precise_as_the_margin_assumes():
    x = np.linspace(0, 40 / math.sqrt(2), 2001)
    with mpmath.workdps(40):
        for point, value in zip(x, erfcx(x), strict=True):
            truth = mpmath.exp(mpmath.mpf(point) ** 2) * mpmath.erfc(mpmath.mpf(point))
            assert abs(value - truth) <= 4 * np.finfo(float).eps * truth
