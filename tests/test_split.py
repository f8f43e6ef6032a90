"""One budget in two parts: never more than the whole, by this accountant and by another."""

import math
from fractions import Fraction

import pytest
from dp_accounting.pld import privacy_loss_distribution

from cloister.errors import InvalidInput, InvalidType
from cloister.privacy.accounting import GaussianEvent, guarantee_of, mu_from_epsilon, sigma_for
from cloister.privacy.split import split_epsilon

BUDGETS = [(0.1, 1e-5), (1.0, 1e-5), (1.0, 1e-9), (3.7, 1e-6), (10.0, 1e-5), (200.0, 1e-5)]
every_budget = pytest.mark.parametrize(("epsilon", "delta"), BUDGETS)
every_share = pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])


@every_budget
@every_share
def test_parts_compose_to_no_more_than_the_whole_and_hardly_less(epsilon, delta, share):
    parts = split_epsilon(epsilon, delta, share)
    mus = [mu_from_epsilon(part, delta) for part in parts]
    whole = Fraction(mu_from_epsilon(epsilon, delta)) ** 2
    spent = [Fraction(mu) ** 2 for mu in mus]
    assert sum(spent) <= whole  # exactly: a ledger of the whole can pay both
    assert spent[0] <= (1 - Fraction(share)) * whole
    assert float(spent[1] / whole) == pytest.approx(share, rel=1e-9)
    assert float(sum(spent) / whole) == pytest.approx(1, rel=1e-9)
    events = [GaussianEvent("a", 1.0, sigma_for(1.0, mu * (1 - 1e-12))) for mu in mus]
    assert epsilon * (1 - 1e-9) <= guarantee_of(events, delta).epsilon <= epsilon


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 1e-5), (3.7, 1e-6)])
def test_another_accountant_agrees(epsilon, delta):
    mus = [mu_from_epsilon(part, delta) for part in split_epsilon(epsilon, delta, 0.3)]
    first, second = (
        privacy_loss_distribution.from_gaussian_mechanism(
            1 / mu, value_discretization_interval=1e-4
        )
        for mu in mus
    )
    composed = first.compose(second).get_epsilon_for_delta(delta)
    assert composed == pytest.approx(epsilon, rel=2e-3)


def test_no_noise_stays_no_noise():
    assert split_epsilon(math.inf, 1e-5, 0.3) == (math.inf, math.inf)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_shares_that_are_none_are_refused(share):
    with pytest.raises(InvalidInput, match=r"^labeller_share="):
        split_epsilon(1.0, 1e-5, share, "labeller_share")


def test_a_share_that_leaves_nothing_is_refused():
    with pytest.raises(InvalidInput, match=r"nearer to 0\.5"):
        split_epsilon(1e-3, 1e-3, 1e-6)
    with pytest.raises(InvalidType, match=r"^share must be a number"):
        split_epsilon(1.0, 1e-5, "half")
