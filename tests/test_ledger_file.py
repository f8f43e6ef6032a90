"""The file of the ledger: unusable ones are named and left alone, failures spoil nothing."""

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cloister.errors import LedgerError
from cloister.privacy import ledger_file
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


def sqlite_file(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def unfinished_foreign_log(path: Path) -> None:
    """Another program's database with a write-ahead log that opening it would fold in."""
    code = f"""import os, sqlite3
connection = sqlite3.connect({str(path)!r}, isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE theirs (x)")
os._exit(0)"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Path(f"{path}-wal").stat().st_size > 0


def ledger(path: Path) -> None:
    Budget(path, "rows", 1.0, 1e-5).reserve("f", 1e-3, {}).commit_round("0", bytes(100_000))


def truncated(path: Path) -> None:
    ledger(path)
    os.truncate(path, 50_000)


def overwritten(path: Path) -> None:
    ledger(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


def write_protected(path: Path) -> None:
    ledger(path)
    path.chmod(0o400)


def other_version(path: Path) -> None:
    ledger(path)
    sqlite_file(path, "PRAGMA user_version = 2")


def without_tables(path: Path) -> None:
    sqlite_file(
        path, f"PRAGMA application_id = {ledger_file.APPLICATION_ID}", "PRAGMA user_version = 1"
    )


UNUSABLE = {
    "directory": (Path.mkdir, "not a regular file"),
    "pipe": (os.mkfifo, "not a regular file"),
    "empty": (Path.touch, r"not a ledger of cloister \(0 bytes"),
    "text": (lambda path: path.write_text("spent: 0.5\n" * 99), "not a ledger of cloister"),
    "foreign": (lambda path: sqlite_file(path, "CREATE TABLE t (x)"), "not a ledger of cloister"),
    "foreign log": (unfinished_foreign_log, "not a ledger of cloister"),
    "other version": (other_version, "version 2, this cloister reads version 1"),
    "truncated": (truncated, "restore its last backup"),
    "overwritten": (overwritten, "restore its last backup"),
    "without tables": (without_tables, "restore its last backup"),
    "write-protected": (write_protected, "write-protected; make the file writable"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_file_is_named_and_left_alone(path: Path, kind: str) -> None:
    make, way_out = UNUSABLE[kind]
    make(path)
    before = {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    names = sorted(path.parent.iterdir())
    with pytest.raises(LedgerError, match=way_out) as caught:
        Budget(path, "rows", 1.0, 1e-5)
    assert f"path {str(path)!r}" in str(caught.value)
    assert sorted(path.parent.iterdir()) == names
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize("name", ["missing/spent.ledger", "file/spent.ledger", "x" * 300])
def test_uncreatable_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"cannot be created: .* existing writable directory"):
        Budget(tmp_path / name, "rows", 1.0, 1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_vanished_ledger_is_not_born_again(budget: Budget) -> None:
    reservation = budget.reserve("fit", 1e-3, PARAMETERS)
    os.unlink(budget.path)
    for use in (lambda: budget.reserve("g", 1e-3, {}), lambda: reservation.commit_round("0", b"")):
        with pytest.raises(LedgerError, match="cannot be read: No such file"):
            use()
    assert not os.path.exists(budget.path)


def test_replaced_ledger_is_noticed(budget: Budget) -> None:
    reservation = budget.reserve("fit", 1e-3, PARAMETERS)
    os.unlink(budget.path)
    Budget(budget.path, "other", 1.0, 1e-5)
    with pytest.raises(LedgerError, match="no longer holds data set 'rows'"):
        budget.reserve("g", 1e-3, {})
    with pytest.raises(LedgerError, match="not in the ledger any more"):
        reservation.commit_round("0", b"")


def test_locked_ledger(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_file, "BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(budget.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="database is locked; another process keeps it"):
            budget.reserve("fit", 1e-3, PARAMETERS)
    assert budget.fits() == []


def test_full_disk_releases_nothing_and_spoils_nothing(budget: Budget) -> None:
    reservation = budget.reserve("fit", 1e-3, PARAMETERS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(budget.path) + 4096, limits[1]))
    try:
        with pytest.raises(LedgerError, match="cannot be used"):
            reservation.commit_round("0", os.urandom(10**6))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert reservation.stored("0") is None
    assert reservation.commit_round("0", b"noisy") == b"noisy"


def test_commits_are_synced_to_the_directory(budget: Budget) -> None:
    with budget._transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (3,)  # EXTRA
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
