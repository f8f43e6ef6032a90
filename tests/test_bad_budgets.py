"""Fits that a budget cannot pay or that fail on the way: nothing is lost or spent twice."""

import numpy as np
import pytest

from cloister import Budget, DPKMeans
from cloister.engines import LocalEngine
from cloister.errors import BudgetExceeded, InvalidInput, LedgerError
from cloister.sources import ArraySource

rng = np.random.default_rng(5)
ROWS = rng.normal(size=(50, 4))
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)


@pytest.fixture
def budget(tmp_path):
    return Budget(tmp_path / "spent.ledger", "rows", epsilon=2.0, delta=1e-5)


@pytest.mark.parametrize(
    ("epsilon", "error", "way_out"),
    [(3.0, BudgetExceeded, "Lower the fit's epsilon"), (np.inf, BudgetExceeded, "finite epsilon")],
)
def test_too_dear_before_any_row_is_read(budget, monkeypatch, epsilon, error, way_out):
    def read(*_):
        raise AssertionError("a row was read")

    monkeypatch.setattr(ArraySource, "chunks", read)
    with pytest.raises(error, match=way_out):
        DPKMeans(2, epsilon, budget=budget).fit(ROWS)
    assert budget.fits() == []


def test_closed_budget(budget):
    budget.close()
    with pytest.raises(LedgerError, match=r"budget .* is closed; open it again"):
        DPKMeans(2, budget=budget).fit(ROWS)
    assert Budget(budget.path, "rows").fits() == []


@pytest.mark.parametrize(
    ("error", "state"), [(InvalidInput, "cancelled"), (MemoryError, "reserved")]
)
def test_failure_while_rows_are_read(budget, monkeypatch, error, state):
    estimator = DPKMeans(2, n_rounds=1, budget=budget, fit_name="first")
    with monkeypatch.context() as patch:

        def fail(*_):
            raise error("while the rows are read")

        patch.setattr(ArraySource, "chunks", fail)
        with pytest.raises(error):
            estimator.fit(ROWS)
    assert [(fit.state, fit.rounds) for fit in budget.fits()] == [(state, 0)]
    assert (budget.mu_squared_spent == 0) == (state == "cancelled")
    estimator.fit(ROWS)  # pays once, whatever was reserved
    assert [fit.state for fit in budget.fits() if fit.state != "cancelled"] == ["finished"]


def test_failure_after_a_release_keeps_it_paid_and_is_taken_up_again(budget, monkeypatch):
    estimator = DPKMeans(2, n_rounds=1, budget=budget, fit_name="first")
    with monkeypatch.context() as patch:

        def fail(*_):
            raise MemoryError

        patch.setattr(LocalEngine, "exact_moments", fail)
        with pytest.raises(MemoryError):
            estimator.fit(ROWS)
    (fit,) = budget.fits()
    assert (fit.state, fit.rounds) == ("reserved", 1)
    spent = budget.mu_squared_spent
    assert spent > 0
    bad = ROWS.copy()
    bad[0] = np.nan
    with pytest.raises(InvalidInput, match=r"^X has 1 of 50 rows with NaN"):
        estimator.fit(bad)
    assert budget.mu_squared_spent == spent
    estimator.fit(ROWS)
    assert [fit.state for fit in budget.fits()] == ["finished"]
    assert budget.mu_squared_spent == spent


@pytest.mark.parametrize("other", [{"n_clusters": 3}, {"epsilon": 0.5}, {"clip_norm": 2.0}])
def test_one_name_is_one_fit(budget, other):
    estimator = DPKMeans(2, n_rounds=1, budget=budget, fit_name="first").fit(ROWS)
    spent = budget.mu_squared_spent
    with pytest.raises(LedgerError, match=r"^fit_name 'first' .* or another fit_name"):
        estimator.set_params(**other).fit(ROWS)
    assert budget.mu_squared_spent == spent
