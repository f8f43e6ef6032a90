"""Columns of Arrow data: which can hold rows or labels, and their entries as numpy arrays."""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType, MissingDependency
from cloister.sources.protocol import kernel_ready


def import_pyarrow(module: str = "pyarrow") -> Any:
    """Import pyarrow, which only Parquet and Arrow sources need.

    Raises
    ------
    MissingDependency
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f'Parquet and Arrow sources need pyarrow ({error}): pip install "cloister[parquet]"'
        ) from error


def chosen_column(schema: Any, key: str | None, name: str, where: str) -> str:
    """Return the column of lists of numbers that is meant, by default the only one.

    Raises
    ------
    InvalidInput, InvalidType
        Naming the columns that there are.
    """
    candidates = [field.name for field in schema if is_list_of_numbers(field.type)]
    if key is not None and key in schema.names:
        check_list_type(schema.field(key).type, f"{name}: column {key!r}")
        return key
    if key is not None:
        raise InvalidInput(
            f"{name}: {where} has no column {key!r}; it has {schema.names}: choose one of the "
            f"{len(candidates)} columns of lists of numbers, {candidates}"
        )
    if len(candidates) == 1:
        return str(candidates[0])
    hint = f"name one as {where}:COLUMN" if where not in (name, "X") else "select([COLUMN])"
    kinds = {field.name: str(field.type) for field in schema}
    raise InvalidInput(
        f"{name} has {len(candidates)} columns of lists of numbers, {candidates}, and 1 is needed: "
        f"{hint} chooses one. Its columns are {kinds}; columns of one number each become rows by "
        "numpy.column_stack"
    )


def label_columns(schema: Any) -> list[str]:
    """Return the names of the columns that hold no lists."""
    pa = import_pyarrow()
    return [field.name for field in schema if not pa.types.is_nested(field.type)]


def storage_type(kind: Any) -> Any:
    """Return the type below an extension type (a tensor of fixed shape, say)."""
    return getattr(kind, "storage_type", kind)


def is_list_of_numbers(kind: Any) -> bool:
    """Say whether a column of that type can hold rows."""
    pa = import_pyarrow()
    kind = storage_type(kind)
    is_list = bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    return is_list and bool(
        pa.types.is_floating(kind.value_type)
        or pa.types.is_integer(kind.value_type)
        or pa.types.is_boolean(kind.value_type)
    )


def check_list_type(kind: Any, name: str) -> None:
    """Refuse a column that is no list of numbers.

    Raises
    ------
    InvalidType
    """
    if not is_list_of_numbers(kind):
        raise InvalidType(
            f"{name} holds {kind}, but rows are lists of floats or integers; choose a column of "
            "FixedSizeList or List type, or cast it"
        )


def fixed_width(kind: Any) -> int | None:
    """Return the length of every list of that type, if it says."""
    pa = import_pyarrow()
    kind = storage_type(kind)
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else None


def width_of(array: Any, name: str) -> int:
    """Return the length of an array's first list."""
    fixed = fixed_width(array.type)
    if fixed is not None:
        return fixed
    if array[0].as_py() is None:
        raise _null(name, 0)
    return len(array[0])


def list_rows(array: Any, d: int, first: int, name: str) -> NDArray[Any]:
    """Return an Arrow array of lists as rows; a view, except of booleans.

    Raises
    ------
    InvalidInput
        If a list or a number is missing, or a list has another length than `d`.
    """
    pa = import_pyarrow()
    array = getattr(array, "storage", array)
    if array.null_count:
        raise _null(name, first + int(np.flatnonzero(_nulls(array))[0]))
    if fixed_width(array.type) is None:
        lengths = np.diff(array.offsets.to_numpy())
        ragged = np.flatnonzero(lengths != d)
        if len(ragged):
            raise InvalidInput(
                f"{name}: row {first + ragged[0]} is a list of {lengths[ragged[0]]} numbers, but "
                f"a row has {d}; all rows must have one length"
            )
    elif fixed_width(array.type) != d:
        raise InvalidInput(
            f"{name}: row {first} is a list of {fixed_width(array.type)} numbers, but a row has "
            f"{d}; all rows must have one length"
        )
    values = array.flatten()
    if values.null_count:
        raise _null(name, first + int(np.flatnonzero(_nulls(values))[0]) // d)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    return kernel_ready(values.to_numpy(zero_copy_only=True).reshape(-1, d))


def _nulls(array: Any) -> NDArray[np.bool_]:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False))


def _null(name: str, row: int) -> InvalidInput:
    return InvalidInput(
        f"{name}: row {row} is null or holds a null, and 0 nulls are allowed; leave such rows out "
        "or fill them"
    )


def label_part(array: Any, first: int, name: str) -> NDArray[Any]:
    """Return a part of a column of labels as a numpy array.

    Raises
    ------
    InvalidInput
        If a label is missing.
    """
    pa = import_pyarrow()
    if array.null_count:
        row = first + int(np.flatnonzero(_nulls(array))[0])
        raise InvalidInput(f"y: column {name!r} has a null in row {row}; give each row a label")
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    values = array.to_numpy(zero_copy_only=False)
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    return values.astype(str) if is_text else np.asarray(values)
