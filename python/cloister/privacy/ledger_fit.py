"""One fit in the ledger: its committed rounds, and how it ends."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from cloister.errors import InvalidInput, InvalidType, LedgerError
from cloister.privacy.ledger_checks import checked_name

MAX_PAYLOAD_BYTES = 2**29  # below SQLite's own limit of 10^9 bytes for a row


@dataclass(frozen=True)
class FitRecord:
    """One line of the ledger.

    Attributes
    ----------
    name : str
        The fit's name.
    mu_squared : float
        What it reserved, in squared Gaussian-DP units.
    state : {"reserved", "finished", "cancelled"}
        Only a cancelled fit costs nothing.
    created : str
        When it was reserved, UTC, ISO 8601.
    rounds : int
        How many rounds were committed.
    """

    name: str
    mu_squared: float
    state: Literal["reserved", "finished", "cancelled"]
    created: str
    rounds: int


class Reservation:
    """The right to make the releases of one fit; made by `Budget.reserve`.

    Several processes may hold the same reservation: of two that race for a round, both get the
    payload that was committed first.

    Attributes
    ----------
    name : str
        The fit's name, to take it up again after a crash.
    mu_squared : float
        What was reserved.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
        identifier: int,
        name: str,
        mu_squared: float,
    ) -> None:
        self._transaction = transaction
        self._identifier = identifier
        self.name = name
        self.mu_squared = mu_squared

    def __repr__(self) -> str:
        return f"Reservation(name={self.name!r}, mu_squared={self.mu_squared!r})"

    def stored(self, key: str) -> bytes | None:
        """Return the payload committed for the round `key`, or None if there is none yet."""
        with self._transaction() as connection:
            return self._payload(connection, checked_name("key", key))

    def commit_round(self, key: str, payload: bytes) -> bytes:
        """Make a noisy payload durable; only what this returns may leave the process.

        Parameters
        ----------
        key : str
            The round, unique in its fit.
        payload : bytes
            At most 2^29 bytes, already noisy.

        Returns
        -------
        bytes
            `payload`, or the one that was committed for this round before.

        Raises
        ------
        LedgerError
            The fit is finished or cancelled and has no such round, or the file failed. Drop the
            payload: nothing may leave. (If it was committed all the same, a later call has it.)
        InvalidType, InvalidInput
            An argument is not as described.
        """
        key = checked_name("key", key)
        if not isinstance(payload, bytes):
            raise InvalidType(f"payload must be bytes, got {type(payload).__name__}")
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise InvalidInput(
                f"payload must have at most {MAX_PAYLOAD_BYTES} bytes, got {len(payload)}; split "
                "the round into several"
            )
        with self._transaction() as connection:
            committed = self._payload(connection, key)
            if committed is not None:
                return committed
            self._check_open(connection, f"round {key!r} cannot be added")
            connection.execute(
                "INSERT INTO round VALUES (?, ?, ?, ?)", (self._identifier, key, payload, now())
            )
        return payload

    def round(self, key: str, draw: Callable[[], bytes]) -> bytes:
        """Return the round's committed payload; only if there is none, draw and commit one."""
        committed = self.stored(key)
        return self.commit_round(key, draw()) if committed is None else committed

    def finish(self) -> None:
        """Mark the fit complete: it stays paid for and readable, and takes no new rounds."""
        with self._transaction() as connection:
            if self._state(connection) != "finished":
                self._check_open(connection, "it cannot be finished")
                self._end(connection, "finished")

    def cancel(self) -> None:
        """Give the reservation back, for a fit that failed before its first release.

        Raises
        ------
        LedgerError
            A round was committed, so that a release may have left, or the fit is finished.
        """
        with self._transaction() as connection:
            if self._state(connection) == "cancelled":
                return
            self._check_open(connection, "it cannot be cancelled")
            rounds = self._rounds(connection)
            if rounds:
                raise LedgerError(
                    f"fit {self.name!r} cannot be cancelled: {rounds} of its rounds are committed, "
                    "0 allowed, since they may have left; reserve it again to complete it"
                )
            self._end(connection, "cancelled")

    def has_rounds(self) -> bool:
        """Whether a round was committed, so that something may have left."""
        with self._transaction() as connection:
            return self._rounds(connection) > 0

    def _rounds(self, connection: sqlite3.Connection) -> int:
        query = "SELECT count(*) FROM round WHERE fit = ?"
        return int(connection.execute(query, (self._identifier,)).fetchone()[0])

    def _payload(self, connection: sqlite3.Connection, key: str) -> bytes | None:
        query = "SELECT payload FROM round WHERE fit = ? AND key = ?"
        row = connection.execute(query, (self._identifier, key)).fetchone()
        return None if row is None else bytes(row[0])

    def _state(self, connection: sqlite3.Connection) -> str:
        query = "SELECT state FROM fit WHERE id = ? AND name = ?"
        row = connection.execute(query, (self._identifier, self.name)).fetchone()
        if row is None:
            raise LedgerError(
                f"fit {self.name!r} is not in the ledger any more: its file was replaced; put the "
                "right one back"
            )
        return str(row[0])

    def _check_open(self, connection: sqlite3.Connection, refused: str) -> None:
        state = self._state(connection)
        if state != "reserved":
            raise LedgerError(f"fit {self.name!r} is {state}: {refused}; reserve a new fit")

    def _end(self, connection: sqlite3.Connection, state: str) -> None:
        connection.execute("UPDATE fit SET state = ? WHERE id = ?", (state, self._identifier))


def now() -> str:
    """Return the time as the ledger writes it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
