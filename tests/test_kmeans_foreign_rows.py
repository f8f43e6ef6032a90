"""KMeans of another library's rows, on any of several devices."""

import numpy as np
import pytest
from sklearn.base import clone

from cloister import KMeans
from cloister._backend import DeviceArray
from foreign_arrays import ForeignArray

N, D = 500, 7


@pytest.fixture(autouse=True)
def two_devices(emulated_cuda, monkeypatch):
    monkeypatch.setenv("CLOISTER_EMULATED_DEVICES", "2")


@pytest.fixture
def rows(rng):
    return (rng.normal(size=(N, D)) + 3 * rng.integers(0, 4, size=(N, 1))).astype(np.float32)


OPTIONS = {
    "default": {},
    "k-means||": {"init": "k-means||", "n_clusters": 20},
    "random": {"init": "random", "n_init": 2},
    "cosine": {"metric": "cosine"},
    "empty cells": {"init": np.concatenate([np.zeros((2, D)), np.full((3, D), 1e3)])},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_models_of_weighted_rows_are_the_same_bits(case, rows, rng):
    weights = rng.choice([0.0, 0.5, 3.0], size=N)
    options = {"n_clusters": 5, "random_state": 2, **OPTIONS[case]}
    host = KMeans(**options).fit(rows, sample_weight=weights)
    model = KMeans(device="auto", **options).fit(ForeignArray(rows), sample_weight=weights)
    np.testing.assert_array_equal(model.cluster_centers_, host.cluster_centers_)
    np.testing.assert_array_equal(model.labels_.numpy(), host.labels_)
    assert (model.inertia_, model.n_iter_) == (host.inertia_, host.n_iter_)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_results_come_back_where_the_rows_were(metric, rows, monkeypatch):
    monkeypatch.setattr("cloister.device_centred_rows._DISTANCES", 5 * 64)  # in several parts
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
