"""`as_source`: from whatever a caller gave to rows in chunks."""

import glob
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cloister._backend import Devices, is_on_device
from cloister.sources.arrays import array_source, mapped_file
from cloister.sources.arrow import arrow_source
from cloister.sources.batches import BatchSource
from cloister.sources.device_rows import DeviceSource, device_rows
from cloister.sources.file_names import SUFFIXES, file_specs, split_key
from cloister.sources.files import file_source
from cloister.sources.many import ManySource
from cloister.sources.protocol import Source

_ARRAY_LIKE = ("__array__", "__array_interface__", "__dlpack__", "__getitem__", "shape")


def as_source(rows: Any, name: str = "X", devices: Devices = ()) -> Source:
    """Take rows from what a caller gave, without reading them where that can be helped.

    Parameters
    ----------
    rows : rows of shape (n, d)
        - An array-like: float32, float64, float16 or bfloat16 (ml_dtypes, torch); other real
          dtypes are converted to float64 chunk by chunk. Values beyond float32 count as infinite.
          A memory map stays on disk; its file must keep its length while it is read. Tensors of
          the host's memory are not copied.
        - The name of a file, or a glob pattern: .npy, .npz, .safetensors, .parquet, .arrow.
          `"file.npz:key"` and `"folder/*.parquet:column"` name the array or column where there
          is more than one candidate.
        - A pyarrow Table, RecordBatch, array, Dataset or RecordBatchReader with one column of
          lists.
        - An iterable of batches, each an array-like of shape (any, d). The first one is taken at
          once, before any budget is asked: it tells d.
        - A list of files, of 2D arrays or of pyarrow objects.
        - With `devices`, an array on a GPU: float32, float64, float16 or bfloat16, C-contiguous,
          of anything with `__dlpack__` or `__cuda_array_interface__`. It is not copied.
    name : str
        The argument's name in messages.
    devices : tuple of int
        The GPUs that the caller works with; without any, arrays of a GPU are refused.

    Returns
    -------
    Source

    Raises
    ------
    InvalidInput, InvalidType
        For sparse, masked, complex, ragged, text or datetime input, a wrong number of dimensions,
        no row, no feature, more than `MAX_FEATURES` features, a memory map whose file was cut,
        arrays on a device, missing or damaged files, files that differ in their features.
    MissingDependency
        For Parquet and Arrow files without pyarrow.
    """
    if isinstance(rows, str | os.PathLike):
        return _of_files(rows, name)
    if devices and is_on_device(rows):
        return DeviceSource(device_rows(rows, name))
    if _is_pyarrow(rows):
        return arrow_source(rows, name)
    if isinstance(rows, Source):
        return rows
    if isinstance(rows, list | tuple) and rows and all(_is_part(part) for part in rows):
        return _of_parts(rows, name)
    if _is_batches(rows):
        return BatchSource(rows, name)
    return array_source(rows, name)


def is_resident(rows: Any) -> bool:
    """Say whether rows lie in memory as an array-like: no file, no map, no iterable."""
    if isinstance(rows, str | os.PathLike | Source) or _is_pyarrow(rows) or _is_batches(rows):
        return False
    if isinstance(rows, list | tuple) and rows and all(_is_part(part) for part in rows):
        return False
    return mapped_file(rows) is None


def host_array(rows: Any) -> Any:
    """Return a tensor of another library as numpy sees it, and anything else as it is.

    Raises
    ------
    InvalidInput, InvalidType
        As `as_source`.
    """
    if isinstance(rows, np.ndarray) or not hasattr(rows, "__dlpack__"):
        return rows
    source = array_source(rows)
    (_, array), *_ = source.chunks(source.n)
    return array


def with_features(rows: Any, source: Source) -> Any:
    """Return what scikit-learn can look at for the number and names of the features.

    Array-likes and data frames as they are; for rows that are not resident, or on a device, an
    array of their width and no row.
    """
    looked_at = is_resident(rows) and not isinstance(source, DeviceSource)
    return rows if looked_at else np.empty((0, source.d), np.float32)


def _of_files(spec: str | os.PathLike[str], name: str) -> Source:
    specs = file_specs(spec, name)
    sources = [file_source(file, name) for file in specs]
    if len(sources) == 1:
        return sources[0]
    return ManySource(sources, [repr(file.path) for file in specs], name)


def _of_parts(parts: Sequence[Any], name: str) -> Source:
    names = [
        repr(os.fspath(part)) if isinstance(part, str | os.PathLike) else f"{name}[{number}]"
        for number, part in enumerate(parts)
    ]
    sources = [as_source(part, name) for part in parts]
    return sources[0] if len(sources) == 1 else ManySource(sources, names, name)


def _is_part(part: Any) -> bool:
    """Say whether an element of a list stands for many rows, and is not itself a row."""
    if isinstance(part, str):
        path = split_key(part)[0]
        return path.lower().endswith(SUFFIXES) or glob.has_magic(path) or os.path.isfile(path)
    return (
        isinstance(part, os.PathLike | Source) or _is_pyarrow(part) or getattr(part, "ndim", 0) == 2
    )


def _is_batches(rows: Any) -> bool:
    return (
        isinstance(rows, Iterable)
        and not isinstance(rows, str | bytes | bytearray | memoryview | dict | set | frozenset)
        and not any(hasattr(rows, method) for method in _ARRAY_LIKE)
    )


def _is_pyarrow(rows: Any) -> bool:
    return type(rows).__module__.partition(".")[0] == "pyarrow"
