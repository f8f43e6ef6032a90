"""The unfinished part of an embedding run: finished batches, each durable and checked.

`OUT.part` begins with one line of JSON, the description of the run. A record follows for each
finished batch: a CRC-32 of the rest, the number of rows, a digest of the images they came from, and
the rows. A process that is killed leaves whole records and at most a piece of one more, which the
checksum gives away.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput

_FORMAT = "cloister unfinished embedding 1"
_DIGEST = 16
_HEAD = struct.Struct(f"<IQ{_DIGEST}s")
# Against a power cut; what a killed process wrote is safe in any case.
_SECONDS_BETWEEN_SYNCS = 1.0


def row_digest(row: NDArray[np.uint8] | str) -> bytes:
    """Return a digest of one image or text, to know it again."""
    digest = hashlib.blake2b(digest_size=_DIGEST)
    if isinstance(row, str):
        digest.update(b"text " + row.encode(errors="surrogatepass"))
    else:
        digest.update(f"{row.shape}".encode())
        digest.update(np.ascontiguousarray(row).data)
    return digest.digest()


def batch_digest(digests: Iterable[bytes]) -> bytes:
    """Return one digest of those of a batch's rows."""
    return hashlib.blake2b(b"".join(digests), digest_size=_DIGEST).digest()


class UnfinishedRun:
    """The finished batches of one run; opened, it is locked against other processes.

    Parameters
    ----------
    path : path
        `OUT.part`.
    run : mapping
        The description, of JSON values: a run of another one is refused.
    resume : bool
        Go on with what is there, or begin anew.

    Attributes
    ----------
    digests : list of bytes
        Of the images of each finished batch.
    n_rows : int
        Rows finished.

    Raises
    ------
    InvalidInput
        If the file is of another run, of no run, or in use.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], *, resume: bool) -> None:
        self._path, self._d = path, int(run["n_features"])
        self._head = json.dumps({"format": _FORMAT, **run}, sort_keys=True).encode() + b"\n"
        self._file = open(path, "r+b" if path.exists() else "x+b")  # noqa: SIM115
        try:
            _lock(self._file, path)
            self.digests: list[bytes] = []
            self.n_rows = 0
            if not (resume and self._known()):
                self._file.seek(0)
                self._file.truncate()
                self._file.write(self._head)
            self._file.flush()
            os.fsync(self._file.fileno())
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, rows: NDArray[np.float32], digest: bytes) -> None:
        """Add the rows of a finished batch, (m, d)."""
        body = np.ascontiguousarray(rows, dtype="<f4").tobytes()
        tail = _HEAD.pack(0, len(rows), digest)[4:] + body
        self._file.write(zlib.crc32(tail).to_bytes(4, "little") + tail)
        self._file.flush()
        if time.monotonic() - self._synced > _SECONDS_BETWEEN_SYNCS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()
        self.digests.append(digest)
        self.n_rows += len(rows)

    def records(self) -> Iterator[NDArray[np.float32]]:
        """Yield the rows of each finished batch, in order."""
        self._file.flush()
        self._file.seek(len(self._head))
        while (record := _read(self._file, self._d)) is not None:
            yield record[0]

    def remove(self) -> None:
        """Delete the file, once its rows are in another."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _known(self) -> bool:
        """Find the finished batches and cut off what is none; False if nothing had begun."""
        found = self._file.read(len(self._head))
        if found != self._head:
            if self._head.startswith(found):  # killed while the run was described
                return False
            raise InvalidInput(_other_run(self._path, found + self._file.readline(), self._head))
        end = self._file.tell()
        while (record := _read(self._file, self._d)) is not None:
            end = self._file.tell()
            self.digests.append(record[1])
            self.n_rows += len(record[0])
        self._file.seek(end)
        self._file.truncate()
        return True


def _read(file: IO[bytes], d: int) -> tuple[NDArray[np.float32], bytes] | None:
    """Read one record, or None at the end and where it is not whole."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    checksum, n, digest = _HEAD.unpack(head)
    length = 4 * d * n
    # A torn head may promise any number of rows.
    if length > os.fstat(file.fileno()).st_size - file.tell():
        return None
    body = file.read(length)
    if zlib.crc32(head[4:] + body) != checksum:
        return None
    return np.frombuffer(body, "<f4").astype(np.float32).reshape(n, d), digest


def _other_run(path: Path, found: bytes, wanted: bytes) -> str:
    try:
        before = json.loads(found.splitlines()[0])
        recorded = before.pop("format") == _FORMAT
    except (ValueError, AttributeError, KeyError, IndexError):
        recorded = False
    if not recorded:
        return (
            f"out: {str(path)!r} is no unfinished embedding, yet in the way of one; remove it, or "
            "choose another out"
        )
    now = {name: value for name, value in json.loads(wanted).items() if name != "format"}
    return (
        f"out: {str(path)!r} holds the finished batches of another run: "
        f"{differences(before, now)}; repeat that call to go on with it, pass resume=False "
        "(--restart) to begin anew, or choose another out"
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words in what two descriptions differ."""
    return ", ".join(
        f"{name}={now.get(name)!r} (before: {before.get(name)!r})"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl  # noqa: PLC0415 - POSIX alone has it
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InvalidInput(
            f"out: {str(path)!r} is in use by another process that embeds into it; wait for it, or "
            "choose another out"
        ) from error
