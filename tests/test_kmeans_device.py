"""KMeans on a device: the bits of the processor, from rows of either and of any size."""

import numpy as np
import pytest

from cloister import KMeans, _backend, device_windows
from cloister._backend import DeviceArray
from cloister.centred_rows import CentredRows
from cloister.device_centred_rows import placed_on
from cloister.errors import DeviceError, InvalidInput, InvalidType

pytestmark = pytest.mark.usefixtures("emulated_cuda")


@pytest.fixture
def rows(rng):
    centres = rng.normal(size=(9, 24))
    return (centres[rng.integers(9, size=2500)] + rng.normal(size=(2500, 24))).astype(np.float32)


def fitted(X, device, **parameters):
    return KMeans(9, random_state=3, device=device, **parameters).fit(X)


def assert_equal(model, other):
    assert (model.cluster_centers_ == other.cluster_centers_).all()
    assert (np.asarray(labels_of(model)) == np.asarray(labels_of(other))).all()
    assert model.inertia_ == other.inertia_
    assert model.n_iter_ == other.n_iter_


def labels_of(model):
    labels = model.labels_
    return labels.numpy() if isinstance(labels, DeviceArray) else labels


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_a_fit_is_the_processors(rows, metric, init):
    host = fitted(rows, "cpu", metric=metric, init=init, n_init=1)
    device = fitted(rows, "cuda", metric=metric, init=init, n_init=1)
    assert_equal(device, host)
    assert (device.predict(rows) == host.predict(rows)).all()
    assert (device.transform(rows) == host.transform(rows)).all()
    assert device.score(rows) == host.score(rows)


def test_weights_and_empty_clusters(rng):
    few = np.repeat(rng.normal(size=(12, 5)).astype(np.float32), 30, axis=0)
    weights = rng.uniform(0, 2, len(few))
    start = few[:9].copy()  # all alike: clusters run empty and are given rows
    fits = [
        KMeans(9, init=start, device=device).fit(few, sample_weight=weights)
        for device in ("cpu", "cuda")
    ]
    assert_equal(fits[1], fits[0])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_other_dtypes_of_the_host(rows, dtype):
    X = (rows * 10).astype(dtype)
    assert_equal(fitted(X, "cuda"), fitted(X, "cpu"))


def test_rows_larger_than_the_devices_memory_are_streamed(rows, monkeypatch):
    monkeypatch.setattr(device_windows, "_WINDOW_BYTES", 1)  # one block of candidates
    whole = fitted(rows, "cpu")
    monkeypatch.setenv("CLOISTER_EMULATED_MEMORY", str(rows.nbytes * 4))
    resident = placed_on((0,), centred(rows))
    assert isinstance(resident.values, DeviceArray)
    del resident
    monkeypatch.setenv("CLOISTER_EMULATED_MEMORY", str(rows.nbytes))
    streamed = placed_on((0,), centred(rows))
    assert streamed.values is rows
    assert streamed.windows.page_lock.is_locked
    monkeypatch.delenv("CLOISTER_EMULATED_MEMORY")
    monkeypatch.setattr(device_windows, "_ROOM", 1)  # nothing fits
    model = fitted(rows, "cuda")
    assert_equal(model, whole)
    assert (model.transform(rows) == whole.transform(rows)).all()


def test_rows_that_fit_a_device_without_what_is_known_of_them_are_streamed(rng, monkeypatch):
    monkeypatch.setattr(device_windows, "_WINDOW_BYTES", 1)
    rows = rng.normal(size=(30_000, 16)).astype(np.float32)
    free, whole = _backend.free_memory(0)
    monkeypatch.setenv("CLOISTER_EMULATED_MEMORY", str(whole - free + rows.nbytes * 5 // 4))
    options = {"n_clusters": 8, "max_iter": 2, "random_state": 0}
    device = KMeans(device="cuda", **options).fit(rows)
    assert_equal(device, KMeans(device="cpu", **options).fit(rows))


@pytest.mark.parametrize("room", [8, 1])
def test_codes_of_files(rows, tmp_path, monkeypatch, room):
    """Rows that are not resident are clustered as codes, kept on the device or streamed to it."""
    monkeypatch.setattr(device_windows, "_WINDOW_BYTES", 1)
    np.save(tmp_path / "rows.npy", rows)
    host = fitted(str(tmp_path / "rows.npy"), "cpu")
    monkeypatch.setattr(device_windows, "_ROOM", room)  # 1: nothing fits
    assert_equal(fitted(str(tmp_path / "rows.npy"), "cuda"), host)


def centred(rows):
    return CentredRows.around_mean(rows)[0]


def test_rows_on_the_device_stay_there_and_results_come_back_to_it(rows):
    host = fitted(rows, "cpu")
    X = DeviceArray.copy_of(rows, 0)
    device = fitted(X, "cuda")
    assert_equal(device, host)
    assert isinstance(device.labels_, DeviceArray)
    assert isinstance(device.cluster_centers_, np.ndarray)
    for method in ("predict", "transform"):
        found = getattr(device, method)(X)
        assert isinstance(found, DeviceArray)
        assert (found.numpy() == getattr(host, method)(rows)).all()
    # The model is the same for rows of either.
    assert (device.predict(rows) == host.labels_).all()


def test_refusals(rows, monkeypatch):
    X = DeviceArray.copy_of(rows, 0)
    with pytest.raises(InvalidType, match="device"):
        fitted(X, "cpu")
    with pytest.raises(InvalidType, match=r"float64.*float32"):
        fitted(DeviceArray.copy_of(rows.astype(np.float64), 0), "cuda")
    with pytest.raises(InvalidInput, match="features"):
        fitted(X, "cuda").predict(DeviceArray.copy_of(np.ones((3, 5), np.float32), 0))
    with pytest.raises(InvalidInput, match="n_samples=4"):
        fitted(X[:4], "cuda")
    with pytest.raises(InvalidInput, match=r"NaN|inf"):
        fitted(DeviceArray.copy_of(np.full((20, 2), np.nan, np.float32), 0), "cuda")
    with pytest.raises(DeviceError, match="cuda:3"):
        fitted(rows, "cuda:3")
    del X  # given back while there is a device
    monkeypatch.setenv("CLOISTER_EMULATED_DEVICES", "0")
    with pytest.raises(DeviceError, match="GPU"):
        fitted(rows, "cuda")
