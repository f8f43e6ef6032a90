"""What was spent on a data set: reserved before any row is read, kept after any crash.

The order that makes a release safe (design, section 4): reserve the whole fit's mu^2 -> read
rows, draw the noise of a round, commit the noisy payload -> only then let it out. A crash keeps
the reservation. A committed round is returned again instead of drawn again, so that nobody ever
sees two noise draws for one payment; a round that was not committed never left the process and
is drawn anew under the same reservation.

Costs are squared Gaussian-DP parameters, mu^2 = sum of (sensitivity / sigma)^2, which add up:
mechanisms that are mu_i-GDP compose to sqrt(sum mu_i^2)-GDP (Dong, Roth & Su 2022, corollary
3.3), also when each fit's cost was chosen after seeing what earlier fits released, as long as
the total was fixed beforehand (Smith & Thakurta 2022, "Fully Adaptive Composition for Gaussian
Differential Privacy").

The owner names the data set. Nothing computed from its rows is stored except noisy payloads.
"""

import math
import os
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from numbers import Real
from typing import Any, Self

from cloister.errors import BudgetExceeded, InvalidInput, LedgerError
from cloister.privacy import ledger_file
from cloister.privacy.accounting import epsilon_from_mu, mu_from_epsilon
from cloister.privacy.ledger_checks import (
    canonical,
    check_same_fit,
    check_same_total,
    checked_name,
    checked_number,
    checked_path,
)
from cloister.privacy.ledger_fit import FitRecord, Reservation, now

__all__ = ["RELATIVE_TOLERANCE", "Budget", "FitRecord", "Reservation"]

# Ten tenths of a budget, each rounded to float64, may add up to a few units in the last place
# more than the whole. So exact sums are compared with the total times (1 + 2^-48). Nothing is
# overspent by it: `mu_from_epsilon` stays further than that below the mu of (epsilon, delta).
RELATIVE_TOLERANCE = 2.0**-48


class Budget:
    """A fixed total of privacy for one data set, remembered in a file.

    Safe to share between threads and processes (each operation is a transaction of its own), to
    fork, pickle and clone; a copy goes on with the same file.

    Parameters
    ----------
    path : str or path
        The ledger, an SQLite file on a local disk; created if there is none.
    dataset : str
        The owner's name for the data set, up to 255 printable characters. Two names are two
        budgets: one set of rows must have one name, whatever file holds it.
    epsilon, delta : float, optional
        The total guarantee, epsilon > 0 and 0 < delta < 1. Needed when the data set is opened
        for the first time; afterwards they may be left out, or must agree.

    Raises
    ------
    InvalidType, InvalidInput
        An argument is not as described, or the total is missing at the first opening.
    LedgerError
        The file cannot be used, or holds another total. It is left as it was.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dataset: str,
        epsilon: float | None = None,
        delta: float | None = None,
    ) -> None:
        self._path = checked_path(path)
        self._dataset = checked_name("dataset", dataset)
        self._closed = False
        asked = {
            "epsilon": None if epsilon is None else checked_number("epsilon", epsilon, math.inf),
            "delta": None if delta is None else checked_number("delta", delta, 1.0),
        }
        if not os.path.exists(self._path):
            self._first_total(asked, [])  # refuses before a file appears
            ledger_file.create(self._path)
        with self._transaction() as connection:
            ledger_file.check_integrity(connection, self._path)
            names = [name for (name,) in connection.execute("SELECT dataset FROM budget")]
            if self._dataset not in names:
                connection.execute(
                    "INSERT INTO budget VALUES (?, ?, ?, ?, ?)",
                    (self._dataset, *self._first_total(asked, names), now()),
                )
            self._epsilon, self._delta, self._mu = self._total(connection)
        recorded = {"epsilon": self._epsilon, "delta": self._delta}
        check_same_total(self.path, self._dataset, recorded, asked)

    @property
    def path(self) -> str:
        """The ledger's absolute path."""
        return str(self._path)

    @property
    def dataset(self) -> str:
        """The owner's name for the data set."""
        return self._dataset

    @property
    def epsilon(self) -> float:
        """The total epsilon."""
        return self._epsilon

    @property
    def delta(self) -> float:
        """The delta at which epsilons are stated."""
        return self._delta

    @property
    def mu_total(self) -> float:
        """The total as a Gaussian-DP parameter."""
        return self._mu

    @property
    def mu_squared_spent(self) -> float:
        """What all fits but the cancelled ones have reserved, now."""
        with self._transaction() as connection:
            return float(self._spent(connection))

    @property
    def mu_squared_left(self) -> float:
        """What the next fit can reserve, now; at least 0."""
        with self._transaction() as connection:
            return float(self._left(connection))

    def epsilon_spent(self) -> float:
        """Return the epsilon, at the budget's delta, of all fits together; rounded up."""
        return self._as_epsilon(self.mu_squared_spent)

    def fits(self) -> list[FitRecord]:
        """Return every reservation ever made for the data set, oldest first."""
        query = """SELECT name, mu_squared, state, created,
            (SELECT count(*) FROM round WHERE round.fit = fit.id)
            FROM fit WHERE dataset = ? ORDER BY id"""
        with self._transaction() as connection:
            return [FitRecord(*row) for row in connection.execute(query, (self._dataset,))]

    def reserve(
        self, fit_name: str | None, mu_squared: float, public_parameters: Mapping[str, Any]
    ) -> Reservation:
        """Pay for a whole fit, durably, before any row is read; or find what was paid already.

        Parameters
        ----------
        fit_name : str or None
            A name under which an interrupted fit can be taken up again; None makes one up.
        mu_squared : float
            The cost of all the fit's releases together, > 0.
        public_parameters : mapping of str to JSON values
            All that shapes the fit. They are stored in clear, so nothing read off the rows may
            be among them. Taking a fit up again needs the same ones: its stored rounds would
            otherwise be passed off as answers to other questions.

        Returns
        -------
        Reservation
            At no new cost if the name is known with the same parameters and mu_squared.

        Raises
        ------
        BudgetExceeded
            Not enough is left, or mu_squared is infinite. Nothing was recorded.
        LedgerError
            The name is taken by a fit with another mu_squared or other parameters.
        InvalidType, InvalidInput
            An argument is not as described.
        """
        name = uuid.uuid4().hex if fit_name is None else checked_name("fit_name", fit_name)
        parameters = canonical(public_parameters)
        if isinstance(mu_squared, Real) and mu_squared == math.inf:
            raise BudgetExceeded(
                f"mu_squared=inf of fit {name!r} (epsilon=inf: no noise) exceeds any budget, and "
                f"that of data set {self._dataset!r} is {self._price(self._mu**2)} in total; give "
                "the fit a finite epsilon, or no budget"
            )
        cost = checked_number("mu_squared", mu_squared, math.inf)
        with self._transaction() as connection:
            row = connection.execute(
                """SELECT id, mu_squared, public_parameters FROM fit
                WHERE dataset = ? AND name = ? AND state <> 'cancelled'""",
                (self._dataset, name),
            ).fetchone()
            if row is not None:
                check_same_fit(name, row[1:], (cost, parameters), RELATIVE_TOLERANCE)
                return Reservation(self._transaction, row[0], name, row[1])
            if Fraction(cost) > self._left(connection, RELATIVE_TOLERANCE):
                raise BudgetExceeded(self._refusal(name, cost, float(self._left(connection))))
            identifier = connection.execute(
                """INSERT INTO fit (dataset, name, mu_squared, public_parameters, state, created)
                VALUES (?, ?, ?, ?, 'reserved', ?)""",
                (self._dataset, name, cost, parameters, now()),
            ).lastrowid
        assert identifier is not None  # an INSERT always has one
        return Reservation(self._transaction, identifier, name, cost)

    def close(self) -> None:
        """Refuse further use of this object and its reservations; no file was held open."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Budget):
            return NotImplemented
        return (self._path, self._dataset) == (other._path, other._dataset)

    def __hash__(self) -> int:
        return hash((self._path, self._dataset))

    def __repr__(self) -> str:
        return (
            f"Budget(path={self.path!r}, dataset={self._dataset!r}, epsilon={self._epsilon!r}, "
            f"delta={self._delta!r})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_closed": False}  # a copy is an opening of its own

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._closed:
            raise LedgerError(f"budget of data set {self._dataset!r} is closed; open it again")
        with ledger_file.transaction(self._path) as connection:
            yield connection

    def _first_total(
        self, asked: dict[str, float | None], known: list[str]
    ) -> tuple[float, float, float]:
        epsilon, delta = asked["epsilon"], asked["delta"]
        if epsilon is None or delta is None:
            raise InvalidInput(
                f"epsilon={epsilon} and delta={delta}: both are needed to open data set "
                f"{self._dataset!r} for the first time; path {self.path!r} knows {known}"
            )
        return epsilon, delta, mu_from_epsilon(epsilon, delta)

    def _total(self, connection: sqlite3.Connection) -> tuple[float, float, float]:
        query = "SELECT epsilon, delta, mu FROM budget WHERE dataset = ?"
        row = connection.execute(query, (self._dataset,)).fetchone()
        if row is None:
            raise LedgerError(
                f"path {self.path!r} no longer holds data set {self._dataset!r}; put back the file "
                "that did"
            )
        epsilon, delta, mu = row
        return epsilon, delta, mu

    def _spent(self, connection: sqlite3.Connection) -> Fraction:
        query = "SELECT mu_squared FROM fit WHERE dataset = ? AND state <> 'cancelled'"
        return sum(
            (Fraction(cost) for (cost,) in connection.execute(query, (self._dataset,))), Fraction()
        )

    def _left(self, connection: sqlite3.Connection, tolerance: float = 0.0) -> Fraction:
        total = Fraction(self._total(connection)[2] ** 2) * (1 + Fraction(tolerance))
        return max(Fraction(), total - self._spent(connection))

    def _as_epsilon(self, mu_squared: float) -> float:
        if not mu_squared:
            return 0.0
        # Outside the accounting's range of mu, [1e-15, 1e6], round up.
        mu = max(math.sqrt(mu_squared), 1e-15)
        return epsilon_from_mu(delta=self._delta, mu=mu) if mu <= 1e6 else math.inf

    def _price(self, mu_squared: float) -> str:
        return f"mu_squared={mu_squared:.6g} (epsilon={self._as_epsilon(mu_squared):.6g})"

    def _refusal(self, name: str, cost: float, left: float) -> str:
        return (
            f"mu_squared: fit {name!r} asks for {self._price(cost)}, and {self._price(left)} of "
            f"{self._price(self._mu**2)} is left for data set {self._dataset!r}, each alone at "
            f"delta={self._delta:g}; no row was read. Lower the fit's epsilon to what is left, or "
            "cancel a reservation that released nothing (fits() lists them)"
        )
