"""Rows from files: by their names, read by ordinary reads, so that no page of them stays."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.sources.arrays import ArraySource
from cloister.sources.file_names import ARRAY_SUFFIXES, FileSpec, choose
from cloister.sources.flat_files import FlatArray, arrays_of, reading
from cloister.sources.parquet import parquet_source
from cloister.sources.protocol import (
    FileState,
    TableSource,
    check_row_dtype,
    check_row_shape,
    kernel_ready,
    rows_a_chunk,
)
from cloister.sources.tensors import widened

DEFAULT_ROWS, DEFAULT_LABELS = "x", "y"
"""Names of an .npz file's rows and labels, where it has several candidates."""


def file_source(spec: FileSpec, argument: str) -> TableSource:
    """Open one file of rows; its header is read, its rows are not.

    Raises
    ------
    InvalidInput, InvalidType
        If it is damaged, holds no rows of numbers, or several candidates and no name.
    MissingDependency
        For Parquet and Arrow files without pyarrow.
    """
    if spec.suffix in ARRAY_SUFFIXES:
        return FlatSource(spec, argument)
    return parquet_source(spec, argument)


class FlatSource:
    """Rows of an .npy, .npz or .safetensors file, read in chunks; never the file as a whole.

    An .npy file in Fortran order is mapped, and a member of .npz in that order is loaded.

    Attributes
    ----------
    n, d : int
        Number of rows and of features.
    rereadable : bool
        True.
    """

    rereadable = True

    def __init__(self, spec: FileSpec, argument: str = "X") -> None:
        self._path, self._argument = spec.path, argument
        self._state = FileState.of(spec.path)
        self._arrays = arrays_of(spec.path, argument)
        self.key = chosen_key(self._arrays, spec, argument, 2, DEFAULT_ROWS)
        self._array = self._arrays[self.key]
        check_dtype(self._array, argument)
        check_row_shape(self._array.shape, argument)
        self.n, self.d = self._array.shape

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of first row, rows) in order: see `Source.chunks`."""
        self._state.check(self._argument)
        if self._array.fortran_order:
            yield from ArraySource(self._loaded()).chunks(rows)
        else:
            rows = rows or rows_a_chunk(self.d, np.dtype(self._array.dtype).itemsize)
            first = 0
            for part in self._array.parts(self._path, self._argument, rows):
                yield first, widened(part) if self._array.is_bfloat16 else kernel_ready(part)
                first += len(part)
        self._state.check(self._argument)

    def _loaded(self) -> NDArray[Any]:
        with reading(self._path, self._argument):
            if self._array.member is None:
                return np.lib.format.open_memmap(self._path, mode="r")
            with np.load(self._path, allow_pickle=False) as archive:
                return np.asarray(archive[self.key])

    def columns(self) -> list[str]:
        """Names of the other arrays of one axis in the file."""
        return [name for name, array in self._arrays.items() if name and len(array.shape) == 1]

    def column(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield the entries of such an array in parts."""
        yield from flat_column(self._path, self._arrays[name], self._argument)


def flat_column(path: str, array: FlatArray, argument: str) -> Iterator[NDArray[Any]]:
    """Yield labels of a file in parts, each an array of its own."""
    if isinstance(array.dtype, str) or array.is_bfloat16:
        raise InvalidType(
            f"{argument}: an array of {path!r} has dtype {array.dtype}, but labels must be "
            "integers or strings: store them as such"
        )
    for part in array.parts(path, argument, 2**16):
        yield part.copy()


def chosen_key(
    arrays: dict[str, FlatArray], spec: FileSpec, argument: str, axes: int, default: str
) -> str:
    """Return the name of the array meant: the one named, the only candidate, or `default`."""
    if spec.key is None and len(arrays) == 1:
        return next(iter(arrays))
    candidates = [name for name, array in arrays.items() if len(array.shape) == axes]
    others = [name for name in arrays if name not in candidates]
    key = spec.key
    if key is None and len(candidates) != 1 and (default in candidates or not arrays):
        key = default
    what = "array of shape (n, d)" if axes == 2 else "array of shape (n,)"
    if key in others:  # refused with its shape, as any array is
        return str(key)
    return choose(argument, spec.path, key, candidates, others, what)


def check_dtype(array: FlatArray, argument: str) -> None:
    """Refuse an array that holds no real numbers."""
    if isinstance(array.dtype, str):
        raise InvalidInput(
            f"{argument} is stored as {array.dtype}, but float64, float32, float16, bfloat16 and "
            "integers are read; save it as one of these"
        )
    check_row_dtype(array.dtype, argument)
