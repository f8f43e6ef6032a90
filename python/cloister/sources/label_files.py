"""Labels by name: a column that lies beside the rows, or a file of their own."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.sources.arrow_columns import label_columns
from cloister.sources.file_names import (
    ARRAY_SUFFIXES,
    SUFFIXES,
    FileSpec,
    choose,
    file_specs,
    split_key,
)
from cloister.sources.files import DEFAULT_LABELS, chosen_key, flat_column
from cloister.sources.flat_files import arrays_of
from cloister.sources.parquet import file_labels, file_schema
from cloister.sources.protocol import Source, TableSource


@dataclass(frozen=True)
class LabelColumn:
    """Labels that are read in parts, as often as needed.

    Attributes
    ----------
    parts : callable
        Returns an iterator over arrays of labels, in the order of the rows.
    """

    parts: Callable[[], Iterator[NDArray[Any]]]


def find_labels(y: Any, source: Source | None, argument: str = "y") -> Any:
    """Return labels given by name as a `LabelColumn`, and any others as they are; reads none.

    Parameters
    ----------
    y : str, path or anything else
        A column beside the rows of `source` ("label"), or a file of labels with its key or column
        ("labels.npy", "data.npz:y", "emb/*.parquet:label").
    source : Source, optional
        The rows.
    argument : str
        The argument's name in messages.

    Raises
    ------
    InvalidInput
        If there is no such column and no such file; it lists the columns.
    """
    if not isinstance(y, str | os.PathLike):
        return y
    beside = source.columns() if isinstance(source, TableSource) else []
    if isinstance(y, str) and y in beside:
        assert isinstance(source, TableSource)
        return LabelColumn(partial(source.column, y))
    path = split_key(os.fsdecode(y))[0]
    if not beside or path.lower().endswith(SUFFIXES) or os.path.exists(path):
        if not (path.lower().endswith(SUFFIXES) or os.path.exists(path)):
            raise InvalidInput(
                f"{argument}={os.fspath(y)!r} names labels, but X has 0 columns beside its rows "
                "and there is no such file; pass one label a row: integers or strings in a list"
            )
        openers = [_column(spec, argument) for spec in file_specs(y, argument)]
        return LabelColumn(lambda: chain.from_iterable(opener() for opener in openers))
    raise InvalidInput(
        f"{argument}={os.fspath(y)!r} is neither a file nor one of the {len(beside)} columns "
        f"beside the rows, {beside}; name one of these or a file of labels"
    )


def _column(spec: FileSpec, argument: str) -> Callable[[], Iterator[NDArray[Any]]]:
    """Return what reads the labels of one file, once its header says that they are there."""
    if spec.suffix in ARRAY_SUFFIXES:
        arrays = arrays_of(spec.path, argument)
        key = chosen_key(arrays, spec, argument, 1, DEFAULT_LABELS)
        return partial(flat_column, spec.path, arrays[key], argument)
    candidates = label_columns(file_schema(spec, argument))
    name = choose(argument, spec.path, spec.key, candidates, [], "column of labels")
    return partial(file_labels, spec, name, argument)
