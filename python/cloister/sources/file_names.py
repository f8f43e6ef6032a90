"""Names of files of rows: `file.npy`, `file.npz:key`, `folder/*.parquet:column`."""

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import InvalidInput

ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors")
PARQUET_SUFFIXES = (".parquet", ".pq")
ARROW_SUFFIXES = (".arrow", ".feather", ".ipc")
SUFFIXES = (*ARRAY_SUFFIXES, *PARQUET_SUFFIXES, *ARROW_SUFFIXES)


@dataclass(frozen=True)
class FileSpec:
    """One file, and what to take of it; a key of None is for the only candidate."""

    path: str
    key: str | None

    @property
    def suffix(self) -> str:
        """How the name ends, in small letters: the format."""
        return Path(self.path).suffix.lower()


def split_key(spec: str) -> tuple[str, str | None]:
    """Split `file.npz:key` into file and key; the key is None if there is none."""
    path, colon, key = spec.rpartition(":")
    if colon and path.lower().endswith(SUFFIXES) and not os.path.exists(spec):
        return path, key
    return spec, None


def file_specs(spec: str | os.PathLike[str], argument: str) -> list[FileSpec]:
    """Return the files that a name or a glob pattern stands for, sorted; opens none.

    Raises
    ------
    InvalidInput
        If there is none, or one is no regular file or of a format that is not read.
    """
    path, key = split_key(os.fsdecode(spec))
    if not path or "\0" in path:
        raise InvalidInput(f"{argument}: {path!r} names no file; name one such as 'rows.npy'")
    found = [path]
    if not os.path.exists(path) and glob.has_magic(path):
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise InvalidInput(
                f"{argument}: 0 files match {path!r} in {os.getcwd()!r}; check its spelling"
            )
    for file in found:
        _check_file(file, key, argument)
    return [FileSpec(file, key) for file in found]


def _check_file(path: str, key: str | None, argument: str) -> None:
    if not os.path.exists(path):
        raise InvalidInput(f"{argument}: there is no file {path!r}; check its spelling")
    if os.path.isdir(path):
        pattern = os.path.join(path, "*.parquet")
        raise InvalidInput(
            f"{argument}: {path!r} is no regular file but a folder; name its files: {pattern!r}"
        )
    if not os.path.isfile(path):
        raise InvalidInput(f"{argument}: {path!r} is no regular file; name a .npy or .npz file")
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInput(
            f"{argument}: {path!r} ends in {suffix!r}, but .npy or .npz, "
            f"{', '.join(SUFFIXES[2:])} is needed; convert it with numpy.save"
        )
    if key is not None and suffix == ".npy":
        raise InvalidInput(f"{argument}: {path!r} holds one array; leave out ':{key}'")


def choose(
    argument: str, path: str, key: str | None, candidates: list[str], others: list[str], what: str
) -> str:
    """Return the one of `candidates` that is meant, without a key the only one.

    Raises
    ------
    InvalidInput
        Listing what there is.
    """
    if key is None and len(candidates) == 1:
        return candidates[0]
    if key is not None and key in candidates:
        return key
    if key is not None and key in others:
        raise InvalidInput(
            f"{argument}: {key!r} of {path!r} is no {what}; it has {candidates}: choose one as "
            f"{path}:KEY"
        )
    if key is not None:
        raise InvalidInput(
            f"{argument}: {path!r} has no array {key!r}; it has {candidates + others}: choose one "
            f"as {path}:KEY"
        )
    raise InvalidInput(
        f"{argument}: {path!r} has {len(candidates)} {what}(s), {candidates}, among "
        f"{candidates + others}, and 1 is needed: choose one as {path}:KEY"
    )
