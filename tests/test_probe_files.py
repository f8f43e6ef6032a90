"""Files of a probe: what comes back, and what is refused."""

import os
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from cloister.errors import ModelFileError
from cloister.model_file import read_model, write_model
from cloister.neural import Probe
from probe_rows import SMALL, blobs

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize(
    "names", [[4, 5, 6], [-1, 0, 2**40], ["a", "é", "ccc"], np.array(["a", "b", "c"], dtype=object)]
)
def test_save_and_load(tmp_path, names):
    X, y = blobs()
    path = tmp_path / "probe.safetensors"
    probe = Probe(**SMALL, encoder_id="mobilenet-v2").fit(X, np.asarray(names)[y])
    for _ in range(2):  # replacing an existing file is fine
        probe.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["probe.safetensors"]
    loaded = Probe.load(os.fspath(path))
    assert loaded.get_params() == probe.get_params()
    assert loaded.encoder_id == "mobilenet-v2"
    assert loaded.classes_.dtype == probe.classes_.dtype
    np.testing.assert_array_equal(loaded.predict(X), probe.predict(X))
    np.testing.assert_array_equal(loaded.predict_proba(X), probe.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(loaded)).predict(X), probe.predict(X))


def test_a_generator_as_random_state_is_not_kept_in_files(tmp_path):
    X, y = blobs()
    Probe(**SMALL, random_state=np.random.default_rng(1)).fit(X, y).save(tmp_path / "p")
    assert Probe.load(tmp_path / "p").random_state is None


def saved(tmp_path):
    path = tmp_path / "probe.safetensors"
    Probe(**SMALL).fit(*blobs()).save(path)
    return path


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 64, None])
def test_files_that_are_no_safetensors_are_refused(tmp_path, content):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-7] if content is None else content)
    with pytest.raises(ModelFileError, match=r"probe\.safetensors"):
        Probe.load(path)


def test_missing_files_directories_and_foreign_models_are_refused(tmp_path):
    save_file({"weight": np.zeros(3)}, tmp_path / "foreign")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "foreign"):
        with pytest.raises(ModelFileError):
            Probe.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": [0, 1]}, "second"),
        ({"classes": [0, 1, 1]}, "distinct"),
        ({"classes": {"a": 1}}, "classes"),
        ({"classes_dtype": "<f"}, "damaged"),
        ({"classes_dtype": "nonsense"}, "damaged"),
        ({"parameters": {"hidden": 17}}, "first"),
        ({"parameters": {"hidden": "16"}}, "hidden"),
        ({"parameters": {"unknown": 1}}, "unknown"),
        ({"parameters": []}, "parameters"),
        ({"parameters": {"hidden": 2**40}}, "first"),
    ],
)
def test_damaged_headers_are_refused(tmp_path, change, message):
    path = saved(tmp_path)
    _, arrays, header = read_model(path)
    header |= change
    if change == {"classes_dtype": "<f"}:
        header["classes"] = ["x", "y", "z"]
    write_model(path, "probe", arrays, header)
    with pytest.raises(ModelFileError, match=message):
        Probe.load(path)


@pytest.mark.parametrize("name", ["center", "scale", "first", "first_bias", "second"])
@pytest.mark.parametrize("damage", ["absent", "nan", "shape", "dtype"])
def test_damaged_tensors_are_refused(tmp_path, name, damage):
    path = saved(tmp_path)
    _, tensors, header = read_model(path)
    if damage == "absent":
        del tensors[name]
    elif damage == "nan":
        tensors[name].flat[0] = np.nan
    elif damage == "shape":
        tensors[name] = tensors[name][None]
    else:
        tensors[name] = tensors[name].astype(np.float16)
    write_model(path, "probe", tensors, header)
    with pytest.raises(ModelFileError, match=name):
        Probe.load(path)
