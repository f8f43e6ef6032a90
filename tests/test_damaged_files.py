"""Files that `read_model` refuses, whatever was done to them."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from cloister.errors import ModelFileError
from cloister.model_file import read_model, write_model

HEADER = {"classes": ["a", "ß"], "epsilon": 1.0, "nested": {"none": None, "list": [1, [True]]}}
NUMBERS = np.arange(6.0).reshape(2, 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    write_model(path, "mixture", {"means": NUMBERS}, HEADER)
    return path


def raw(header_json, data=b""):
    header = header_json if isinstance(header_json, bytes) else json.dumps(header_json).encode()
    return struct.pack("<Q", len(header)) + header + data


def with_description(**changes):
    description = {
        "format": "cloister",
        "format_version": 1,
        "kind": "mixture",
        "cloister_version": "0.1.0",
        "header": {},
    }
    return save({"a": NUMBERS}, {"cloister": json.dumps({**description, **changes})})


FOREIGN = save({"a": NUMBERS}, {"format": "pt"})
DAMAGED = {
    "empty": (b"", r"\(0 bytes\) is no safetensors file"),
    "text": (b"a table, a table, a table", "is no safetensors file"),
    "pickle": (b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.", "is no safetensors file"),
    "trailing": (save({"a": NUMBERS}) + b"x", "is damaged"),
    "overlap": (raw({"a": {"dtype": "F64", "shape": [9], "data_offsets": [0, 72]}}), "damaged"),
    "foreign": (FOREIGN, r"is a safetensors file, but no cloister model .*\['format'\]"),
    "no metadata": (save({"a": NUMBERS}), "no cloister model"),
    "no JSON": (save({}, {"cloister": "{"}), "damaged header"),
    "nested": (save({}, {"cloister": "[" * 10**5}), "damaged header"),
    "NaN": (save({}, {"cloister": '{"header": NaN}'}), "damaged header: NaN is no finite"),
    "list": (save({}, {"cloister": "[]"}), "damaged header"),
    "newer": (with_description(format_version=2), "format version 2, .* reads up to 1; install"),
    "version 0": (with_description(format_version=0), "damaged header"),
    "version true": (with_description(format_version=True), "damaged header"),
    "version text": (with_description(format_version="1"), "damaged header"),
    "kind number": (with_description(kind=3), "damaged header"),
    "header list": (with_description(header=[]), "damaged header"),
    "bfloat16": (
        raw(
            {
                "__metadata__": {"cloister": '{"format_version":1,"kind":"a","header":{}}'},
                "a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
            },
            b"1234",
        ),
        "dtype that numpy lacks",
    ),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_files_that_are_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_model(path)
    assert str(path) in str(caught.value)


def test_a_file_cut_anywhere_is_refused(saved):
    content = saved.read_bytes()
    for length in range(len(content)):
        saved.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            read_model(saved)


def test_a_flipped_bit_is_refused_or_changes_values_only(saved):
    content = saved.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        saved.write_bytes(flipped)
        try:
            kind, arrays, header = read_model(saved)
        except ModelFileError:
            continue
        assert isinstance(kind, str)
        assert isinstance(header, dict)
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ModelFileError, match="there is no file"):
        read_model(tmp_path / "none")
    with pytest.raises(ModelFileError, match="is no regular file"):
        read_model(tmp_path)
