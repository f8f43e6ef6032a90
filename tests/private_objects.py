"""How the tests look into private objects: every value inside, every byte of a file."""

import json
import re
from dataclasses import fields, is_dataclass

import numpy as np


def values_of(thing, path="", seen=None):
    """Every number, text and shape inside an object, by the path that leads there.

    Raises
    ------
    AssertionError
        For an object of a kind that it cannot look into: nothing escapes it.
    """
    seen = set() if seen is None else seen
    if thing is None or isinstance(thing, bool | int | float | str | bytes | np.generic):
        return {path: thing}
    assert id(thing) not in seen, f"{path} leads back to an object that holds it"
    seen = seen | {id(thing)}
    if isinstance(thing, np.ndarray):
        parts = {f"shape[{i}]": length for i, length in enumerate(thing.shape)}
        parts |= {f"[{i}]": value for i, value in enumerate(thing.ravel().tolist())}
        assert thing.base is None or _bytes(thing.base) <= thing.nbytes, f"{path} is part of more"
    elif isinstance(thing, dict):
        parts = {f"[{key!r}]": value for key, value in thing.items()}
    elif isinstance(thing, list | tuple | range):
        parts = {f"[{i}]": value for i, value in enumerate(thing)}
    elif is_dataclass(thing):
        names = {field.name for field in fields(thing)} | vars(thing).keys()
        parts = {f".{name}": getattr(thing, name) for name in names}
    else:
        assert type(thing).__module__.startswith("cloister."), f"{path} is a {type(thing)}"
        parts = {f".{name}": value for name, value in vars(thing).items()}
    found = {}
    for name, part in parts.items():
        found |= values_of(part, path + name, seen)
    return found


def _bytes(base):
    return memoryview(base).nbytes


def values_of_file(path):
    """Every number and text in a saved model, and the lengths of its parts."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    tensors = content[8 + length :]
    texts = {name: json.loads(text) for name, text in header.pop("__metadata__").items()}
    arrays, covered = {}, 0
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype = {"F64": "<f8", "F32": "<f4", "I64": "<i8"}[entry["dtype"]]
        arrays[name] = np.frombuffer(tensors[begin:end], dtype=dtype).copy()
        covered += end - begin
    assert covered == len(tensors)  # no byte between or behind the arrays
    return values_of({"texts": texts, "layout": header, "arrays": arrays})


def unexplained(first, other_noise, other_data):
    """Paths of values that neither stay the same on other data nor change with the noise."""
    absent = object()
    return [
        path
        for path, value in first.items()
        if not (
            _same(value, other_data.get(path, absent))
            or not _same(value, other_noise.get(path, absent))
        )
    ]


def _same(a, b):
    return a is b or (type(a) is type(b) and a == b)


def mentions(values, numbers):
    """Paths of values that are one of the numbers, or texts that spell one out."""
    spelt = re.compile(r"(?<!\d)(" + "|".join(map(str, numbers)) + r")(?!\d)")
    return [
        path
        for path, value in values.items()
        if (spelt.search(value) if isinstance(value, str) else value in numbers)
    ]


def numbers_in(content, numbers):
    """Numbers whose bytes occur: 32 and 64 bits, integer and floating, both byte orders."""
    kinds = [f"{order}{kind}" for order in "<>" for kind in ("i4", "i8", "f4", "f8")]
    return [
        (number, kind)
        for number in numbers
        for kind in kinds
        if np.array([number]).astype(kind).tobytes() in content
    ]


def windows_of(*arrays, length=16):
    """All runs of `length` bytes in the arrays' memory."""
    contents = [np.ascontiguousarray(array).tobytes() for array in arrays]
    return {c[i : i + length] for c in contents for i in range(len(c) - length + 1)}


def runs_in(content, windows, length=16):
    """Where a run of the windows occurs in the content."""
    return [i for i in range(len(content) - length + 1) if content[i : i + length] in windows]
