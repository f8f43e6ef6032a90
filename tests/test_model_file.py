"""The model file: whole or absent, the same bytes for the same content, no defect unnoticed."""

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from cloister import model_file
from cloister.errors import InvalidInput, InvalidType, ModelFileError
from cloister.model_file import model_array, model_value, read_model, write_model
from cloister.version import __version__

HEADER = {"classes": ["a", "ß"], "epsilon": 1.0, "nested": {"none": None, "list": [1, [True]]}}
NUMBERS = np.arange(6.0).reshape(2, 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    write_model(path, "mixture", {"means": NUMBERS}, HEADER)
    return path


def test_version_is_that_of_the_package():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert __version__ == project["version"]


@pytest.mark.parametrize("dtype", sorted(model_file.DTYPES))
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3, 4)])
def test_round_trip(path, dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    write_model(path, "mixture", {"a": array, "b": np.ones(3)}, HEADER)
    kind, arrays, header = read_model(path, "mixture")
    assert (kind, header, sorted(arrays)) == ("mixture", HEADER, ["a", "b"])
    assert arrays["a"].dtype == array.dtype
    np.testing.assert_array_equal(arrays["a"], array)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(NUMBERS),
        NUMBERS[:, ::-2],
        NUMBERS.T,
        NUMBERS.astype(">f8"),
        np.broadcast_to(np.float32(3), (4, 2)),
    ],
    ids=["fortran", "strided", "transposed", "big-endian", "broadcast"],
)
def test_every_memory_layout_comes_back(path, array):
    write_model(path, "mixture", {"a": array}, {})
    np.testing.assert_array_equal(read_model(path)[1]["a"], array)


def test_kind_none_takes_any(saved):
    assert read_model(saved)[0] == "mixture"


def test_other_software_can_read_the_arrays_and_the_metadata(saved):
    with safe_open(saved, framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("means"), NUMBERS)
        metadata = file.metadata()
    assert list(metadata) == ["cloister"]
    assert json.loads(metadata["cloister"]) == {
        "format": "cloister",
        "format_version": 1,
        "kind": "mixture",
        "cloister_version": __version__,
        "header": HEADER,
    }


def test_the_same_content_is_the_same_bytes_in_another_process_folder_and_order(saved, tmp_path):
    other = tmp_path / "another folder" / "other.bin"
    other.parent.mkdir()
    script = (
        "import numpy as np; from cloister.model_file import write_model\n"
        f"header = {dict(reversed(HEADER.items()))!r}\n"
        f"write_model({str(other)!r}, 'mixture', {{'means': np.arange(6.0).reshape(2, 3)}}, header)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert other.read_bytes() == saved.read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ModelFileError, match="No space left"):
        write_model(saved, "mixture", {}, {})
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_the_users_umask_decides_who_may_read(path):
    before = os.umask(0o027)
    try:
        write_model(path, "mixture", {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_symbolic_link_is_followed(saved, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(saved)
    write_model(link, "kmeans", {}, {})
    assert link.is_symlink()
    assert read_model(saved)[0] == "kmeans"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "is a directory"),
        ("missing/model", "folder of .* does not exist"),
        ("file/model", "does not exist|cannot be reached"),
        ("pipe", "is a device, pipe or socket"),
        ("new/", "is a directory"),
    ],
)
def test_destinations_that_are_refused(tmp_path, target, message):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match=f"^path: .*{message}"):
        write_model(f"{tmp_path}/{target}", "mixture", {}, {})
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


@pytest.mark.parametrize("bad", [None, 3, b"model", "", "a\0b"])
def test_what_is_no_path(bad):
    with pytest.raises((InvalidType, ModelFileError), match=r"^path must"):
        write_model(bad, "mixture", {}, {})


@pytest.mark.parametrize("bad", [None, 3, b"model"])
def test_what_is_no_path_to_read(bad):
    with pytest.raises(InvalidType, match=r"^path must"):
        read_model(bad)


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        ({"a": np.array([object()])}, InvalidType),
        ({"a": np.array(["text"])}, InvalidType),
        ({"a": np.ones(2, complex)}, InvalidType),
        ({"a": np.ones(2, np.longdouble)}, InvalidType),
        ({"a": [1.0]}, InvalidType),
        ({"a": 1.0}, InvalidType),
        ({"__metadata__": NUMBERS}, InvalidInput),
        ({3: NUMBERS}, InvalidInput),
    ],
    ids=["object", "text", "complex", "longdouble", "list", "float", "reserved", "number"],
)
def test_arrays_that_cannot_be_stored(path, arrays, error):
    with pytest.raises(error, match=r"^arrays"):
        write_model(path, "mixture", arrays, {})
    assert not path.exists()


@pytest.mark.parametrize(
    "header",
    [
        {"a": np.nan},
        {"a": [float("inf")]},
        {"a": NUMBERS},
        {"a": {1: 2}},
        {1: 2},
        {"a": [{None: 1}]},
        {"a": {1, 2}},
    ],
    ids=["nan", "inf", "array", "inner key", "key", "key in list", "set"],
)
def test_headers_that_json_cannot_hold(path, header):
    with pytest.raises(InvalidInput, match=r"^header must"):
        write_model(path, "mixture", {}, header)
    assert not path.exists()


@pytest.mark.parametrize("kind", [None, "", 3])
def test_kinds_that_are_none(path, kind):
    with pytest.raises(InvalidType, match=r"^kind must"):
        write_model(path, kind, {}, {})


def test_wrong_kind_shows_both(saved):
    with pytest.raises(ModelFileError, match="kind 'mixture', but 'kmeans' is needed"):
        read_model(saved, "kmeans")


def test_model_array_takes_what_fits():
    arrays = {"means": NUMBERS}
    assert model_array("f", arrays, "means", np.float64, (2, None)) is NUMBERS


@pytest.mark.parametrize(
    ("array", "dtype", "shape", "message"),
    [
        (NUMBERS, np.float32, (2, 3), "dtype float64 and shape .* but float32"),
        (NUMBERS, np.float64, (2, 4), r"shape \(2, 3\), but float64 and \(2, 4\)"),
        (NUMBERS, np.float64, (6,), r"\(6,\) are needed"),
        (NUMBERS * np.nan, np.float64, (2, 3), "NaN or infinity in array 'means'"),
        (NUMBERS + np.inf, np.float64, (2, 3), "NaN or infinity in array 'means'"),
    ],
    ids=["dtype", "length", "dimensions", "nan", "inf"],
)
def test_model_array_refuses(array, dtype, shape, message):
    with pytest.raises(ModelFileError, match=message):
        model_array("f", {"means": array}, "means", dtype, shape)


def test_model_array_that_is_missing():
    with pytest.raises(ModelFileError, match=r"lacks the array 'weights'; it has \['means'\]"):
        model_array("f", {"means": NUMBERS}, "weights", np.float64, (None,))


def test_model_value():
    header = {"text": "a", "one": 1, "yes": True}
    assert model_value("f", header, "text", str) == "a"
    assert model_value("f", header, "one", int) == 1
    assert type(model_value("f", header, "one", float)) is float
    assert model_value("f", header, "yes", bool) is True
    for name, of_type in [("text", int), ("yes", int), ("yes", float), ("one", bool), ("no", str)]:
        with pytest.raises(ModelFileError, match=f"'f' has {name}=.* a {of_type.__name__} is"):
            model_value("f", header, name, of_type)
