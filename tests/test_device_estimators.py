"""Private estimators on a device: the same bits, results where the rows were, clear refusals."""

import sys

import numpy as np
import pytest

from cloister import Budget, DPGaussianMixture, DPKMeans
from cloister._backend import DeviceArray, devices
from cloister.errors import DeviceError, DeviceWarning, InvalidInput, InvalidType
from foreign_arrays import ForeignArray, InterfaceArray, Namespace

N, D = 400, 9
SEEDED = {"unsafe_noise_seed": 3, "random_state": 5}


@pytest.fixture(autouse=True)
def two_devices(emulated_cuda, monkeypatch):
    monkeypatch.setenv("CLOISTER_EMULATED_DEVICES", "2")


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloister._cuda", None)
    monkeypatch.setattr(devices, "_warned", False)


@pytest.fixture
def rows(rng):
    centres = rng.normal(size=(4, D))
    rows = centres[rng.integers(0, 4, N)] + 0.2 * rng.normal(size=(N, D))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def y(rows):
    return (rows[:, 0] > 0).astype(np.int64)


KINDS = {
    "k-means": lambda **options: DPKMeans(4, 5.0, compute_labels=True, **SEEDED, **options),
    "cosine k-means": lambda **options: DPKMeans(3, 5.0, metric="cosine", **SEEDED, **options),
    "histogram": lambda **options: DPKMeans(4, 5.0, init="histogram", **SEEDED, **options),
    "tilted": lambda **options: DPGaussianMixture(epsilon=5.0, classes=[0, 1], **SEEDED, **options),
    "transformed": lambda **options: DPGaussianMixture(
        covariance_type="full", row_transform="root", classes=[0, 1], **SEEDED, **options
    ),
    "components": lambda **options: DPGaussianMixture(
        n_components=2, epsilon=9.0, classes=[0, 1], **SEEDED, **options
    ),
}


def numbers_of(model):
    """Return all that a file of the model would hold."""
    arrays, header = model.contents("model")
    return {name: array.tobytes() for name, array in arrays.items()}, header


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_models_are_the_same_bits(kind, device, rows, y):
    host = KINDS[kind]().fit(rows, y)
    model = KINDS[kind](device=device).fit(rows, y)
    assert numbers_of(model) == numbers_of(host)
    np.testing.assert_array_equal(getattr(model, "labels_", 0), getattr(host, "labels_", 0))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_on_a_device(kind, rows, y):
    host = KINDS[kind]().fit(rows, y)
    model = KINDS[kind](device="cuda:0", cache=False).fit(ForeignArray(rows), ForeignArray(y))
    assert numbers_of(model) == numbers_of(host)


def test_labels_come_back_where_the_rows_were(rows):
    host = KINDS["k-means"]().fit(rows)
    foreign = ForeignArray(rows, device=1)
    model = KINDS["k-means"](device="cuda").fit(foreign)
    for found, expected in (
        (model.labels_, host.labels_),
        (model.predict(foreign), host.predict(rows)),
        (model.fit_predict(foreign), host.labels_),
    ):
        assert type(found) is ForeignArray
        assert found.__dlpack_device__() == (2, 1)
        assert found.numpy().dtype == np.int32
        np.testing.assert_array_equal(found.numpy(), expected)
    assert type(model.predict(DeviceArray.copy_of(rows, 0))) is DeviceArray
    assert type(model.predict(InterfaceArray(rows))) is DeviceArray
    assert type(model.predict(rows)) is np.ndarray
    assert type(model.cluster_centers_) is np.ndarray
    assert model.score(foreign) == host.score(rows)


def test_scores_come_back_where_the_rows_were(rows, y, monkeypatch):
    host = KINDS["tilted"]().fit(rows, y)
    model = KINDS["tilted"](device="cuda").fit(rows, y)
    monkeypatch.delattr(ForeignArray, "__array_namespace__")
    monkeypatch.setattr(sys.modules["foreign_arrays"], "from_dlpack", Namespace.from_dlpack, False)
    for method in ("score_samples", "predict_proba", "predict"):
        found = getattr(model, method)(ForeignArray(rows))
        assert type(found) is ForeignArray
        np.testing.assert_array_equal(found.numpy(), getattr(host, method)(rows))
    assert model.score(ForeignArray(rows)) == host.score(rows)


def test_classes_that_are_strings_stay_on_the_host(rows, y):
    names = np.array(["no", "yes"])[y]
    model = DPGaussianMixture(classes=["no", "yes"], device="cuda", **SEEDED).fit(rows, names)
    found = model.predict(ForeignArray(rows))
    assert found.dtype.kind == "U"
    assert (found == model.predict(rows)).all()


@pytest.mark.parametrize("kind", ["tilted", "transformed", "components"])
def test_samples_on_a_device(kind, rows, y):
    model = KINDS[kind]().fit(rows, y)
    expected = model.sample(50, random_state=1, return_proba=True)
    on_device, labels, proba = model.sample(50, random_state=1, return_proba=True, device="cuda:1")
    assert (type(on_device), on_device.device) == (DeviceArray, 1)
    np.testing.assert_array_equal(on_device.numpy(), expected[0])
    np.testing.assert_array_equal(labels, expected[1])
    np.testing.assert_array_equal(proba, expected[2])


def test_a_fit_is_resumed_on_another_device(rows, tmp_path):
    """Releases in the ledger answer the same questions, wherever the rows are."""
    budget = Budget(tmp_path / "ledger", "rows", epsilon=3.0, delta=1e-5)
    options = {"epsilon": 2.0, "budget": budget, "fit_name": "one"}
    host = DPKMeans(3, **options).fit(rows)
    model = DPKMeans(3, device="cuda", **options).fit(rows)
    assert (model.cluster_centers_ == host.cluster_centers_).all()


def test_a_loaded_model_is_on_the_processor(rows, y, tmp_path):
    model = KINDS["tilted"](device="cuda").fit(rows, y)
    model.save(tmp_path / "model.safetensors", allow_unsafe=True)
    loaded = DPGaussianMixture.load(tmp_path / "model.safetensors")
    assert loaded.device == "cpu"
    np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))
    foreign = ForeignArray(rows)
    with pytest.raises(InvalidType, match=r'X lies in .* CUDA .*device="cuda"'):
        loaded.predict(foreign)
    found = loaded.set_params(device="cuda").predict(foreign)
    np.testing.assert_array_equal(found.numpy(), model.predict(rows))


@pytest.mark.parametrize("estimator", [DPKMeans, DPGaussianMixture])
def test_refusals_come_before_anything_is_spent(estimator, rows, tmp_path):
    budget = Budget(tmp_path / "ledger", "rows", epsilon=2.0, delta=1e-5)
    foreign = ForeignArray(rows)
    for X, device, error, message in (
        (foreign, "cpu", InvalidType, 'give an estimator one CUDA array .* device="cuda"'),
        ([foreign, foreign], "cuda", InvalidType, r"X lies in .* one CUDA array"),
        (rows, "cuda:2", DeviceError, "GPU number 2, but there are 2"),
        (rows, "gpu", InvalidInput, "'gpu' is no device"),
        (rows, 0, InvalidType, 'device must be "auto"'),
        (ForeignArray(rows.astype(np.int64)), "cuda", InvalidType, "dtype int64"),
        (ForeignArray(rows[0]), "cuda", InvalidInput, "expected a 2D array"),
    ):
        with pytest.raises(error, match=message):
            estimator(device=device, budget=budget).fit(X)
    assert budget.fits() == []


def test_without_a_device(no_device, rows, y):
    with pytest.raises(DeviceError, match="built without CUDA kernels"):
        KINDS["tilted"](device="cuda").fit(rows, y)
    model = KINDS["tilted"](device="auto")
    assert model.plan(1000, D).shares  # public numbers need no device
    with pytest.warns(DeviceWarning, match="takes the processor"):
        model.fit(rows, y)
    assert numbers_of(model) == numbers_of(KINDS["tilted"]().fit(rows, y))
    with pytest.raises(DeviceError, match="built without CUDA kernels"):
        model.sample(3, device="cuda")
