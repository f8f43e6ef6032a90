"""KMeans on a device: the model of the host, bit for bit, and labels where the rows were."""

import sys

import numpy as np
import pytest
from sklearn.base import clone

from cloister import KMeans
from cloister._backend import DeviceArray
from cloister.errors import DeviceError, InvalidInput, InvalidType
from foreign_arrays import ForeignArray

N, D = 500, 7


@pytest.fixture(autouse=True)
def two_devices(emulated_cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "cloister._cuda", emulated_cuda)
    monkeypatch.setenv("CLOISTER_EMULATED_DEVICES", "2")


@pytest.fixture
def rows(rng):
    return (rng.normal(size=(N, D)) + 3 * rng.integers(0, 4, size=(N, 1))).astype(np.float32)


def assert_same(model, host):
    np.testing.assert_array_equal(model.cluster_centers_, host.cluster_centers_)
    labels = model.labels_ if isinstance(model.labels_, np.ndarray) else model.labels_.numpy()
    np.testing.assert_array_equal(labels, host.labels_)
    assert (model.inertia_, model.n_iter_) == (host.inertia_, host.n_iter_)


OPTIONS = {
    "default": {},
    "k-means||": {"init": "k-means||", "n_clusters": 20},
    "random": {"init": "random", "n_init": 3},
    "cosine": {"metric": "cosine"},
    "empty cells": {"init": np.concatenate([np.zeros((2, D)), np.full((3, D), 1e3)])},
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", OPTIONS)
def test_models_are_the_same_bits(case, weighted, rows, rng):
    weights = rng.choice([0.0, 0.5, 3.0], size=N) if weighted else None
    options = {"n_clusters": 5, "random_state": 2, **OPTIONS[case]}
    host = KMeans(**options).fit(rows, sample_weight=weights)
    for device, X in (("cuda", rows), ("auto", ForeignArray(rows))):
        model = KMeans(device=device, **options).fit(X, sample_weight=weights)
        assert_same(model, host)


@pytest.mark.parametrize("dtype", ["float64", "float16", "float32"])
def test_dtypes(dtype, rows):
    rows = rows.astype(dtype)
    host = KMeans(4, random_state=0).fit(rows)
    assert_same(KMeans(4, random_state=0, device="cuda:1").fit(rows), host)
    assert_same(KMeans(4, random_state=0, device="cuda").fit(ForeignArray(rows)), host)


def test_bfloat16(rows):
    bits = (rows.view(np.uint32) >> 16).astype(np.uint16)
    widened = (bits.astype(np.uint32) << 16).view(np.float32)
    host = KMeans(4, random_state=0).fit(widened)
    model = KMeans(4, random_state=0, device="cuda").fit(ForeignArray(bits, dtype="bfloat16"))
    assert_same(model, host)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_results_come_back_where_the_rows_were(metric, rows):
    host = KMeans(5, metric=metric, random_state=0).fit(rows)
    foreign = ForeignArray(rows, device=1)
    model = KMeans(5, metric=metric, random_state=0, device="cuda").fit(foreign)
    for found, expected in (
        (model.labels_, host.labels_),
        (model.predict(foreign), host.predict(rows)),
        (model.transform(foreign), host.transform(rows)),
        (model.fit_predict(foreign), host.labels_),
    ):
        assert type(found) is ForeignArray
        assert found.__dlpack_device__() == (2, 1)
        np.testing.assert_array_equal(found.numpy(), expected)
        assert found.numpy().dtype == expected.dtype
    assert model.score(foreign) == host.score(rows)
    assert type(model.predict(DeviceArray.copy_of(rows, 0))) is DeviceArray
    for method in ("predict", "transform"):
        found = getattr(model, method)(rows)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, getattr(host, method)(rows))
    assert model.n_features_in_ == D
    assert clone(model).device == "cuda"


def test_distances_in_several_parts(rows, monkeypatch):
    monkeypatch.setattr("cloister.centred_rows._DISTANCES", 5 * 64)
    host = KMeans(5, random_state=0).fit(rows)
    model = clone(host).set_params(device="cuda").fit(rows)
    np.testing.assert_array_equal(model.transform(rows), host.transform(rows))


def test_files_are_labelled_on_a_device(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    name = str(tmp_path / "rows.npy")
    model = KMeans(4, random_state=0, device="cuda").fit(rows)
    np.testing.assert_array_equal(model.predict(name), model.labels_)
    with pytest.raises(InvalidInput, match=r"X is not in memory, but on cuda:0 KMeans.*'cpu'"):
        model.fit(name)


def test_refusals(rows):
    foreign = ForeignArray(rows)
    with pytest.raises(InvalidType, match=r'lies in the memory of a CUDA device .* device="cuda"'):
        KMeans(2).fit(foreign)
    with pytest.raises(InvalidInput, match="is no device"):
        KMeans(2, device="gpu").fit(rows)
    with pytest.raises(DeviceError, match="there are 2"):
        KMeans(2, device="cuda:3").fit(rows)
    model = KMeans(2, device="cuda").fit(foreign)
    with pytest.raises(InvalidInput, match=r"7 features.*fit was given"):
        model.predict(ForeignArray(rows[:, :5].copy()))
    with pytest.raises(InvalidInput, match="should be >= n_clusters"):
        KMeans(N + 1, device="cuda").fit(foreign)
    rows[3, 4] = np.nan
    for X in (rows, ForeignArray(rows)):
        with pytest.raises(InvalidInput, match="NaN"):
            KMeans(2, device="cuda").fit(X)
