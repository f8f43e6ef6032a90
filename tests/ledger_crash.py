"""Kill a fitting process at random moments and look at what its ledger holds afterwards.

    python tests/ledger_crash.py --kills 200 --log FILE

A child process fits without end on a shared ledger: it takes up the fits its predecessors left
behind, then makes new ones: reserve -> draw -> commit -> emit -> finish, where *emit* appends
the round to an outbox and syncs it, which stands for "has left the process". The parent kills it
(SIGKILL) at a moment uniform over its working time, and checks, after every kill, with plain
SQLite wherever it can: the file is intact; every emitted round is committed, byte for byte, under
a reservation that stands; the budget is not overspent; taking a fit up again costs nothing and
returns the committed bytes without drawing. Every tenth kill starts on a fresh ledger, within its
first few milliseconds, so that its creation is hit too.

SIGKILL keeps what the operating system has in its caches, so this shows atomicity and order. That
the order also holds through a power failure rests on SQLite's synchronous=EXTRA.
"""

import argparse
import hashlib
import mmap
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from fractions import Fraction
from pathlib import Path

from cloister.errors import BudgetExceeded
from cloister.privacy.ledger import RELATIVE_TOLERANCE, Budget

STAGES = ("open", "reserve", "draw", "commit", "emit", "finish", "cancel", "resume")
SLOTS = 15
ROUNDS = 3
WORKING_SECONDS = 0.4
BIRTH_SECONDS = 0.04
KILLS_PER_LEDGER = 10


def open_budget(directory: Path) -> Budget:
    return Budget(directory / "spent.ledger", "rows", 1.0, 1e-5)


def draw() -> bytes:
    """Something that differs on every call and takes as long as a small release does."""
    payload = os.urandom(random.choice((64, 3_000, 50_000)))
    for _ in range(random.randrange(40)):
        hashlib.sha256(bytes(100_000)).digest()
    return payload


def work(directory: Path, outbox: Path, stage: mmap.mmap) -> None:
    """Fit until killed; `stage` is shared with the parent and outlives the kill."""

    def at(name: str) -> None:
        stage[0] = STAGES.index(name)

    def drawn() -> bytes:
        at("draw")
        payload = draw()
        at("commit")
        return payload

    def run(name: str, first: str) -> None:
        at(first)
        reservation = budget.reserve(name, cost, {"rounds": ROUNDS})
        for number in range(ROUNDS):
            at("resume")
            payload = reservation.round(f"round {number}", drawn)
            at("emit")
            os.write(letters, f"{name}\t{number}\t{payload.hex()}\n".encode())
            os.fsync(letters)
        at("finish")
        reservation.finish()

    letters = os.open(outbox, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    at("open")
    budget = open_budget(directory)
    cost = budget.mu_total**2 / SLOTS
    left_behind = [fit.name for fit in budget.fits() if fit.state == "reserved"]
    for name in left_behind:
        run(name, "resume")
    while True:
        try:
            run(f"fit {random.getrandbits(48):012x}", "reserve")
            at("reserve")
            invalid = budget.reserve(None, cost, {"rounds": ROUNDS})
            at("cancel")
            invalid.cancel()
        except BudgetExceeded:
            run(random.choice([f.name for f in budget.fits() if f.rounds]), "resume")


def kill_once(directory: Path, outbox: Path, seconds: float) -> str | None:
    """Return the stage that the kill hit; None if the child had ended by itself."""
    stage = mmap.mmap(-1, 1)
    child = os.fork()
    if child == 0:
        try:
            random.seed()
            work(directory, outbox, stage)
        finally:  # an error in the child must not run on as a second parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return STAGES[stage[0]] if os.WIFSIGNALED(status) else None


def emitted(outbox: Path) -> list[tuple[str, str, str]]:
    """All that left the process; the last line may be torn: then a beginning of its payload."""
    text = outbox.read_text() if outbox.exists() else ""
    lines = [line.split("\t") for line in text.splitlines()]
    return [(line[0], line[1], line[2]) for line in lines if len(line) == 3]


def violations(directory: Path, outboxes: list[Path]) -> list[str]:
    """Everything that is wrong after a kill, as plain SQLite sees it."""
    left = [letter for outbox in outboxes for letter in emitted(outbox)]
    path = directory / "spent.ledger"
    if not path.exists():
        return ["a release without a ledger"] if left else []
    found = []
    with closing(sqlite3.connect(path)) as connection:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            return [f"damaged file: {verdict}"]
        if connection.execute("PRAGMA foreign_key_check").fetchall():
            found.append("a round without its reservation")
        committed = {
            (name, key): payload.hex()
            for name, key, payload in connection.execute(
                """SELECT name, key, payload FROM round JOIN fit ON fit.id = round.fit
                WHERE state <> 'cancelled'"""
            )
        }
        spent = connection.execute("SELECT mu_squared FROM fit WHERE state <> 'cancelled'")
        total = connection.execute("SELECT mu FROM budget").fetchone() or (0.0,)
        limit = Fraction(total[0] ** 2) * (1 + Fraction(RELATIVE_TOLERANCE))
        if sum(Fraction(cost) for (cost,) in spent) > limit:
            found.append("overspent")
    for name, number, payload in left:
        known = committed.get((name, f"round {number}"))
        if known is None or not known.startswith(payload):
            found.append(f"{name}, round {number}: left the process, but is not what is committed")
    return found


def resume_violations(directory: Path) -> tuple[int, list[str]]:
    """Take up every fit: the number of committed rounds returned, and what went wrong."""

    def must_not_draw() -> bytes:
        raise AssertionError("a committed round was drawn again")

    if not (directory / "spent.ledger").exists():
        return 0, []
    budget = open_budget(directory)
    before, reused, found = budget.mu_squared_spent, 0, []
    with closing(sqlite3.connect(budget.path)) as connection:
        rounds = connection.execute(
            "SELECT name, mu_squared, key, payload FROM round JOIN fit ON fit.id = round.fit"
        ).fetchall()
    for name, cost, key, payload in rounds:
        reservation = budget.reserve(name, cost, {"rounds": ROUNDS})
        if reservation.round(key, must_not_draw) != payload:
            found.append(f"{name}, {key}: resuming returned other bytes")
        reused += 1
    if budget.mu_squared_spent != before:
        found.append("resuming was charged")
    return reused, found


def campaign(kills: int, folder: Path) -> tuple[list[str], int]:
    """Return the lines of the report and the number of violations."""
    stages: Counter[str] = Counter()
    facts: Counter[str] = Counter()
    found: list[str] = []
    start = time.monotonic()
    for kill in range(kills):
        directory = folder / f"ledger {kill // KILLS_PER_LEDGER}"
        directory.mkdir(exist_ok=True)
        newborn = kill % KILLS_PER_LEDGER == 0
        seconds = random.uniform(0, BIRTH_SECONDS if newborn else WORKING_SECONDS)
        stage = kill_once(directory, directory / f"outbox {kill:03d}", seconds)
        if stage is None:
            found.append(f"kill {kill}: the child failed by itself")
            continue
        stages[stage] += 1
        facts["hot journals left behind"] += (directory / "spent.ledger-journal").exists()
        facts["killed before the ledger existed"] += not (directory / "spent.ledger").exists()
        wrong = violations(directory, sorted(directory.glob("outbox *")))
        reused, wrong_again = resume_violations(directory)
        facts["committed rounds returned again, identical"] += reused
        found += [f"kill {kill}, {stage}: {text}" for text in wrong + wrong_again]
    for directory in folder.iterdir():
        facts["rounds that left the process"] += sum(
            len(emitted(outbox)) for outbox in directory.glob("outbox *")
        )
        if (directory / "spent.ledger").exists():
            budget = open_budget(directory)
            facts["reservations that stand"] += sum(f.state != "cancelled" for f in budget.fits())
            facts["budgets spent to the last slot"] += budget.mu_squared_left < 1e-9
    lines = [f"{sum(stages.values())} kills -9 in {time.monotonic() - start:.1f} s, stage hit:"]
    lines += [f"  {name:8} {stages[name]:4d}  {'#' * stages[name]}" for name in STAGES]
    lines += [f"{number:6d}  {name}" for name, number in sorted(facts.items())]
    lines += [f"violations: {len(found)}", *found]
    return lines, len(found)


def main() -> int:
    """Run a campaign, print its report, exit with 1 if anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines, wrong = campaign(arguments.kills, Path(folder))
    report = "\n".join([f"python tests/ledger_crash.py --kills {arguments.kills}", *lines, ""])
    print(report, end="")
    if arguments.log:
        arguments.log.write_text(report)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
