"""What a probe takes from its mixture and keeps in files, and the mixtures that it refuses."""

import sys

import numpy as np
import pytest

from cloister import DPGaussianMixture, PublicWhitening
from cloister.errors import InvalidInput, InvalidType, MissingDependency, ModelFileError
from cloister.model_file import read_model, write_model
from cloister.neural import Probe
from overlapping_mixture import NAMES, SMALL, fitted, same

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def mixture():
    return fitted()


def test_the_transform_is_the_mixtures(tmp_path):
    mixture = fitted(epsilon=9.0, row_transform="root", clip_norm=1.0)
    probe = Probe(**SMALL).fit_mixture(mixture)
    assert (probe.transform_, probe.best_epoch_) == ("root", 0)
    rows, _, posterior = mixture.sample(2000, 4, return_proba=True)
    np.testing.assert_allclose(probe.predict_proba(rows), posterior, atol=2e-5)
    np.testing.assert_allclose(probe.predict_proba(7 * rows), posterior, atol=2e-5)
    far = np.full((1, 10), 1e300)
    np.testing.assert_allclose(probe.predict_proba(far), probe.predict_proba(far / far), atol=1e-5)
    probe.save(tmp_path / "p")
    loaded = Probe.load(tmp_path / "p")
    np.testing.assert_array_equal(loaded.predict_proba(rows), probe.predict_proba(rows))
    _, arrays, header = read_model(tmp_path / "p")
    for damaged in ("cube", 3):
        write_model(tmp_path / "q", "probe", arrays, header | {"transform": damaged})
        with pytest.raises(ModelFileError, match="transform"):
            Probe.load(tmp_path / "q")


def test_a_probe_keeps_the_whitening_of_its_mixture(tmp_path):
    whitening = PublicWhitening(np.linspace(-0.1, 0.1, 10), np.geomspace(0.5, 2, 10))
    mixture = fitted(epsilon=9.0, row_transform=whitening, clip_norm=1.0)
    probe = Probe(**SMALL).fit_mixture(mixture)
    rows, _, posterior = mixture.sample(2000, 4, return_proba=True)
    np.testing.assert_allclose(probe.predict_proba(rows), posterior, atol=1e-3)
    probe.save(tmp_path / "p")
    loaded = Probe.load(tmp_path / "p")
    np.testing.assert_array_equal(loaded.predict_proba(rows), probe.predict_proba(rows))
    assert loaded.transform_.name == whitening.name
    _, arrays, header = read_model(tmp_path / "p")
    cut = {**header["transform"], "mean": [0.0], "scale": [1.0]}
    write_model(tmp_path / "q", "probe", arrays, header | {"transform": cut})
    with pytest.raises(ModelFileError, match="whitening of 1 features"):
        Probe.load(tmp_path / "q")


def test_a_failed_fit_leaves_the_probe_of_before():
    """Weights of real rows must never stand beside the guarantee of a mixture."""
    rng = np.random.default_rng(0)
    probe = Probe(**SMALL | {"hidden": 3}).fit(
        rng.normal(size=(200, 10)), rng.integers(3, size=200)
    )
    before = dict(vars(probe))
    probe.set_params(learning_rate=1e30)
    with pytest.raises(InvalidInput):
        probe.fit_mixture(fitted(epsilon=4.0))
    after = dict(vars(probe), learning_rate=before["learning_rate"])
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    assert probe.privacy_ is None


def test_the_guarantee_travels(tmp_path):
    mixture = fitted(epsilon=3.0, names=NAMES, encoder_id="resnet")
    probe = Probe(**SMALL).fit_mixture(mixture)
    probe.save(tmp_path / "p")
    loaded = Probe.load(tmp_path / "p")
    assert loaded.privacy_ == probe.privacy_ == mixture.privacy_
    assert loaded.privacy_.epsilon == pytest.approx(3.0)
    assert loaded.encoder_id_ == probe.encoder_id_ == "resnet"
    assert (loaded.encoder_id, loaded.n_features_in_) == (None, 10)
    assert set(loaded.predict(mixture.sample(100, 1)[0])) <= set(NAMES)
    _, arrays, header = read_model(tmp_path / "p")
    header["privacy"].pop("mu")
    write_model(tmp_path / "q", "probe", arrays, header)
    with pytest.raises(ModelFileError, match="mu"):
        Probe.load(tmp_path / "q")


def test_fit_makes_no_statement_and_forgets_an_earlier_one(tmp_path, mixture):
    rows, y = mixture.sample(300, 1)
    probe = Probe(**SMALL).fit_mixture(mixture).fit(rows, y)
    assert (probe.privacy_, probe.transform_, probe.encoder_id_) == (None, None, None)
    assert same(probe, Probe(**SMALL).fit(rows, y))
    probe.save(tmp_path / "p")
    assert Probe.load(tmp_path / "p").privacy_ is None


def test_a_probe_of_an_unsafe_mixture_is_saved_on_demand_only(tmp_path, mixture):
    probe = Probe(**SMALL).fit_mixture(mixture)
    with pytest.raises(InvalidInput, match="allow_unsafe"):
        probe.save(tmp_path / "p")
    probe.save(tmp_path / "p", allow_unsafe=True)
    assert Probe.load(tmp_path / "p").privacy_.epsilon == float("inf")


def test_encoders_must_agree():
    named = fitted(encoder_id="resnet")
    assert Probe(**SMALL, encoder_id="resnet").fit_mixture(named).encoder_id_ == "resnet"
    assert Probe(**SMALL, encoder_id="vit").fit_mixture(fitted()).encoder_id_ == "vit"
    with pytest.raises(InvalidInput, match=r"encoder_id='resnet'.*encoder_id='vit'"):
        Probe(**SMALL, encoder_id="vit").fit_mixture(named)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (DPGaussianMixture(), InvalidInput, "mixture is not fitted"),
        (None, InvalidType, "mixture must be a fitted DPGaussianMixture, got NoneType"),
        (np.zeros((3, 4)), InvalidType, "got ndarray"),
        (DPGaussianMixture, InvalidType, "got ABCMeta"),
    ],
)
def test_what_is_no_fitted_mixture_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        Probe(**SMALL).fit_mixture(wrong)


@pytest.mark.parametrize(
    ("n", "error"), [(0, InvalidInput), (-3, InvalidInput), (2.5, InvalidType), (True, InvalidType)]
)
def test_bad_numbers_of_samples_are_refused(mixture, n, error):
    with pytest.raises(error, match="n_samples"):
        Probe(**SMALL).fit_mixture(mixture, n)


def test_bad_parameters_are_refused_and_divergence_is_told():
    bent = fitted(n_components=2)
    with pytest.raises(InvalidInput, match="hidden"):
        Probe(hidden=0).fit_mixture(bent)
    with pytest.raises(InvalidInput, match="learning_rate"):
        Probe(**SMALL, learning_rate=1e30).fit_mixture(bent, 100)


def test_training_needs_torch(mixture, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"cloister\[torch\]"):
        Probe(**SMALL).fit_mixture(mixture)
