"""Nothing exact leaks: every stored value is public or noisy, and no row is found anywhere.

A value passes if it stays the same on a *different* data set with the same public parameters, or
changes between noise draws on the same data. Class counts and n are primes, to recognise them.
"""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.base import clone

from cloister import DPGaussianMixture, DPKMeans, _backend
from cloister.codes import CodeGrid
from cloister.privacy.ledger import Budget
from private_objects import (
    mentions,
    numbers_in,
    runs_in,
    unexplained,
    values_of,
    values_of_file,
    windows_of,
)

CLASSES = [3, 5, 8]
D = 6


@dataclass(frozen=True)
class Rows:
    X: np.ndarray
    y: np.ndarray
    secrets: tuple  # exact n and class counts: primes, pairwise sums included
    windows: set


def make_rows(seed, counts):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(CLASSES, counts))
    # Two strong directions: they decide the rank of a low-rank covariance, whatever the noise.
    X = rng.normal(size=(len(y), D)) * [1, 1, 0.2, 0.2, 0.2, 0.2] + 0.3 * np.eye(9, D)[y]
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    codes = np.empty(X.shape, dtype=np.int16)
    valid = np.empty(len(X), dtype=np.bool_)
    _backend.encode(X, CodeGrid(D, 1.0).row_clip, codes, valid)
    assert valid.all()
    return Rows(X, y, (*counts, len(y)), windows_of(X, X.astype(np.float64), codes))


@pytest.fixture(scope="module")
def data():
    return make_rows(1, (1009, 1511, 2003))  # n = 4523, a prime too


@pytest.fixture(scope="module")
def other_data():
    return make_rows(2, (1013, 1301, 1907))


START = np.random.default_rng(3).normal(size=(4, D)) / 3
KMEANS = {
    "gaussian": {},
    "gaussian, labels": {"compute_labels": True},
    "gaussian, hints": {"n_hint": 5000, "n_rounds": 2, "encoder_id": "encoder-1"},
    "histogram": {"init": "histogram"},
    "random": {"init": "random"},
    "public centres": {"init": START},
    "public candidates": {"init": np.concatenate([START, -START])},
    "cosine": {"metric": "cosine"},
}
ESTIMATORS = {
    f"DPKMeans {name}": DPKMeans(4, random_state=0, **{"n_rounds": 3, **options})
    for name, options in KMEANS.items()
} | {
    f"DPGaussianMixture {covariance_type} {components}": DPGaussianMixture(
        components, covariance_type, epsilon=4.0, classes=CLASSES, random_state=0
    )
    for covariance_type in ("tied", "full", "diag", "spherical", "low_rank")
    for components in (1, 2)
}
ESTIMATORS["DPGaussianMixture tilted"] = DPGaussianMixture(
    epsilon=4.0, classes=CLASSES, random_state=0, tilt=True
)
ESTIMATORS["DPGaussianMixture of roots"] = DPGaussianMixture(
    epsilon=4.0, classes=CLASSES, random_state=0, row_transform="root", tilt=True
)
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
# Noise changes most numbers in every draw, but a small whole number seldom: the rank of a low-rank
# covariance is one less in a tenth of all draws. What is exact is the same in all of them.
DRAWS = 6


def fitted(estimator, rows):
    return clone(estimator).fit(rows.X, rows.y)


def without_labels(model):
    return {name: value for name, value in vars(model).items() if name != "labels_"}


def never_explained(first, look, data, other_data):
    """Paths of values in `first`, a draw on `data`, that no further draws explain."""
    left = set(first)
    for _ in range(DRAWS):
        left &= set(unexplained(first, look(data), look(other_data)))
        if not left:
            break
    return sorted(left)


def shared_numbers(content, again, secrets):
    """Secrets in the bytes of both draws; one shows by chance in some of 10^5 files."""
    return set(numbers_in(content, secrets)) & set(numbers_in(again, secrets))


def saved(model, tmp_path):
    path = tmp_path / "model"
    model.save(path)
    return path


@every_estimator
def test_every_attribute_is_public_or_noisy(estimator, data, other_data):
    def look(rows):
        return values_of(without_labels(fitted(estimator, rows)))

    values = look(data)
    assert len(values) > 40
    assert never_explained(values, look, data, other_data) == []
    assert mentions(values, data.secrets) == []


@every_estimator
def test_every_byte_of_a_file_is_public_or_noisy(estimator, data, other_data, tmp_path):
    def look(rows):
        return values_of_file(saved(fitted(estimator, rows), tmp_path))

    values = look(data)
    content = (tmp_path / "model").read_bytes()
    assert len(values) > 40
    assert never_explained(values, look, data, other_data) == []
    assert mentions(values, data.secrets) == []
    again = saved(fitted(estimator, data), tmp_path).read_bytes()
    assert shared_numbers(content, again, data.secrets) == set()
    assert runs_in(content, data.windows) == []


@every_estimator
def test_pickles_and_copies_hold_no_more(estimator, data, tmp_path):
    model, again = fitted(estimator, data), fitted(estimator, data)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps(model, protocol)
        assert runs_in(content, data.windows) == []
        assert shared_numbers(content, pickle.dumps(again, protocol), data.secrets) == set()
    path = saved(model, tmp_path)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), type(model).load(path)):
        assert mentions(values_of(vars(twin)), data.secrets) == []
        assert not hasattr(twin, "labels_")
        twin_path = tmp_path / "twin"
        twin.save(twin_path)
        assert twin_path.read_bytes() == path.read_bytes()


@every_estimator
def test_nothing_is_kept_for_the_owner_unasked(estimator, data):
    model = fitted(estimator, data)
    assert not hasattr(model, "inertia_")
    assert hasattr(model, "labels_") == bool(getattr(estimator, "compute_labels", False))


def test_labels_are_the_owners_and_stay_in_the_process(data, tmp_path):
    model = DPKMeans(4, compute_labels=True, n_rounds=2).fit(data.X)
    np.testing.assert_array_equal(model.labels_, model.predict(data.X))
    assert model.get_params()["compute_labels"] is True
    for twin in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        assert not hasattr(twin, "labels_")
        np.testing.assert_array_equal(twin.predict(data.X), model.labels_)
    assert not hasattr(clone(model), "cluster_centers_")
    assert hasattr(model, "labels_")  # pickling took nothing away
    labels = windows_of(model.labels_, model.labels_.astype(np.int64))
    assert runs_in(pickle.dumps(model), labels) == []
    assert runs_in(saved(model, tmp_path).read_bytes(), labels) == []


def test_labels_of_an_earlier_fit_are_forgotten(data, other_data):
    model = DPKMeans(4, compute_labels=True, n_rounds=2).fit(data.X)
    model.set_params(compute_labels=False).fit(other_data.X)
    assert not hasattr(model, "labels_")


def test_a_failed_fit_leaves_no_centres_without_their_guarantee(data, monkeypatch, tmp_path):
    class FullDisk(RuntimeError):
        pass

    def fail(self):
        raise FullDisk

    monkeypatch.setattr("cloister.privacy.ledger.Reservation.finish", fail)
    for estimator in (DPKMeans(4, n_rounds=2), DPGaussianMixture(classes=CLASSES, tilt=True)):
        model = clone(estimator).fit(data.X, data.y)
        before = values_of(vars(model))
        model.set_params(budget=Budget(tmp_path / "ledger", "rows", 9.0, 1e-5))
        with pytest.raises(FullDisk):
            model.fit(data.X, data.y)
        model.set_params(budget=None)
        assert values_of(vars(model)) == before


# The auditors see what they are meant to see.


def plant(data, name):
    model = DPKMeans(4, n_rounds=2, random_state=0).fit(data.X)
    if name == "exact n":
        model.n_rows_ = len(data.X)
    elif name == "exact count in a noisy array":
        model.noisy_counts_[2] = data.secrets[0]
    elif name == "exact n in a text":
        model.note_ = f"fitted on {len(data.X)} rows"
    elif name == "exact n as a shape":
        model.labels_of_rows_ = np.zeros(len(data.X))
    elif name == "inertia":
        model.inertia_ = float(((data.X - data.X.mean(axis=0)) ** 2).sum())
    elif name == "hidden in a nested object":
        model.cache_ = [{"means": (data.X.mean(axis=0),)}]
    else:
        model.row_ = data.X[17].copy()
    return model


PLANTED = [
    "exact n",
    "exact count in a noisy array",
    "exact n in a text",
    "exact n as a shape",
    "inertia",
    "hidden in a nested object",
    "row",
]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_leak_is_found(name, data, other_data):
    def look(rows):
        return values_of(vars(plant(rows, name)))

    first = look(data)
    assert never_explained(first, look, data, other_data)
    if name.startswith("exact"):
        assert mentions(first, data.secrets)


def test_a_planted_row_or_count_is_found_in_bytes(data):
    for dtype in (np.float32, np.float64):
        content = pickle.dumps([b"x" * 7, data.X[17].astype(dtype)])
        assert runs_in(content, data.windows)
    for count in (np.int32(1009), np.float64(1511), np.array([2003], dtype=">i8")):
        assert numbers_in(pickle.dumps(count), data.secrets)


def test_an_object_that_cannot_be_looked_into_is_refused():
    with pytest.raises(AssertionError, match="is a <class 'set'>"):
        values_of({"a": {1, 2}})
    rows = np.zeros((10, 3))
    with pytest.raises(AssertionError, match="part of more"):
        values_of([rows[:2]])
