"""The two-layer probe: learning, seeds, early stopping, and what it refuses."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from cloister.errors import CloisterError, InvalidInput, InvalidType, MissingDependency
from cloister.neural import Probe, training
from probe_rows import SMALL, blobs

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")


@parametrize_with_checks([Probe(hidden=16, max_epochs=5, learning_rate=0.03, dropout=0.0)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_learns_exclusive_or_where_a_linear_model_cannot():
    X = np.random.default_rng(0).uniform(-1, 1, (2000, 2))
    y = (X[:, 0] > 0) ^ (X[:, 1] > 0)
    probe = Probe(hidden=64, learning_rate=0.02, dropout=0.0).fit(X[:1500], y[:1500])
    assert probe.score(X[1500:], y[1500:]) > 0.95
    assert LogisticRegression().fit(X[:1500], y[:1500]).score(X[1500:], y[1500:]) < 0.65


def test_defaults_learn_from_a_few_hundred_rows():
    X, y = blobs(n=600)
    assert Probe().fit(X[:400], y[:400]).score(X[400:], y[400:]) > 0.95


def test_same_seed_same_network_and_another_seed_another():
    X, y = blobs()
    first, again, other = (Probe(**SMALL, random_state=s).fit(X, y) for s in (3, 3, 4))
    for a, b, c in zip(first.coefs_, again.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    fresh = [Probe(**SMALL, random_state=None).fit(X, y).coefs_[0] for _ in range(2)]
    assert not np.array_equal(*fresh)


def test_small_networks_train_on_one_thread(monkeypatch):
    seen = []
    step = training._Run._step
    monkeypatch.setattr(
        training._Run, "_step", lambda *a: (seen.append(torch.get_num_threads()), step(*a))
    )
    torch.set_num_threads(2)
    Probe(**SMALL).fit(*blobs())
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
    monkeypatch.setattr(training, "SMALL_STEP", 1)
    Probe(**SMALL).fit(*blobs())
    assert set(seen) == {1, 2}


def test_global_generators_and_threads_are_untouched():
    X, y = blobs()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    Probe(**SMALL).fit(X, y).predict(X)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == torch.get_num_threads()


def test_global_state_of_torch_does_not_change_the_network():
    X, y = blobs()
    expected = Probe(**SMALL).fit(X, y)
    torch.manual_seed(99)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            found = Probe(**SMALL).fit(X, y)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(expected.coefs_[0], found.coefs_[0])


def test_early_stopping_keeps_the_best_epoch_and_stops():
    X, y = blobs(n=400, distance=0.3)  # overlapping classes: the held-out loss soon rises
    settings = {"hidden": 64, "learning_rate": 0.02, "dropout": 0.0, "weight_decay": 0.0}
    probe = Probe(**settings, max_epochs=30, patience=2, validation_fraction=0.3).fit(X, y)
    losses = probe.held_out_losses_
    assert probe.n_epochs_ == len(losses) < 30
    assert probe.best_epoch_ == 1 + np.argmin(losses) == probe.n_epochs_ - 2
    # The weights kept give the smallest loss on the rows that were held out, found anew here.
    from cloister.neural.inputs import as_generator, split  # noqa: PLC0415

    _, held_out = split(y, 0.3, as_generator(0))
    p = probe.predict_proba(X[held_out])[np.arange(len(held_out)), y[held_out]]
    assert -np.log(p).mean() == pytest.approx(min(losses), rel=1e-5)


def test_held_out_rows_do_not_train_and_small_classes_are_kept():
    from cloister.neural.inputs import as_generator, split  # noqa: PLC0415

    targets = np.array([0] * 50 + [1] * 9 + [2])
    training, held_out = split(targets, 0.1, as_generator(0))
    assert sorted([*training, *held_out]) == list(range(60))
    assert targets[held_out].tolist() == [0] * 5
    probe = Probe(**SMALL, validation_fraction=0.0).fit(*blobs(n=30))
    assert probe.held_out_losses_ == []
    assert probe.best_epoch_ == probe.n_epochs_ == 4


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16", "uint8"])
def test_dtypes_and_tensors_agree_with_float32(dtype):
    X, y = blobs()
    X = np.clip(np.round(8 * X) + 60, 0, 127).astype(np.float32)  # integers all dtypes hold
    expected = Probe(**SMALL).fit(X, y).predict_proba(X)
    tensor = torch.from_numpy(X).to(getattr(torch, dtype))
    found = Probe(**SMALL).fit(tensor, torch.from_numpy(y)).predict_proba(tensor)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert Probe(**SMALL).fit(tensor, y).score(tensor, torch.from_numpy(y)) > 0.5
    if dtype != "bfloat16":
        as_array = Probe(**SMALL).fit(X.astype(dtype), y).predict_proba(X.astype(dtype))
        np.testing.assert_array_equal(as_array, found)


def test_labels_of_any_kind_and_a_single_class():
    X, y = blobs()
    names = np.array(["zebra", "ant", "mole"])[y]
    probe = Probe(**SMALL).fit(X, names)
    assert probe.classes_.tolist() == ["ant", "mole", "zebra"]
    assert set(probe.predict(X)) <= set(names)
    only = Probe(**SMALL).fit(X, np.full(len(X), 7))
    assert set(only.predict(X)) == {7}


def test_constant_and_far_rows_have_finite_answers():
    constant = np.full((40, 3), 0.1, dtype=np.float32)
    probe = Probe(**SMALL).fit(constant, np.arange(40) % 2)
    assert probe.scale_ == 1.0
    assert np.isfinite(probe.predict_proba(np.full((1, 3), 3e38, dtype=np.float32))).all()


def test_a_large_offset_is_no_obstacle():
    X, y = blobs()
    shifted = X.astype(np.float64) + 1e7
    assert Probe(**SMALL, learning_rate=0.02).fit(shifted, y).score(shifted, y) > 0.9


# Import and missing torch


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_of_the_package_leaves_torch_alone():
    assert run("import cloister.neural, sys; print('torch' in sys.modules)") == "False\n"


def test_predicting_needs_no_torch_and_training_says_how_to_get_it(tmp_path, monkeypatch):
    X, y = blobs()
    probe = Probe(**SMALL).fit(X, y)
    probe.save(tmp_path / "probe.safetensors")
    expected = probe.predict_proba(X)
    monkeypatch.setitem(sys.modules, "torch", None)
    np.testing.assert_array_equal(
        Probe.load(tmp_path / "probe.safetensors").predict_proba(X), expected
    )
    with pytest.raises(MissingDependency, match=r'pip install "cloister\[torch\]"') as caught:
        Probe(**SMALL).fit(X, y)
    assert isinstance(caught.value, CloisterError)
    assert isinstance(caught.value, ImportError)


# Bad input


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("hidden", 0, InvalidInput),
        ("hidden", 8.0, InvalidType),
        ("hidden", True, InvalidType),
        ("max_epochs", 0, InvalidInput),
        ("max_epochs", "3", InvalidType),
        ("batch_size", -1, InvalidInput),
        ("batch_size", None, InvalidType),
        ("learning_rate", 0, InvalidInput),
        ("learning_rate", np.nan, InvalidInput),
        ("learning_rate", np.inf, InvalidInput),
        ("learning_rate", "fast", InvalidType),
        ("learning_rate", 1e30, InvalidInput),  # diverges
        ("weight_decay", -0.1, InvalidInput),
        ("weight_decay", 1j, InvalidType),
        ("dropout", 1.0, InvalidInput),
        ("dropout", -0.5, InvalidInput),
        ("validation_fraction", 1.0, InvalidInput),
        ("validation_fraction", [0.1], InvalidType),
        ("patience", 0, InvalidInput),
        ("random_state", -1, InvalidInput),
        ("random_state", "seed", InvalidType),
        ("random_state", True, InvalidType),
        ("encoder_id", 3, InvalidType),
    ],
)
def test_bad_parameters_are_refused_by_name(name, value, error):
    with pytest.raises(error, match=name):
        Probe(**(SMALL | {name: value})).fit(*blobs())


X_GOOD, Y_GOOD = blobs(n=20)
X_NAN = X_GOOD.copy()
X_NAN[3, 1] = np.nan


@pytest.mark.parametrize(
    ("X", "y", "error"),
    [
        (X_NAN, Y_GOOD, InvalidInput),
        (np.where(np.isnan(X_NAN), np.inf, X_GOOD), Y_GOOD, InvalidInput),
        (X_GOOD[:0], Y_GOOD[:0], InvalidInput),
        (X_GOOD[:, :0], Y_GOOD, InvalidInput),
        (X_GOOD[0], Y_GOOD, InvalidInput),
        (X_GOOD[None], Y_GOOD, InvalidInput),
        (X_GOOD.astype(np.complex64), Y_GOOD, InvalidInput),
        (X_GOOD.astype(str) + "x", Y_GOOD, InvalidInput),
        (X_GOOD * np.float64(1e300), Y_GOOD, InvalidInput),
        (None, Y_GOOD, InvalidInput),
        ({"rows": 1}, Y_GOOD, InvalidType),
        (X_GOOD, None, InvalidInput),
        (X_GOOD, Y_GOOD[:-1], InvalidInput),
        (X_GOOD, Y_GOOD + 0.5, InvalidInput),
        (X_GOOD, np.where(Y_GOOD == 0, np.nan, 1.0), InvalidInput),
        (X_GOOD, np.stack([Y_GOOD, Y_GOOD], axis=1), InvalidInput),
    ],
)
def test_bad_arrays_are_refused_by_name(X, y, error):
    with pytest.raises(error, match=r"X|y"):
        Probe(**SMALL).fit(X, y)


def test_bad_rows_are_refused_after_fit():
    probe = Probe(**SMALL).fit(X_GOOD, Y_GOOD)
    for X in (X_NAN, X_GOOD[:, :4], X_GOOD[0], None):
        with pytest.raises(InvalidInput, match="X"):
            probe.predict(X)
    with pytest.raises(InvalidInput, match=r"X: .*4 features.*6 features"):
        probe.predict_proba(X_GOOD[:, :4])
    with pytest.raises(InvalidInput, match="y: "):
        probe.score(X_GOOD, Y_GOOD[:-1])
