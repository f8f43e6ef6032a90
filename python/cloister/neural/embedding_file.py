"""Files of embeddings that know their encoder: Parquet, or .npy with a file of JSON beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.atomic_file import check_destination, replacing
from cloister.errors import CloisterError, InvalidInput
from cloister.sources.arrow_columns import import_pyarrow
from cloister.sources.file_names import PARQUET_SUFFIXES, file_specs

FORMAT = "cloister embedding 1"
ROWS, LABELS = "embedding", "label"
SUFFIXES = (".parquet", ".npy")
_KEY = b"cloister"
_GROUP_BYTES = 2**24


@dataclass(frozen=True)
class Provenance:
    """Where the embeddings of a file came from.

    Attributes
    ----------
    encoder_id, row_purity, norm_bound
        Of the encoder.
    n, n_features : int
    run : dict
        What else tells one run from another, for `embed`.
    """

    encoder_id: str
    row_purity: str
    norm_bound: float
    n: int
    n_features: int
    run: dict[str, Any]


def check_out(out: str | os.PathLike[str]) -> Path:
    """Return where embeddings can be written.

    Raises
    ------
    InvalidInput, InvalidType
        If the name ends otherwise than in `SUFFIXES`, or the place cannot be written to.
    MissingDependency
        For Parquet without pyarrow.
    """
    target = check_destination(out, "out")
    if target.suffix.lower() not in SUFFIXES:
        raise InvalidInput(f"out: {os.fspath(out)!r} must end in {' or '.join(SUFFIXES)}")
    if target.suffix.lower() == ".parquet":
        import_pyarrow()
    return target


def labels_path(target: Path) -> Path:
    """Return where the labels of an .npy file lie."""
    return target.with_suffix(".labels.npy")


def remove_embedding(target: Path, keep: str | os.PathLike[str] | None = None) -> None:
    """Remove a file of embeddings and what was written beside it; the rows first.

    Labels without a file of JSON, or of a Parquet file, are the caller's own, and so is `keep`.
    """
    target.unlink(missing_ok=True)
    if target.suffix.lower() == ".parquet" or not _json_path(target).is_file():
        return
    _json_path(target).unlink()
    if keep is None or os.path.realpath(keep) != os.path.realpath(labels_path(target)):
        labels_path(target).unlink(missing_ok=True)


def write_embedding(
    target: Path,
    parts: Iterable[NDArray[np.float32]],
    labels: NDArray[Any] | None,
    provenance: Provenance,
) -> None:
    """Write embeddings part by part; the file of rows appears last, whole or not at all.

    Parameters
    ----------
    target : path
        As `check_out` returned it.
    parts : iterable of arrays of shape (any, d)
        All n rows, in order.
    labels : array of shape (n,), optional
    provenance : Provenance
    """
    stored = json.dumps({"format": FORMAT, **asdict(provenance)}, sort_keys=True)
    groups = _groups(parts, max(1, _GROUP_BYTES // (4 * provenance.n_features)))
    if target.suffix.lower() == ".parquet":
        _write_parquet(target, groups, labels, stored)
        return
    if labels is not None:
        with replacing(labels_path(target)) as file:
            np.save(file, labels, allow_pickle=False)
    with replacing(_json_path(target)) as file:
        file.write(stored.encode())
    shape = (provenance.n, provenance.n_features)
    head = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with replacing(target) as file:
        np.lib.format.write_array_header_1_0(file, head)
        for rows in groups:
            file.write(rows.astype("<f4").tobytes())


def _write_parquet(
    target: Path,
    groups: Iterable[NDArray[np.float32]],
    labels: NDArray[Any] | None,
    stored: str,
) -> None:
    pa, pq = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    schema: Any = None
    writer: Any = None
    first = 0
    with replacing(target) as file:
        for rows in groups:
            flat = pa.array(rows.reshape(-1))
            columns = {ROWS: pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])}
            if labels is not None:
                columns[LABELS] = pa.array(labels[first : first + len(rows)])
            first += len(rows)
            if writer is None:
                fields = [(name, column.type) for name, column in columns.items()]
                schema = pa.schema(fields, metadata={_KEY: stored.encode()})
                writer = pq.ParquetWriter(file, schema, compression="none", use_dictionary=False)
            writer.write_table(pa.table(columns, schema=schema), row_group_size=len(rows))
        writer.close()


def _groups(parts: Iterable[NDArray[np.float32]], rows: int) -> Iterator[NDArray[np.float32]]:
    """Put small parts together, so that a file does not depend on how large they were."""
    waiting: list[NDArray[np.float32]] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= rows:
            joined = np.concatenate(waiting)
            whole = len(joined) - len(joined) % rows
            for first in range(0, whole, rows):
                yield joined[first : first + rows]
            waiting = [joined[whole:]]
    joined = np.concatenate(waiting)
    if len(joined):
        yield joined


def read_provenance(path: str | os.PathLike[str]) -> Provenance | None:
    """Return where the embeddings of one file came from; None if it does not say.

    Raises
    ------
    InvalidInput
        If what it says is damaged.
    """
    file = Path(path)
    stored: bytes | None = None
    if file.suffix.lower() in PARQUET_SUFFIXES:
        stored = _parquet_metadata(file)
    elif file.suffix.lower() == ".npy" and _json_path(file).is_file():
        stored = _json_path(file).read_bytes()
    if stored is None:
        return None
    try:
        values = json.loads(stored)
        if values.pop("format") != FORMAT:
            return None
        made = Provenance(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{str(file)!r} has a damaged note of its encoder ({error!r}); embed the images again"
        ) from error
    if file.suffix.lower() == ".npy":
        _check_shape(file, made)
    return made


def _check_shape(file: Path, made: Provenance) -> None:
    """Refuse a note that lies beside other rows than those it was written with."""
    try:
        shape = np.lib.format.open_memmap(file, mode="r").shape
    except (OSError, ValueError):  # who reads the rows will say what is wrong
        return
    if shape != (made.n, made.n_features):
        raise InvalidInput(
            f"{str(file)!r} holds rows of shape {shape}, but {str(_json_path(file))!r} says that "
            f"its encoder made {(made.n, made.n_features)}; remove that note, or embed again"
        )


def _parquet_metadata(file: Path) -> bytes | None:
    pa, pq = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    try:
        metadata: Mapping[bytes, bytes] = pq.read_schema(file).metadata or {}
    except (pa.ArrowException, OSError, ValueError):  # who reads the rows will say what is wrong
        return None
    return metadata.get(_KEY)


def common_provenance(spec: str, argument: str) -> Provenance | None:
    """Return what the files of a name or pattern say of their encoder, if they do.

    Raises
    ------
    InvalidInput
        If they are of different encoders.
    """
    try:
        files = file_specs(spec, argument)
    except CloisterError:  # labels by column, and files that are not there: said elsewhere
        return None
    found = [(file.path, read_provenance(file.path)) for file in files]
    known = [(path, made) for path, made in found if made is not None]
    for path, made in known[1:]:
        if made.encoder_id != known[0][1].encoder_id:
            raise InvalidInput(
                f"{argument}: {known[0][0]!r} is of the encoder {known[0][1].encoder_id!r}, but "
                f"{path!r} of {made.encoder_id!r}; embed all with one"
            )
    impure = [made for _, made in known if made.row_purity == "unchecked"]
    measured = [made for _, made in known if made.row_purity == "measured"]
    ordered = [*impure, *measured, *(made for _, made in known)]  # all are as pure as the least
    return ordered[0] if ordered and len(known) == len(found) else None


def _json_path(target: Path) -> Path:
    return target.with_name(target.name + ".json")
