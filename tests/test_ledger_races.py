"""The ledger under many processes, threads, forks and kills."""

import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import ledger_crash
from cloister.errors import BudgetExceeded
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


def race(name: str, path: str | Path, processes: int) -> list[str]:
    script = Path(__file__).with_name("ledger_races.py")
    command = [sys.executable, str(script), name, str(path), str(processes)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=120)
    return json.loads(result.stdout)


def test_sixteen_processes_race_for_ten_slots(budget: Budget) -> None:
    results = race("reserve", budget.path, 16)
    paid = {f"fit {i}" for i, result in enumerate(results) if result == str(i)}
    assert (len(paid), results.count("refused")) == (10, 6)
    assert {fit.name for fit in budget.fits()} == paid
    assert budget.mu_squared_spent == pytest.approx(whole(budget), rel=1e-15)


def test_processes_that_race_for_a_round_get_the_same_bytes(budget: Budget) -> None:
    results = race("draw", budget.path, 4)
    assert set(results) == {budget.reserve("fit", 1e-3, {}).stored("0").decode()}
    assert len(budget.fits()) == 1


def test_processes_that_race_to_create_it_share_one_ledger(path: Path) -> None:
    assert race("create", path, 8) == [f"fit {i}" for i in range(8)]
    assert len(Budget(path, "rows").fits()) == 8
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_threads_share_a_budget(budget: Budget) -> None:
    def spend(number: int) -> bool:
        try:
            budget.reserve(f"fit {number}", whole(budget) / 10, PARAMETERS).commit_round("0", b"x")
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(30))) == 10


FORK_IN_A_TRANSACTION = """
import os, sys, threading, time
from cloister.privacy import ledger_file
from cloister.privacy.ledger import Budget

ledger_file.BUSY_SECONDS = 3.0
budget = Budget(sys.argv[1], "rows")
inside = threading.Event()

def hold():
    with budget._transaction() as connection:
        connection.execute("UPDATE budget SET created = created")
        inside.set()
        time.sleep(0.3)

thread = threading.Thread(target=hold)
thread.start()
inside.wait()
child = os.fork()
budget.reserve(f"{'parent' if child else 'child'}", 1e-3, {})
if child == 0:
    os._exit(0)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_fork_in_the_middle_of_a_transaction(budget: Budget) -> None:
    command = [sys.executable, "-c", FORK_IN_A_TRANSACTION, budget.path]
    subprocess.run(command, check=True, timeout=60)
    assert sorted(fit.name for fit in budget.fits()) == ["child", "parent"]


def test_twenty_kills() -> None:
    script = Path(__file__).with_name("ledger_crash.py")
    command = [sys.executable, str(script), "--kills", "20"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "20 kills -9 in" in result.stdout
    assert "violations: 0" in result.stdout


def test_the_crash_checks_can_fail(budget: Budget, path: Path) -> None:
    reservation = budget.reserve("fit", 1e-3, {"rounds": ledger_crash.ROUNDS})
    outbox = path.with_name("outbox")
    outbox.write_text(f"fit\t0\t{b'early'.hex()}\nfit\t1\t{b'torn'.hex()[:3]}")
    assert len(ledger_crash.violations(path.parent, [outbox])) == 2
    reservation.commit_round("round 0", b"later")
    reservation.commit_round("round 1", b"torn")
    (wrong,) = ledger_crash.violations(path.parent, [outbox])
    assert wrong.startswith("fit, round 0: left the process")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE fit SET mu_squared = 1e9")
    assert "overspent" in ledger_crash.violations(path.parent, [])
