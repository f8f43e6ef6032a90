"""The file behind the ledger: how it is created, recognised, locked and made durable.

SQLite with a rollback journal and ``synchronous=EXTRA``. A transaction then counts as committed
only after the file was synced, the journal deleted, *and the directory synced*: with ``FULL`` a
power failure could bring the journal back and undo a spend whose release had already left. A
write-ahead log would be as durable and faster, but it spreads the truth over three files, of
which an owner's backup copies one, and does not work over a network. A fit commits a handful
of rounds, so a few milliseconds for each are well spent.

Nothing is opened for longer than one transaction. A connection therefore never crosses a fork
or a thread, and there is none to lose when an estimator is pickled, cloned or killed.
"""

import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from cloister.errors import LedgerError

APPLICATION_ID = 0x436C6F69  # "Cloi", at byte 68 of the file
SCHEMA_VERSION = 1  # SQLite's user_version, at byte 60
BUSY_SECONDS = 60.0

# Cancelled fits stay as history and free their name, hence the partial index. The checks are
# what `PRAGMA quick_check` verifies when a ledger is opened.
_SCHEMA = f"""
BEGIN;
CREATE TABLE budget (
  dataset TEXT NOT NULL PRIMARY KEY,
  epsilon REAL NOT NULL CHECK (epsilon > 0),
  delta REAL NOT NULL CHECK (delta > 0 AND delta < 1),
  mu REAL NOT NULL CHECK (mu > 0),
  created TEXT NOT NULL
);
CREATE TABLE fit (
  id INTEGER NOT NULL PRIMARY KEY,
  dataset TEXT NOT NULL REFERENCES budget (dataset),
  name TEXT NOT NULL,
  mu_squared REAL NOT NULL CHECK (mu_squared > 0 AND mu_squared < 9e999),
  public_parameters TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('reserved', 'finished', 'cancelled')),
  created TEXT NOT NULL
);
CREATE UNIQUE INDEX one_live_fit ON fit (dataset, name) WHERE state <> 'cancelled';
CREATE TABLE round (
  fit INTEGER NOT NULL REFERENCES fit (id),
  key TEXT NOT NULL,
  payload BLOB NOT NULL CHECK (typeof(payload) = 'blob'),
  created TEXT NOT NULL,
  PRIMARY KEY (fit, key)
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

_KEEP = (
    "restore its last backup; a new ledger would forget what was spent, so begin one only for "
    "data of which nothing was released"
)
_WAY_OUT = {
    "SQLITE_BUSY": "another process keeps it locked: end that process and try again",
    "SQLITE_FULL": "free some space on its disk and try again; nothing was released",
    "SQLITE_READONLY": "make the file and its directory writable",
    "SQLITE_CANTOPEN": "make the file and its directory readable and writable",
}

# One transaction at a time in this process. POSIX drops all of a process's locks on a file when
# any descriptor of it is closed, so reading the header must not overlap another thread's
# transaction; and a child forked in the middle of one would inherit SQLite's belief that the
# file is locked, with nobody left to unlock it, so a fork waits its turn too.
_one_at_a_time = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_one_at_a_time.acquire,
        after_in_parent=_one_at_a_time.release,
        after_in_child=_one_at_a_time.release,
    )


def create(path: Path) -> None:
    """Put an empty ledger at `path`, durably and all at once, unless a file is there already.

    It is written under another name and linked into place. So an empty file found at `path` is
    never a ledger that was just being born, but one that was truncated, and is refused.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=".cloister-", suffix=".new", dir=path.parent)
        os.close(descriptor)
        try:
            with _connect(Path(name)) as connection:
                connection.executescript(_SCHEMA)
            with suppress(FileExistsError):  # another process was first: its ledger is the one
                os.link(name, path)
        finally:
            os.unlink(name)
        _sync_directory(path.parent)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    except OSError as error:
        raise LedgerError(
            f"path {str(path)!r} cannot be created: {error.strerror}; choose an existing writable "
            "directory on a local disk"
        ) from error


@contextmanager
def transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the ledger's write lock; what was written is durable once the block has ended.

    Any exception inside the block undoes all of it.
    """
    with _one_at_a_time:
        _check_is_ledger(path)
        try:
            with _connect(path) as connection:  # which rolls back if it closes before COMMIT
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(path, error) from error


def check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """Raise LedgerError unless SQLite finds every page and every CHECK of the file in order."""
    finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if finding != "ok":
        raise LedgerError(f"path {str(path)!r} is damaged ({finding}); {_KEEP}")


@contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    # mode=rw: a ledger that vanished is an error, never a fresh budget.
    address = f"{path.as_uri()}?mode=rw"
    with closing(
        sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    ) as connection:
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: reach the disk, not just its cache
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def _check_is_ledger(path: Path) -> None:
    """Recognise the file by its raw header: SQLite itself may alter a database it opens."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise LedgerError(f"path {str(path)!r} is not a regular file; name a file")
        if not status.st_mode & 0o222:
            raise LedgerError(f"path {str(path)!r} is write-protected; make the file writable")
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise LedgerError(
            f"path {str(path)!r} cannot be read: {error.strerror}; correct the path, or {_KEEP}"
        ) from error
    application = int.from_bytes(header[68:72], "big")
    version = int.from_bytes(header[60:64], "big")
    if len(header) < 100 or header[:16] != b"SQLite format 3\0" or application != APPLICATION_ID:
        raise LedgerError(
            f"path {str(path)!r} is not a ledger of cloister ({status.st_size} bytes of something "
            f"else) and was left as it is; choose another path, or, if it was one, {_KEEP}"
        )
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"path {str(path)!r} is a ledger of version {version}, this cloister reads version "
            f"{SCHEMA_VERSION}; install the cloister that wrote it"
        )


def _unusable(path: Path, error: sqlite3.Error) -> LedgerError:
    code = getattr(error, "sqlite_errorname", "")
    way_out = next((text for name, text in _WAY_OUT.items() if code.startswith(name)), _KEEP)
    return LedgerError(f"path {str(path)!r} cannot be used: {error}; {way_out}")


def _sync_directory(directory: Path) -> None:
    if os.name == "posix":  # elsewhere a directory cannot be opened, and linking is journalled
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
