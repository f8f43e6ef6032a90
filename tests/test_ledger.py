"""The ledger as a budget: what it opens, admits and refuses."""

import math
import random
from fractions import Fraction
from pathlib import Path

import mpmath
import pytest

from cloister.errors import BudgetExceeded, InvalidInput, InvalidType, LedgerError
from cloister.privacy.accounting import epsilon_from_mu, mu_from_epsilon
from cloister.privacy.ledger import RELATIVE_TOLERANCE, Budget

PARAMETERS = {"n_clusters": 3, "radius": 0.5}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spent.ledger"


@pytest.fixture
def budget(path: Path) -> Budget:
    return Budget(path, "rows", 1.0, 1e-5)


def whole(budget: Budget) -> float:
    return budget.mu_total**2


def test_first_opening_fixes_the_total(path: Path) -> None:
    budget = Budget(path, "rows", epsilon=2, delta=1e-6)
    again = Budget(str(path), "rows")
    assert (again.epsilon, again.delta) == (2.0, 1e-6)
    assert again.mu_total == budget.mu_total == mu_from_epsilon(2.0, 1e-6)
    assert again.mu_squared_spent == again.epsilon_spent() == 0.0
    assert again.mu_squared_left == pytest.approx(whole(budget), rel=1e-15)
    assert again.fits() == []


@pytest.mark.parametrize("total", [{}, {"epsilon": 1.0}, {"delta": 1e-5}])
def test_first_opening_needs_a_total_and_leaves_no_file(path: Path, total: dict) -> None:
    with pytest.raises(InvalidInput, match=r"both are needed .* 'rows'"):
        Budget(path, "rows", **total)
    assert list(path.parent.iterdir()) == []


def test_new_data_set_in_a_known_ledger_needs_a_total_too(budget: Budget) -> None:
    with pytest.raises(InvalidInput, match=r"'row' for the first time; .* knows \['rows'\]"):
        Budget(budget.path, "row")


@pytest.mark.parametrize(
    ("total", "numbers"),
    [
        ({"epsilon": 2.0}, "epsilon=2.0 .* epsilon=1.0"),
        ({"delta": 1e-6}, "delta=1e-06 .* delta=1e"),
    ],
)
def test_another_total_is_refused(budget: Budget, total: dict, numbers: str) -> None:
    with pytest.raises(LedgerError, match=numbers):
        Budget(budget.path, "rows", **total)
    assert Budget(budget.path, "rows", 1.0, 1e-5).epsilon == 1.0


def test_data_sets_do_not_share_a_budget(budget: Budget) -> None:
    other = Budget(budget.path, "other rows", 1.0, 1e-5)
    budget.reserve("fit", whole(budget), PARAMETERS).commit_round("0", b"ours")
    theirs = other.reserve("fit", whole(other), PARAMETERS)
    assert theirs.stored("0") is None
    assert len(other.fits()) == 1


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("epsilon", math.inf, InvalidInput),
        ("epsilon", math.nan, InvalidInput),
        ("epsilon", 0, InvalidInput),
        ("epsilon", -1.0, InvalidInput),
        ("epsilon", 10**400, InvalidInput),
        ("epsilon", "1", InvalidType),
        ("epsilon", True, InvalidType),
        ("delta", 0.0, InvalidInput),
        ("delta", 1.0, InvalidInput),
        ("delta", math.nan, InvalidInput),
        ("delta", b"1e-5", InvalidType),
        ("dataset", "", InvalidInput),
        ("dataset", " rows", InvalidInput),
        ("dataset", "a\nb", InvalidInput),
        ("dataset", "\ud800", InvalidInput),
        ("dataset", "x" * 256, InvalidInput),
        ("dataset", None, InvalidType),
        ("path", "", InvalidInput),
        ("path", "a\0b", InvalidInput),
        ("path", 3, InvalidType),
        ("path", b"spent.ledger", InvalidType),
    ],
)
def test_bad_argument_of_budget(path: Path, argument: str, value: object, error: type) -> None:
    arguments = {"path": path, "dataset": "rows", "epsilon": 1.0, "delta": 1e-5, argument: value}
    with pytest.raises(error, match=f"^{argument} must"):
        Budget(**arguments)
    assert list(path.parent.iterdir()) == []


def test_one_spelling_of_a_name(path: Path) -> None:
    Budget(path, "Z\u00fcrich", 1.0, 1e-5)
    assert Budget(path, "Zu\u0308rich").dataset == "Z\u00fcrich"


@pytest.mark.parametrize("slots", [1, 3, 7, 10, 49, 100])
def test_equal_shares_fit_exactly(budget: Budget, slots: int) -> None:
    for _ in range(slots):
        budget.reserve(None, whole(budget) / slots, PARAMETERS)
    assert budget.mu_squared_spent == pytest.approx(whole(budget), rel=1e-14)
    assert budget.epsilon_spent() == pytest.approx(1.0, rel=1e-12)
    with pytest.raises(BudgetExceeded):
        budget.reserve(None, whole(budget) * 1e-12, PARAMETERS)
    assert len(budget.fits()) == slots


def test_uneven_shares_never_overspend(budget: Budget) -> None:
    generator, refused = random.Random(5), 0
    for _ in range(120):
        try:
            budget.reserve(None, whole(budget) * 10 ** generator.uniform(-9, -0.5), PARAMETERS)
        except BudgetExceeded:
            refused += 1
    limit = Fraction(whole(budget)) * (1 + Fraction(RELATIVE_TOLERANCE))
    assert sum(Fraction(fit.mu_squared) for fit in budget.fits()) <= limit
    assert 0 < refused < 120
    budget.reserve(None, budget.mu_squared_left, PARAMETERS)
    assert budget.mu_squared_left <= 1e-14


@pytest.mark.parametrize("epsilon", [0.01, 1.0, 8.0, 100.0])
@pytest.mark.parametrize("delta", [0.1, 1e-5, 1e-12, 1e-100])
def test_tolerance_lies_within_the_margin_of_the_accounting(epsilon: float, delta: float) -> None:
    with mpmath.workdps(150):
        mu = mpmath.mpf(mu_from_epsilon(epsilon, delta)) * mpmath.sqrt(1 + RELATIVE_TOLERANCE)
        spent = mpmath.ncdf(-epsilon / mu + mu / 2)
        spent -= mpmath.exp(epsilon) * mpmath.ncdf(-epsilon / mu - mu / 2)
        assert spent <= mpmath.mpf(delta)


def test_refusal_shows_asked_left_and_total(budget: Budget) -> None:
    budget.reserve("first", whole(budget) * 0.75, PARAMETERS)
    with pytest.raises(BudgetExceeded) as caught:
        budget.reserve("second", whole(budget) / 2, PARAMETERS)
    for share in (0.5, 0.25, 1.0):
        mu_squared = whole(budget) * share
        epsilon = epsilon_from_mu(1e-5, math.sqrt(mu_squared))
        assert f"mu_squared={mu_squared:.6g} (epsilon={epsilon:.6g})" in str(caught.value)
    assert "no row was read" in str(caught.value)
    assert [fit.name for fit in budget.fits()] == ["first"]


@pytest.mark.parametrize("cost", [math.inf, 1e300, 1e13])
def test_no_budget_covers_a_fit_without_noise(budget: Budget, cost: float) -> None:
    with pytest.raises(BudgetExceeded, match="epsilon=inf"):
        budget.reserve("fit", cost, PARAMETERS)
    assert budget.fits() == []


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("mu_squared", math.nan, InvalidInput),
        ("mu_squared", -math.inf, InvalidInput),
        ("mu_squared", 0.0, InvalidInput),
        ("mu_squared", -1e-3, InvalidInput),
        ("mu_squared", "0.1", InvalidType),
        ("mu_squared", None, InvalidType),
        ("mu_squared", 1j, InvalidType),
        ("fit_name", "", InvalidInput),
        ("fit_name", "a\tb", InvalidInput),
        ("fit_name", 7, InvalidType),
        ("public_parameters", None, InvalidType),
        ("public_parameters", {1: 2}, InvalidType),
        ("public_parameters", {"centres": object()}, InvalidType),
        ("public_parameters", {"radius": math.nan}, InvalidInput),
    ],
)
def test_bad_argument_of_reserve(budget: Budget, argument: str, value: object, error: type) -> None:
    arguments = {"fit_name": "f", "mu_squared": 1e-3, "public_parameters": {}, argument: value}
    with pytest.raises(error, match=f"^{argument} must"):
        budget.reserve(**arguments)
    assert budget.fits() == []
