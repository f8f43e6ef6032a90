"""Accounting: known values, inverses, directed rounding, limits, bad input."""

import math
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.errors import InvalidInput, InvalidType
from cloister.privacy.accounting import (
    GaussianEvent,
    compose,
    delta_from_mu,
    epsilon_from_mu,
    guarantee_of,
    mu_from_epsilon,
    mu_of,
    rho_from_mu,
    sigma_for,
)


@pytest.mark.parametrize(
    ("epsilon", "sigma"),
    [(0.1, 30.75), (0.5, 7.032), (1, 3.7306), (2, 1.9938), (4, 1.0812), (8, 0.6002), (10, 0.49989)],
)
def test_sigma_at_delta_1e_5(epsilon, sigma):
    assert sigma_for(1, mu_from_epsilon(epsilon, 1e-5)) == pytest.approx(sigma, rel=5e-5)


# --- inverses and monotonicity ----------------------------------------------------------------

EPSILONS = st.floats(1e-6, 1e6)
DELTAS = st.floats(-290, -0.31).map(lambda exponent: 10.0**exponent)
MUS = st.floats(-14, 5.9).map(lambda exponent: 10.0**exponent)
APART = 1 + 1e-9  # as far as two arguments must lie apart for rounding not to matter


@settings(deadline=None)
@given(EPSILONS, DELTAS)
def test_calibrated_noise_meets_and_uses_up_epsilon(epsilon, delta):
    mu = mu_from_epsilon(epsilon, delta)
    assert delta_from_mu(epsilon, mu) <= delta
    assert delta_from_mu(epsilon, mu * APART) > delta
    sigma = sigma_for(1, mu)
    assert delta_from_mu(epsilon, mu_of(1, sigma)) <= delta * (1 + 1e-9)


@settings(deadline=None)
@given(MUS, DELTAS)
def test_epsilon_and_mu_invert_each_other(mu, delta):
    epsilon = epsilon_from_mu(delta, mu)
    assert delta_from_mu(epsilon, mu) <= delta
    if 1e-12 <= epsilon <= 1e11:
        assert mu_from_epsilon(epsilon, delta) == pytest.approx(mu, rel=1e-9)


@settings(deadline=None)
@given(MUS, DELTAS)
def test_epsilon_grows_with_mu_and_falls_with_delta(mu, delta):
    epsilon = epsilon_from_mu(delta, mu)
    assert epsilon_from_mu(delta, mu * APART) >= epsilon
    assert epsilon_from_mu(delta * APART, mu) <= epsilon


@settings(deadline=None)
@given(EPSILONS, DELTAS)
def test_mu_grows_with_epsilon_and_with_delta(epsilon, delta):
    mu = mu_from_epsilon(epsilon, delta)
    assert mu_from_epsilon(epsilon * APART, delta) >= mu
    assert mu_from_epsilon(epsilon, delta * APART) >= mu


@settings(deadline=None)
@given(EPSILONS, MUS)
def test_delta_falls_with_epsilon_and_grows_with_mu(epsilon, mu):
    delta = delta_from_mu(epsilon, mu)
    assert 1e-300 <= delta <= 1
    assert delta_from_mu(epsilon * APART, mu) <= delta
    assert delta_from_mu(epsilon, mu * APART) >= delta


# --- exact rounding ---------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(MUS, min_size=1, max_size=6))
def test_composition_is_the_exact_root_rounded_up_once(mus):
    total = sum(Fraction(mu) ** 2 for mu in mus)
    composed = compose(mus)
    assert Fraction(math.nextafter(composed, 0)) ** 2 < total <= Fraction(composed) ** 2
    assert composed == compose(mus[::-1]) == compose(iter(mus))


def test_composition_of_known_values():
    assert compose([3.0, 4.0]) == 5.0
    assert compose([0.3]) == 0.3
    assert compose([0.3] * 4) == 0.6
    assert compose([1.0, math.inf]) == math.inf


@settings(deadline=None)
@given(st.one_of(st.integers(1, 2**190), st.floats(1e-60, 1e60)), MUS)
def test_sigma_is_rounded_up_and_mu_of_it_meets_the_target(sensitivity, mu):
    sigma = sigma_for(sensitivity, mu)
    assert Fraction(math.nextafter(sigma, 0)) * Fraction(mu) < Fraction(sensitivity)
    assert Fraction(sensitivity) <= Fraction(sigma) * Fraction(mu)
    if sigma >= 1e-80:
        assert mu_of(sensitivity, sigma) <= mu


@settings(deadline=None)
@given(st.floats(1e-60, 1e60), st.floats(1e-80, 1e80))
def test_mu_is_rounded_up(sensitivity, sigma):
    event = GaussianEvent("sums", sensitivity, sigma)
    exact = Fraction(sensitivity) / Fraction(sigma)
    assert Fraction(math.nextafter(event.mu, 0)) < exact <= Fraction(event.mu)
    squared = event.mu_squared
    assert Fraction(math.nextafter(squared, 0)) < exact**2 <= Fraction(squared)


@settings(deadline=None)
@given(MUS)
def test_rho_is_rounded_up(mu):
    rho, exact = rho_from_mu(mu), Fraction(mu) ** 2 / 2
    assert Fraction(math.nextafter(rho, 0)) < exact <= Fraction(rho)


def test_integers_beyond_float64_count_exactly():
    odd = 2**60 + 1
    assert sigma_for(odd, 1.0) == math.nextafter(2.0**60, math.inf)
    assert mu_of(odd, 1.0) == math.nextafter(2.0**60, math.inf)
    event = GaussianEvent("sums", odd, odd)
    assert (event.sensitivity, event.sigma) == (math.nextafter(2.0**60, math.inf), 2.0**60)
    assert event.mu > 1


def test_numpy_scalars_are_numbers():
    assert mu_of(np.int64(3), np.float32(2)) == mu_of(np.float64(3), np.float16(2)) == 1.5
    assert GaussianEvent("counts", np.uint8(3), np.float32(2)).mu == 1.5


# --- infinite privacy loss, and none ----------------------------------------------------------


def test_no_noise_is_no_privacy():
    assert mu_from_epsilon(math.inf, 1e-5) == math.inf
    assert sigma_for(1, math.inf) == 0.0
    assert mu_of(1, 0) == mu_of(1, 0.0) == GaussianEvent("sums", 1, 0).mu == math.inf
    assert GaussianEvent("sums", 1, 0).mu_squared == rho_from_mu(math.inf) == math.inf
    assert epsilon_from_mu(1e-5, math.inf) == math.inf
    assert delta_from_mu(1.0, math.inf) == 1.0
    found = guarantee_of([GaussianEvent("sums", 1, 2.0), GaussianEvent("exact", 1, 0)], 1e-5)
    assert (found.epsilon, found.delta, found.mu, found.rho) == (math.inf, 1e-5, math.inf, math.inf)


def test_everything_is_inf_0():
    assert delta_from_mu(math.inf, 1.0) == delta_from_mu(math.inf, math.inf) == 0.0


def test_epsilon_is_0_where_delta_covers_the_total_variation():
    assert delta_from_mu(0, 0.1) == pytest.approx(math.erf(0.1 / math.sqrt(8)), rel=1e-10)
    assert epsilon_from_mu(0.04, 0.1) == 0.0
    assert epsilon_from_mu(0.039, 0.1) > 0.0


def test_tiny_deltas_are_reported_as_the_smallest_supported():
    assert delta_from_mu(1e12, 1e-15) == delta_from_mu(1000, 1.0) == 1e-300


def test_guarantee_is_that_of_its_parts():
    events = [GaussianEvent("seeds", 1, 4.0), GaussianEvent("sums", 30, 40.0)]
    found = guarantee_of(iter(events), 1e-5)
    assert found.mu == compose([0.25, 0.75])
    assert found.rho == rho_from_mu(found.mu)
    assert found.epsilon == epsilon_from_mu(1e-5, found.mu)
    assert found == guarantee_of(events[::-1], 1e-5)
    with pytest.raises(FrozenInstanceError):
        found.epsilon = 0.0
    with pytest.raises(FrozenInstanceError):
        events[0].sigma = 1e9


# --- bad input --------------------------------------------------------------------------------

# Every argument that is a number: how to call its function, the values it refuses by range.
FINITE = [math.nan, -math.inf, -1, -0.5, 10**400, -(10**400), np.float32("nan")]
NUMBERS = {
    "delta_from_mu-epsilon": ("epsilon", lambda v: delta_from_mu(v, 1.0), [1.1e12]),
    "delta_from_mu-mu": ("mu", lambda v: delta_from_mu(1.0, v), [0, 1e-16, 1e7]),
    "epsilon_from_mu-delta": (
        "delta",
        lambda v: epsilon_from_mu(v, 1.0),
        [0, 0.0, 1e-301, 0.51, 1, math.inf],
    ),
    "epsilon_from_mu-mu": ("mu", lambda v: epsilon_from_mu(1e-5, v), [0, 1e-16, 1e7]),
    "mu_from_epsilon-epsilon": (
        "epsilon",
        lambda v: mu_from_epsilon(v, 1e-5),
        [0, -0.0, 1e-13, 1.1e11],
    ),
    "mu_from_epsilon-delta": ("delta", lambda v: mu_from_epsilon(1.0, v), [0, 0.6, 2, math.inf]),
    "mu_from_infinite_epsilon-delta": ("delta", lambda v: mu_from_epsilon(math.inf, v), [0]),
    "compose": (r"mus\[1\]", lambda v: compose([1.0, v]), [0, 1e7]),
    "rho_from_mu": ("mu", rho_from_mu, [0, 1e7]),
    "sigma_for-sensitivity": (
        "sensitivity",
        lambda v: sigma_for(v, 1.0),
        [0, 1e-61, 1e61, math.inf],
    ),
    "sigma_for-mu": ("mu", lambda v: sigma_for(1, v), [0, 1e-16, 1e7]),
    "mu_of-sensitivity": ("sensitivity", lambda v: mu_of(v, 1.0), [0, 1e61, math.inf]),
    "mu_of-sigma": ("sigma", lambda v: mu_of(1, v), [1e-81, 1e81, math.inf]),
    "event-sensitivity": ("sensitivity", lambda v: GaussianEvent("x", v, 1.0), [0, math.inf]),
    "event-sigma": ("sigma", lambda v: GaussianEvent("x", 1, v), [1e-81, math.inf]),
    "guarantee_of-delta": (
        "delta",
        lambda v: guarantee_of([GaussianEvent("x", 1, 1.0)], v),
        [0, 1, math.inf],
    ),
}
NOT_NUMBERS = [
    None,
    "1",
    b"1",
    True,
    np.True_,
    1j,
    Fraction(1, 2),
    [1.0],
    np.ones(1),
    np.array(1.0),
]
CALLS = [pytest.param(*case, id=name) for name, case in NUMBERS.items()]


@pytest.mark.parametrize(("name", "call", "refused"), CALLS)
def test_numbers_out_of_range(name, call, refused):
    for value in FINITE + refused:
        with pytest.raises(InvalidInput, match=rf"^{name} must lie in \[.+\].*; got .+\. \w+"):
            call(value)


@pytest.mark.parametrize(("name", "call", "refused"), CALLS)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
def test_arguments_that_are_no_numbers(name, call, refused, value):
    found = type(value).__name__
    with pytest.raises(InvalidType, match=rf"^{name} must be an int or a float; got {found}\. \w+"):
        call(value)


def test_messages_show_the_number_found():
    with pytest.raises(InvalidInput, match=r"got -3\."):
        mu_from_epsilon(-3, 1e-5)
    with pytest.raises(InvalidInput, match="got nan"):
        mu_from_epsilon(1.0, math.nan)
    with pytest.raises(InvalidInput, match=r"mu of all events must lie .* got 1\.0*2e\+20"):
        guarantee_of([GaussianEvent("sums", 1, 1e-20)], 1e-5)


@pytest.mark.parametrize("values", [None, 1.0, "1.0", b"1", np.array(1.0)], ids=repr)
def test_what_is_no_list(values):
    with pytest.raises(InvalidType, match=r"^mus must be a list"):
        compose(values)
    with pytest.raises(InvalidType, match=r"^events must be a list"):
        guarantee_of(values, 1e-5)


def test_empty_lists():
    with pytest.raises(InvalidInput, match=r"^mus must hold at least 1 release; got 0"):
        compose([])
    with pytest.raises(InvalidInput, match=r"^events must hold at least 1 release; got 0"):
        guarantee_of([], 1e-5)


def test_events_that_are_none():
    with pytest.raises(InvalidType, match=r"^events\[1\] must be a GaussianEvent; got float"):
        guarantee_of([GaussianEvent("sums", 1, 1.0), 1.0], 1e-5)


def test_event_names():
    with pytest.raises(InvalidType, match=r"^name must be a str; got int"):
        GaussianEvent(3, 1, 1.0)
    with pytest.raises(InvalidInput, match=r"^name must not be blank"):
        GaussianEvent("  ", 1, 1.0)
