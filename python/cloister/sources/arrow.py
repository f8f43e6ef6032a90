"""Rows from pyarrow objects: columns of lists, taken as they lie where Arrow's layout allows."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.sources.arrow_columns import (
    check_list_type,
    chosen_column,
    fixed_width,
    import_pyarrow,
    label_columns,
    label_part,
    list_rows,
    width_of,
)
from cloister.sources.protocol import Source, check_row_shape, gathered

BATCH_NUMBERS = 2**18
"""Numbers decoded at a time: 2^20 take twice the memory and more time, measured with Parquet."""


class ArrowColumn:
    """A column of lists of numbers, in one or more batches.

    Parameters
    ----------
    batches : callable
        Takes a number of rows and yields pyarrow arrays of about so many.
    n : int or None
    d : int
    name : str
        Of the argument and column, in messages.
    beside : callable, optional
        Yields the batches of another column by its name.
    names : list of str
        Names of such columns.
    """

    def __init__(
        self,
        batches: Callable[[int | None], Iterable[Any]],
        n: int | None,
        d: int,
        name: str,
        *,
        rereadable: bool = True,
        beside: Callable[[str], Iterable[Any]] | None = None,
        names: list[str] | None = None,
    ) -> None:
        self._batches, self._name = batches, name
        self._beside, self._names = beside, names or []
        self.n, self.d, self.rereadable = n, d, rereadable

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of first row, rows) in order: see `Source.chunks`."""
        return gathered(self._arrays(rows), self.d, rows)

    def _arrays(self, rows: int | None) -> Iterator[NDArray[Any]]:
        first = 0
        for batch in self._batches(rows):
            if len(batch):
                yield list_rows(batch, self.d, first, self._name)
                first += len(batch)

    def columns(self) -> list[str]:
        """Names of the columns that may hold labels."""
        return self._names

    def column(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield the entries of one of `columns` in parts."""
        assert self._beside is not None
        first = 0
        for batch in self._beside(name):
            yield label_part(batch, first, name)
            first += len(batch)


def arrow_source(rows: Any, name: str) -> Source:
    """Take rows from a pyarrow object.

    Raises
    ------
    InvalidInput, InvalidType
        If it has no column of lists of numbers, or several.
    """
    pa = import_pyarrow()
    if isinstance(rows, pa.Table | pa.RecordBatch):
        column = chosen_column(rows.schema, None, name, "X")
        chunks = _chunks_of(rows.column(column))
        return _in_memory(
            chunks,
            name,
            beside=lambda label: _chunks_of(rows.column(label)),
            names=label_columns(rows.schema),
        )
    if isinstance(rows, pa.ChunkedArray | pa.Array):
        check_list_type(rows.type, name)
        return _in_memory(_chunks_of(rows), name)
    if isinstance(rows, pa.RecordBatchReader):
        return _of_reader(rows, name)
    if hasattr(rows, "to_batches") and hasattr(rows, "count_rows"):  # a Dataset, a Scanner
        return _of_dataset(rows, name)
    raise InvalidType(
        f"{name} is a pyarrow {type(rows).__name__}, but a Table, RecordBatch, Array, "
        "ChunkedArray, RecordBatchReader or Dataset is needed; pass its table"
    )


def _chunks_of(column: Any) -> list[Any]:
    return list(column.chunks) if hasattr(column, "chunks") else [column]


def _in_memory(chunks: list[Any], name: str, **beside: Any) -> Source:
    filled = [chunk for chunk in chunks if len(chunk)]
    n = sum(len(chunk) for chunk in filled)
    d = width_of(filled[0], name) if filled else 0
    check_row_shape((n, d), name)
    return ArrowColumn(lambda _: filled, n, d, name, **beside)


def _of_reader(reader: Any, name: str) -> Source:
    column = chosen_column(reader.schema, None, name, "X")
    batches = (batch.column(column) for batch in reader if len(batch))
    first = next(batches, None)
    d = 0 if first is None else width_of(first, name)
    check_row_shape((0 if first is None else len(first), d), name)

    def remaining(_: int | None) -> Iterator[Any]:
        nonlocal first
        if first is None:
            raise InvalidInput(
                f"{name} is a RecordBatchReader that was read already and can be read 1 time; "
                "pass a Table or a Dataset"
            )
        head, first = first, None
        yield head
        yield from batches

    return ArrowColumn(remaining, None, d, name, rereadable=False)


def _of_dataset(dataset: Any, name: str) -> Source:
    schema = getattr(dataset, "schema", None) or dataset.projected_schema
    column = chosen_column(schema, None, name, "X")

    def beside(label: str, rows: int | None = None) -> Iterator[Any]:
        size = {} if rows is None else {"batch_size": rows}
        ahead = {"batch_readahead": 1, "fragment_readahead": 1, "use_threads": False}
        for batch in dataset.to_batches(columns=[label], **ahead, **size):
            yield batch.column(0)

    d = fixed_width(schema.field(column).type)
    if d is None:
        head = next((batch for batch in beside(column, 1) if len(batch)), None)
        d = 0 if head is None else width_of(head, name)
    n = int(dataset.count_rows())
    check_row_shape((n, d), name)
    return ArrowColumn(
        lambda rows: beside(column, rows or max(1, BATCH_NUMBERS // d)),
        n,
        d,
        name,
        beside=beside,
        names=label_columns(schema),
    )
