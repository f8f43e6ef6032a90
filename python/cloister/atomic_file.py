"""Files that appear whole or not at all."""

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cloister.errors import CloisterError, InvalidInput, InvalidType


def check_destination(
    path: str | os.PathLike[str],
    argument: str = "path",
    error: type[CloisterError] = InvalidInput,
) -> Path:
    """Return where a file can be written; worth asking before a costly computation.

    Parameters
    ----------
    path : str or path
        The file to create or replace. A symbolic link is followed.
    argument : str
        The argument's name in messages.
    error : type
        What to raise.

    Raises
    ------
    CloisterError
        `error`, if `path` is a directory or a device, or its folder is missing or read-only.
    InvalidType
        If `path` is no path.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise InvalidType(f"{argument} must be a str or a path, got {type(path).__name__}")
    text = os.fspath(path)
    if not text or "\0" in text:
        raise error(f"{argument} must name a file, got {text!r}; give one such as 'out.file'")
    target = Path(os.path.realpath(text))
    try:
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG
    except OSError as problem:
        raise error(f"{argument}: {text!r} cannot be reached: {problem.strerror}") from problem
    if stat.S_ISDIR(mode) or text.endswith(("/", os.sep)):
        raise error(f"{argument}: {text!r} is a directory; name a file inside it")
    if not stat.S_ISREG(mode):  # os.replace would put a file where the device was
        raise error(f"{argument}: {text!r} is a device, pipe or socket; name a regular file")
    if not target.parent.is_dir():
        raise error(f"{argument}: the folder of {text!r} does not exist; create it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise error(f"{argument}: the folder of {text!r} is read-only; choose another")
    return target


@contextmanager
def replacing(target: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `target` once it is complete and on the disk.

    Parameters
    ----------
    target : path
        As `check_destination` returned it. After an error it is as it was before.
    durable : bool
        Wait for the disk. Without, for files by the thousand that can be made again, only a crash
        of the machine may leave part of one.
    """
    # Not tempfile: its mode 0600 would stay with the file, against the user's umask.
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:  # an interrupted write leaves nothing behind either
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    if durable:
        _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, where the system lets a folder be opened for that."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
