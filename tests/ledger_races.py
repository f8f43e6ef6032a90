"""Let processes race for one ledger: python tests/ledger_races.py RACE LEDGER PROCESSES.

Prints the list of what each process got, as JSON. A script of its own, because its processes are
forked, which takes a parent that runs nothing else.
"""

import json
import multiprocessing
import multiprocessing.synchronize
import sys
from functools import partial

from cloister.errors import BudgetExceeded
from cloister.privacy.ledger import Budget

start: multiprocessing.synchronize.Barrier


def reserve(path: str, number: int) -> str:
    """Reserve a tenth of the budget and release one round."""
    budget = Budget(path, "rows")
    start.wait()
    try:
        reservation = budget.reserve(f"fit {number}", budget.mu_total**2 / 10, {})
    except BudgetExceeded:
        return "refused"
    return reservation.round("0", f"{number}".encode).decode()


def draw(path: str, number: int) -> str:
    """Draw the same round of the same fit, after all have seen that it is missing."""
    reservation = Budget(path, "rows").reserve("fit", 1e-3, {})

    def payload() -> bytes:
        start.wait()
        return f"{number}".encode()

    return reservation.round("0", payload).decode()


def create(path: str, number: int) -> str:
    """Create the ledger and spend from it."""
    start.wait()
    return Budget(path, "rows", 1.0, 1e-5).reserve(f"fit {number}", 1e-3, {}).name


def main(race: str, path: str, processes: int) -> None:
    """Start all processes on the race at the same moment."""
    global start  # noqa: PLW0603  (a barrier can only be inherited)
    context = multiprocessing.get_context("fork")
    start = context.Barrier(processes)
    run = partial({"reserve": reserve, "draw": draw, "create": create}[race], path)
    with context.Pool(processes) as pool:
        print(json.dumps(pool.map(run, range(processes), chunksize=1)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
