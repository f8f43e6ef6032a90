"""Fits that pay from a ledger: before any row is read, once, and whatever interrupts them."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cloister import DPKMeans
from cloister.errors import BudgetExceeded, InvalidInput, LedgerError
from cloister.mixture_plan import TILTED_SHARES
from cloister.privacy import session
from cloister.privacy.accounting import mu_from_epsilon
from cloister.privacy.ledger import Budget
from paid_fits import (
    ESTIMATORS,
    cost,
    every_estimator,
    interrupt_fit,
    make_rows,
    paying,
    public_values,
    questions,
    rounds,
)
from private_objects import mentions, numbers_in, values_of
from untouchable import RowWasRead, untouchable

# Class counts of `rows`, and of `many_rows`: too large for a number of pages or an offset in a
# page of SQLite. The first one and the sum are primes.
COUNTS, MANY = (1009, 1402), (70001, 66012)
SECRETS = (*MANY, sum(MANY))


@pytest.fixture(scope="module")
def rows():
    return make_rows(COUNTS)


@pytest.fixture(scope="module")
def many_rows():
    return make_rows(MANY)


@pytest.fixture
def budget(tmp_path):
    return Budget(tmp_path / "spent.ledger", "rows", 1.0, 1e-5)


@every_estimator
def test_no_row_is_read_when_the_budget_cannot_pay(estimator, rows, budget):
    X, y = rows
    paying(estimator, budget).fit(X, y)
    spent = budget.mu_squared_spent
    with pytest.raises(BudgetExceeded, match="no row was read"):
        paying(estimator, budget).fit(untouchable(X), y)
    assert budget.mu_squared_spent == spent
    # The same rows are noticed when they are read, so the above has power.
    with pytest.raises(RowWasRead):
        paying(estimator, budget, epsilon=0.05).fit(untouchable(X), y)
    # Nobody knows what was seen by then: the reservation stays.
    assert budget.mu_squared_spent > spent


def test_a_fit_without_noise_cannot_be_paid(rows, budget):
    with pytest.raises(BudgetExceeded, match="epsilon=inf"):
        DPKMeans(3, epsilon=float("inf"), budget=budget).fit(untouchable(rows[0]))
    assert budget.fits() == []


@every_estimator
def test_noise_that_can_be_repeated_cannot_be_paid(estimator, rows, budget):
    X, y = rows
    with pytest.raises(InvalidInput, match=r"unsafe_noise_seed=7.*epsilon=inf"):
        paying(estimator, budget, unsafe_noise_seed=7).fit(untouchable(X), y)
    assert budget.fits() == []


@every_estimator
def test_a_whole_fit_costs_what_it_asked_for(estimator, rows, budget):
    model = paying(estimator, budget, fit_name="one").fit(*rows)
    (fit,) = budget.fits()
    assert (fit.name, fit.state, fit.rounds) == ("one", "finished", len(model.privacy_.events))
    assert budget.mu_squared_spent == cost(estimator)
    assert model.privacy_.mu**2 <= budget.mu_squared_spent


@every_estimator
def test_invalid_rows_give_the_reservation_back(estimator, rows, budget):
    X, y = rows[0].copy(), rows[1]
    X[1234, 2] = np.nan
    with pytest.raises(InvalidInput, match="row 1234"):
        paying(estimator, budget, fit_name="one").fit(X, y)
    assert budget.mu_squared_spent == 0
    assert [fit.state for fit in budget.fits()] == ["cancelled"]
    paying(estimator, budget, fit_name="one").fit(*rows)  # the name is free again


def test_invalid_rows_after_a_release_give_nothing_back(rows, budget):
    X = rows[0].copy()
    interrupt_fit(paying(ESTIMATORS["kmeans"], budget, fit_name="one"), X, None, at=2)
    X[0, 0] = np.inf
    with pytest.raises(InvalidInput, match="row 0"):
        paying(ESTIMATORS["kmeans"], budget, fit_name="one").fit(X)
    assert [fit.state for fit in budget.fits()] == ["reserved"]
    assert budget.mu_squared_spent == cost(ESTIMATORS["kmeans"])


@pytest.mark.parametrize("at", [1, 3, 4])
@every_estimator
def test_an_interrupted_fit_is_taken_up_where_it_ended(estimator, at, rows, budget):
    model = paying(estimator, budget, fit_name="one")
    interrupt_fit(model, *rows, at)
    assert not hasattr(model, "privacy_")
    before = rounds(budget)
    assert len(before) == at - 1
    assert [(fit.state, fit.rounds) for fit in budget.fits()] == [("reserved", at - 1)]

    with questions() as asked:
        resumed = paying(estimator, budget, fit_name="one").fit(*rows)
    after = rounds(budget)
    assert before.items() <= after.items()  # bit for bit
    assert len(asked) == len(after) - len(before)  # answered rounds are not asked again
    assert [event.name for event in resumed.privacy_.events] == [key[2:] for key in after]
    assert budget.mu_squared_spent == cost(estimator)
    assert mu_from_epsilon(0.8, 1e-5) * (1 - 1e-9) <= resumed.privacy_.mu
    assert resumed.privacy_.mu <= mu_from_epsilon(0.8, 1e-5)

    # Once finished, it comes again for nothing, and nothing is asked of the rows.
    with questions() as asked:
        again = paying(estimator, budget, fit_name="one").fit(*rows)
    assert public_values(again) == public_values(resumed)
    assert asked == []
    assert budget.mu_squared_spent == cost(estimator)


OTHER = {
    "kmeans": [
        {"epsilon": 0.7},
        {"delta": 1e-6},
        {"n_clusters": 4},
        {"clip_norm": 1.5},
        {"metric": "cosine"},
        {"init": "random", "plan_overrides": None},
        {"n_rounds": 4},
        {"n_hint": 3000},
        {"random_state": 3},
        {"encoder_id": "other"},
    ],
    "mixture": [
        {"epsilon": 0.7},
        {"n_components": 2},
        {"covariance_type": "full"},
        {"classes": [4, 2]},
        {"clip_norm": 0.5},
        {"n_hint": 3000},
        {"plan_overrides": {"mean_radius": 0.8}},
        {"random_state": 3},
    ],
}
CHANGES = [(name, change) for name, changes in OTHER.items() for change in changes]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=str)
def test_a_fit_is_not_taken_up_with_other_parameters(name, change, rows, budget):
    X, y = rows
    interrupt_fit(paying(ESTIMATORS[name], budget, fit_name="one"), X, y, at=2)
    with pytest.raises(LedgerError, match="belongs to another fit"):
        paying(ESTIMATORS[name], budget, fit_name="one", **change).fit(untouchable(X), y)
    assert budget.mu_squared_spent == cost(ESTIMATORS[name])


def test_a_fit_is_not_taken_up_by_another_version_or_plan(rows, budget, monkeypatch):
    X, y = rows
    tilted = paying(ESTIMATORS["mixture"], budget, fit_name="one", tilt=True)
    interrupt_fit(tilted, X, y, at=3)
    resumed = paying(ESTIMATORS["mixture"], budget, fit_name="one", tilt=True)
    with monkeypatch.context() as other:
        other.setattr(session, "__version__", "0.0.1")
        with pytest.raises(LedgerError, match=r"cloister_version='0\.0\.1'"):
            resumed.fit(untouchable(X), y)
    with monkeypatch.context() as other:
        other.setitem(TILTED_SHARES, "mean", 0.02)
        other.setitem(TILTED_SHARES, "gradients", 0.87)
        with pytest.raises(LedgerError, match="plan="):
            resumed.fit(untouchable(X), y)
    resumed.fit(X, y)


def test_two_names_pay_twice(rows, budget):
    half = ESTIMATORS["kmeans"]
    for name in ("one", "two"):
        paying(half, budget, fit_name=name, epsilon=0.5).fit(rows[0])
    single = mu_from_epsilon(0.5, 1e-5) ** 2
    assert budget.mu_squared_spent == pytest.approx(2 * single, rel=1e-15)
    first, second = ([v for k, v in rounds(budget).items() if k.startswith(f)] for f in "12")
    assert all(a != b for a, b in zip(first, second, strict=True))
    with pytest.raises(BudgetExceeded):
        paying(half, budget, fit_name="three").fit(rows[0])


def test_fits_without_a_name_pay_each_time(rows, budget):
    for number in (1, 2):
        paying(ESTIMATORS["mixture"], budget, epsilon=0.4).fit(*rows)
        assert len(budget.fits()) == number


def test_processes_that_race_through_a_fit_end_with_one_model(budget):
    script = Path(__file__).with_name("fit_races.py")
    racers = [
        subprocess.Popen(
            [sys.executable, str(script), budget.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n", "ready\n"]
    for racer in racers:
        racer.stdin.close()
    models = {racer.stdout.read().strip() for racer in racers}
    for racer in racers:
        racer.stdout.close()
        assert racer.wait(timeout=60) == 0
    assert len(models) == 1
    assert {len(model) for model in models} == {64}
    assert budget.mu_squared_spent == mu_from_epsilon(0.8, 1e-5) ** 2
    assert [fit.state for fit in budget.fits()] == ["finished"]


@every_estimator
def test_the_ledger_holds_public_and_noisy_values_alone(estimator, many_rows, tmp_path):
    budgets = [Budget(tmp_path / name, "rows", 1.0, 1e-5) for name in ("first", "second")]
    for budget in budgets:
        paying(estimator, budget, fit_name="one", random_state=0).fit(*many_rows)
    payloads, others = (list(rounds(budget).values()) for budget in budgets)
    same = total = 0
    for payload, other in zip(payloads[:2], others[:2], strict=True):  # later questions differ
        noisy, again = (np.frombuffer(p, dtype=np.int64, offset=32) for p in (payload, other))
        same, total = same + int((noisy == again).sum()), total + len(noisy)
    assert total > 5
    assert same <= 2  # sigma > 10^4: three equal pairs among 30 happen once in 10^9 runs
    # A noisy value may be a secret by chance, once in 10^3 files; hardly in both.
    found = [set(numbers_in(Path(budget.path).read_bytes(), SECRETS)) for budget in budgets]
    assert found[0] & found[1] == set()
    with closing(sqlite3.connect(budgets[0].path)) as connection:
        stored = {
            table: connection.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("budget", "fit")
        }
    assert mentions(values_of(stored), SECRETS) == []


def test_labels_are_read_after_the_payment(budget, rows):
    X, _ = rows

    class Labels:
        def __array__(self, *_, **__):
            raise RowWasRead

    with pytest.raises(BudgetExceeded):
        paying(ESTIMATORS["mixture"], budget, epsilon=3.0).fit(X, Labels())
    with pytest.raises(RowWasRead):
        paying(ESTIMATORS["mixture"], budget).fit(X, Labels())
