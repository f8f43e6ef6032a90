"""One fit in the ledger, and the budget as an object that is copied and closed."""

import copy
import os
import pickle
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator, clone

from cloister.errors import InvalidInput, InvalidType, LedgerError
from cloister.privacy import ledger_fit
from cloister.privacy.ledger import Budget

PARAMETERS = {"n_clusters": 3, "radius": 0.5}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spent.ledger"


@pytest.fixture
def budget(path: Path) -> Budget:
    return Budget(path, "rows", 1.0, 1e-5)


def whole(budget: Budget) -> float:
    return budget.mu_total**2


def test_taking_a_fit_up_again_costs_nothing_and_draws_nothing(budget: Budget) -> None:
    reservation = budget.reserve("fit", whole(budget), {"k": 3, "plan": [1, 2]})
    first = reservation.round("means", lambda: os.urandom(100))
    again = Budget(budget.path, "rows").reserve("fit", whole(budget), {"plan": (1, 2), "k": 3})
    assert again.round("means", lambda: pytest.fail("drawn again")) == first
    assert budget.mu_squared_spent == whole(budget)
    (record,) = budget.fits()
    assert (record.name, record.state, record.rounds) == ("fit", "reserved", 1)
    assert record.created.endswith("+00:00")


@pytest.mark.parametrize(
    ("share", "parameters", "numbers"),
    [
        (0.25, PARAMETERS, "mu_squared=.* \\(ledger: "),
        (0.5, {"n_clusters": 4, "radius": 0.5}, r"n_clusters=4 \(ledger: 3\);"),
        (0.5, {"n_clusters": 3}, r"radius=None \(ledger: 0.5\);"),
    ],
)
def test_a_name_belongs_to_one_fit(
    budget: Budget, share: float, parameters: dict, numbers: str
) -> None:
    budget.reserve("fit", whole(budget) * 0.5, PARAMETERS)
    with pytest.raises(LedgerError, match=numbers):
        budget.reserve("fit", whole(budget) * share, parameters)


def test_first_commit_of_a_round_wins(budget: Budget) -> None:
    one = budget.reserve("fit", 1e-3, PARAMETERS)
    two = Budget(budget.path, "rows").reserve("fit", 1e-3, PARAMETERS)
    assert one.stored("means") is None
    assert two.commit_round("means", b"two") == b"two"
    assert one.commit_round("means", b"one") == b"two"
    assert one.stored("means") == two.stored("means") == b"two"
    assert one.commit_round("other", b"") == b""
    assert budget.fits()[0].rounds == 2


@pytest.mark.parametrize("payload", [None, "text", bytearray(3), memoryview(b"abc")])
def test_payload_must_be_bytes(budget: Budget, payload: object) -> None:
    with pytest.raises(InvalidType, match="payload must be bytes"):
        budget.reserve("fit", 1e-3, PARAMETERS).commit_round("0", payload)


def test_payload_has_a_largest_size(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_fit, "MAX_PAYLOAD_BYTES", 10)
    with pytest.raises(InvalidInput, match="at most 10 bytes, got 11"):
        budget.reserve("fit", 1e-3, PARAMETERS).commit_round("0", bytes(11))


def test_finished_fit_stays_paid_and_readable_but_takes_no_round(budget: Budget) -> None:
    reservation = budget.reserve("fit", whole(budget), PARAMETERS)
    reservation.commit_round("0", b"noisy")
    reservation.finish()
    reservation.finish()
    again = budget.reserve("fit", whole(budget), PARAMETERS)
    assert again.round("0", lambda: pytest.fail("drawn again")) == b"noisy"
    with pytest.raises(LedgerError, match="is finished: round '1' cannot be added"):
        again.commit_round("1", b"more")
    with pytest.raises(LedgerError, match="is finished: it cannot be cancelled"):
        again.cancel()
    assert budget.mu_squared_left == 0.0
    assert budget.fits()[0].state == "finished"


def test_cancelling_gives_everything_back_and_frees_the_name(budget: Budget) -> None:
    reservation = budget.reserve("fit", whole(budget), PARAMETERS)
    reservation.cancel()
    reservation.cancel()
    assert budget.mu_squared_spent == 0.0
    anew = budget.reserve("fit", whole(budget) / 2, {"other": "parameters"})
    for refused in (lambda: reservation.commit_round("0", b"noisy"), reservation.finish):
        with pytest.raises(LedgerError, match="is cancelled"):
            refused()
    assert anew.commit_round("0", b"noisy") == b"noisy"
    assert [fit.state for fit in budget.fits()] == ["cancelled", "reserved"]


def test_no_way_back_after_a_release(budget: Budget) -> None:
    reservation = budget.reserve("fit", whole(budget), PARAMETERS)
    reservation.commit_round("0", b"noisy")
    with pytest.raises(LedgerError, match="1 of its rounds are committed, 0 allowed"):
        reservation.cancel()
    assert budget.mu_squared_left == 0.0


class Estimator(BaseEstimator):
    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget


def test_copies_spend_the_same_budget(budget: Budget) -> None:
    copies = [
        copy.deepcopy(budget),
        pickle.loads(pickle.dumps(budget)),
        clone(Estimator(budget)).budget,
    ]
    for duplicate in copies:
        assert duplicate == budget
        assert hash(duplicate) == hash(budget)
        duplicate.reserve(None, whole(budget) / 3, PARAMETERS)
    assert budget.mu_squared_left <= 1e-14
    assert budget != Budget(budget.path, "other", 1.0, 1e-5)
    assert budget != "rows"
    assert repr(budget) == f"Budget(path={budget.path!r}, dataset='rows', epsilon=1.0, delta=1e-05)"


def test_closed_budget_refuses(budget: Budget) -> None:
    reservation = budget.reserve("fit", 1e-3, PARAMETERS)
    with budget as entered:
        assert entered is budget
    for use in (budget.fits, budget.epsilon_spent, lambda: reservation.stored("0")):
        with pytest.raises(LedgerError, match="closed; open it again"):
            use()
    assert len(copy.deepcopy(budget).fits()) == 1


def test_path_survives_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    budget = Budget("spent.ledger", "rows", 1.0, 1e-5)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    budget.reserve("fit", 1e-3, PARAMETERS)
    assert budget == Budget(tmp_path / "spent.ledger", "rows")
