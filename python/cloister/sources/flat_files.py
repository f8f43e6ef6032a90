"""Arrays that lie in files row after row: .npy, members of .npz, tensors of .safetensors."""

import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType

DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged file raises."""

_SAFETENSORS = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"},
}
_LARGEST_HEADER = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class FlatArray:
    """Where a file holds one array.

    Attributes
    ----------
    shape, dtype
        Of the array; a dtype that the format has and numpy has not is a string.
    offset : int
        Bytes from the start of the file, or of the member, to the first entry.
    member : str or None
        Of a .npz file.
    fortran_order, is_bfloat16 : bool
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any] | str
    offset: int
    member: str | None = None
    fortran_order: bool = False
    is_bfloat16: bool = False

    def parts(self, path: str, argument: str, rows: int) -> Iterator[NDArray[Any]]:
        """Yield `rows` entries of the first axis at a time, in a buffer that is used again.

        Raises
        ------
        InvalidInput
            If the file ends too early or cannot be read.
        """
        buffer = np.empty((min(rows, self.shape[0]), *self.shape[1:]), self.dtype)
        with reading(path, argument), self._opened(path) as file:
            for first in range(0, self.shape[0], rows):
                part = buffer[: self.shape[0] - first]
                _fill(file, part)
                yield part

    @contextmanager
    def _opened(self, path: str) -> Iterator[IO[bytes]]:
        with open(path, "rb", buffering=0) as file:
            if self.member is None:
                file.seek(self.offset)
                yield file
                return
            with zipfile.ZipFile(path) as archive, archive.open(self.member) as member:
                member.read(self.offset)
                yield member


def _fill(file: IO[bytes], part: NDArray[Any]) -> None:
    view = part.reshape(-1).view(np.uint8)
    while len(view) > 0:
        read = file.readinto(view[: 2**30].data)  # type: ignore[attr-defined]
        if not read:
            raise EOFError(f"it ends {len(view)} bytes too early")
        view = view[read:]


@contextmanager
def reading(path: str, argument: str) -> Iterator[None]:
    """Turn what a damaged file raises into a typed error."""
    try:
        yield
    except (InvalidInput, InvalidType):
        raise
    except (*DAMAGE, MemoryError) as error:
        size = os.path.getsize(path) if os.path.exists(path) else 0
        raise InvalidInput(
            f"{argument}: {path!r} ({size} bytes) cannot be read as numbers of a "
            f"{os.path.splitext(path)[1]} file: {error}; save it again"
        ) from error


def arrays_of(path: str, argument: str) -> dict[str, FlatArray]:
    """Return the arrays of a file by name; an .npy file has one, named "".

    Raises
    ------
    InvalidInput
        If the file is damaged or shorter than it says.
    """
    suffix = os.path.splitext(path)[1].lower()
    readers: dict[str, Callable[[str], dict[str, FlatArray]]] = {
        ".npy": _npy,
        ".npz": _npz,
        ".safetensors": _safetensors,
    }
    with reading(path, argument):
        arrays = readers[suffix](path)
        for name, array in arrays.items():
            if array.member is None and not isinstance(array.dtype, str):
                _check_length(path, name, array)
    return arrays


def _check_length(path: str, name: str, array: FlatArray) -> None:
    needed = array.offset + prod(array.shape) * np.dtype(array.dtype).itemsize
    found = os.path.getsize(path)
    if found < needed:
        raise ValueError(
            f"its header promises {needed} bytes{f' up to {name!r}' if name else ''}, but it has "
            f"{found}: it was cut short"
        )


def _npy(path: str) -> dict[str, FlatArray]:
    with open(path, "rb") as file:
        return {"": _npy_header(file)}


def _npz(path: str) -> dict[str, FlatArray]:
    with open(path, "rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise ValueError("it is an .npy file; rename it")
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                arrays[member.removesuffix(".npy")] = _npy_header(file, member)
    return arrays


def _npy_header(file: IO[bytes], member: str | None = None) -> FlatArray:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the .npy format is not known")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read (allow_pickle=False)")
    fortran_order = fortran_order and len(shape) > 1
    return FlatArray(shape, dtype, file.tell(), member, fortran_order)


def _safetensors(path: str) -> dict[str, FlatArray]:
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
            raise ValueError(f"its header would have {length} bytes of {size}")
        header = json.loads(file.read(length))
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = _SAFETENSORS.get(entry["dtype"])
        shape = tuple(int(length) for length in entry["shape"])
        start, end = (8 + length + int(offset) for offset in entry["data_offsets"])
        if dtype is None:
            arrays[name] = FlatArray(shape, str(entry["dtype"]), start)
            continue
        found = FlatArray(shape, np.dtype(dtype), start, is_bfloat16=entry["dtype"] == "BF16")
        needed = prod(shape) * np.dtype(dtype).itemsize
        if min(shape, default=0) < 0 or end - start != needed or start < 8 + length:
            raise ValueError(f"{name!r} needs {needed} bytes, but has {end - start}")
        arrays[name] = found
    return arrays
