"""Rows from Parquet and Arrow (IPC) files, a few pages at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.sources.arrow import BATCH_NUMBERS, ArrowColumn
from cloister.sources.arrow_columns import (
    chosen_column,
    fixed_width,
    import_pyarrow,
    label_columns,
    label_part,
    width_of,
)
from cloister.sources.file_names import PARQUET_SUFFIXES, FileSpec
from cloister.sources.protocol import FileState, TableSource, check_row_shape

_BUFFER = 2**20  # bytes; without it a column of a whole row group would be read at once
_LABELS = 2**16  # labels decoded at a time


def parquet_source(spec: FileSpec, argument: str) -> TableSource:
    """Open a Parquet or Arrow file: its footer is read, its rows are not.

    Raises
    ------
    InvalidInput, InvalidType
        If it is damaged, has no column of lists of numbers, several and no name, nulls or lists
        of several lengths (as far as the footer tells).
    MissingDependency
        Without pyarrow.
    """
    state = FileState.of(spec.path)
    schema = file_schema(spec, argument)
    column = chosen_column(schema, spec.key, argument, spec.path)
    name = f"{argument}: {spec.path!r} column {column!r}"
    d = fixed_width(schema.field(column).type)
    with _reading(spec, argument):
        if spec.suffix in PARQUET_SUFFIXES:
            n, d = _shape(spec.path, column, d, name)
        else:
            dataset = import_pyarrow("pyarrow.dataset").dataset(spec.path, format="ipc")
            n = int(dataset.count_rows())
    if d is None:
        first = next((batch for batch in _batches(spec, column, 1, state, argument)), None)
        d = 0 if first is None else width_of(first, name)
    check_row_shape((n, d), name)
    most = max(1, BATCH_NUMBERS // d)
    return ArrowColumn(
        lambda rows: _batches(spec, column, min(rows or most, most), state, argument),
        n,
        d,
        name,
        beside=lambda label: _batches(spec, label, _LABELS, state, argument),
        names=label_columns(schema),
    )


def file_schema(spec: FileSpec, argument: str) -> Any:
    """Return the Arrow schema of a Parquet or Arrow file.

    Raises
    ------
    InvalidInput, MissingDependency
    """
    pa, pq = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    with _reading(spec, argument):
        if spec.suffix in PARQUET_SUFFIXES:
            return pq.read_schema(spec.path)
        with pa.OSFile(spec.path) as raw:
            return pa.ipc.open_file(raw).schema


def file_labels(spec: FileSpec, column: str, argument: str) -> Iterator[NDArray[Any]]:
    """Yield the entries of a column of labels in parts."""
    first = 0
    for batch in _batches(spec, column, _LABELS, FileState.of(spec.path), argument):
        yield label_part(batch, first, column)
        first += len(batch)


def _batches(
    spec: FileSpec, column: str, rows: int, state: FileState, argument: str
) -> Iterator[Any]:
    """Yield a column as Arrow arrays, none of them empty."""
    pa, pq = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    state.check(argument)
    with _reading(spec, argument):
        if spec.suffix in PARQUET_SUFFIXES:
            with pq.ParquetFile(spec.path, buffer_size=_BUFFER, pre_buffer=False) as file:
                for batch in file.iter_batches(rows, columns=[column], use_threads=False):
                    yield batch.column(0)
        else:
            with pa.OSFile(spec.path) as raw:
                place = pa.ipc.open_file(raw).schema.names.index(column)
                options = pa.ipc.IpcReadOptions(included_fields=[place], use_threads=False)
                reader = pa.ipc.open_file(raw, options=options)
                for number in range(reader.num_record_batches):
                    batch = reader.get_batch(number).column(0)
                    if len(batch):
                        yield batch
    state.check(argument)


@contextmanager
def _reading(spec: FileSpec, argument: str) -> Iterator[None]:
    """Turn what a damaged file raises into a typed error."""
    pa = import_pyarrow()
    try:
        yield
    except InvalidInput:
        raise
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(
            f"{argument}: {spec.path!r} cannot be read as a {spec.suffix} file: {error}; write it "
            "again"
        ) from error


def _shape(path: str, column: str, d: int | None, name: str) -> tuple[int, int | None]:
    """Return n and d as a Parquet footer tells them, which counts numbers and nulls.

    Raises
    ------
    InvalidInput
        If there are nulls, or n lists of one length cannot have so many numbers.
    """
    with import_pyarrow("pyarrow.parquet").ParquetFile(path) as file:
        metadata = file.metadata
    n, values, nulls = metadata.num_rows, 0, 0
    for group in range(metadata.num_row_groups):
        for i in range(metadata.num_columns):
            part = metadata.row_group(group).column(i)
            leaf = part.path_in_schema  # "column.list.element"; a column's name may have dots
            if leaf.startswith(f"{column}.") and leaf.removeprefix(f"{column}.").count(".") == 1:
                values += part.num_values
                known = part.statistics is not None and part.statistics.has_null_count
                nulls += part.statistics.null_count if known else 0
    if nulls:
        raise InvalidInput(
            f"{name} has {nulls} null(s), and 0 are allowed; leave such rows out or fill them"
        )
    if d is None and n and values % n:
        raise InvalidInput(
            f"{name} has {values} numbers in {n} rows: its lists differ in length, but all rows "
            "must have one"
        )
    return n, values // n if d is None and n else d or 0
