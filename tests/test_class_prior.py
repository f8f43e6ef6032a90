"""`class_prior=`: a public say for each class, in predictions, samples and files."""

import numpy as np
import pytest

from cloister import DPGaussianMixture
from cloister.errors import InvalidInput, InvalidType
from command_line import run_json

D = 8
SHARES = [0.7, 0.2, 0.1]


@pytest.fixture(scope="module")
def data():
    """Three classes that overlap, the last of them rare."""
    rng = np.random.default_rng(0)
    y = rng.choice(3, size=6000, p=[0.6, 0.38, 0.02])
    X = 0.5 * np.eye(D)[y] + 0.25 * rng.normal(size=(len(y), D))
    return X / np.linalg.norm(X, axis=1).max(), y


def fitted(data, prior, **parameters):
    fixed = {"classes": range(3), "epsilon": 20.0, "unsafe_noise_seed": 1, "random_state": 0}
    return DPGaussianMixture(class_prior=prior, **fixed | parameters).fit(*data)


@pytest.mark.parametrize("parameters", [{}, {"tilt": False}, {"n_components": 2}], ids=str)
@pytest.mark.parametrize("prior", ["uniform", SHARES], ids=str)
def test_posteriors_are_those_of_other_shares(data, parameters, prior):
    plain, other = fitted(data, None, **parameters), fitted(data, prior, **parameters)
    shares = np.full(3, 1 / 3) if prior == "uniform" else np.array(prior)
    of_classes = other.weights_.reshape(3, -1).sum(axis=1)
    np.testing.assert_allclose(of_classes, shares)
    before = plain.weights_.reshape(3, -1)
    np.testing.assert_allclose(
        other.weights_.reshape(3, -1) / shares[:, None],
        before / before.sum(axis=1, keepdims=True),
    )
    expected = plain.predict_proba(data[0]) * shares / before.sum(axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(other.predict_proba(data[0]), expected, atol=1e-9)
    assert (other.means_ == plain.means_).all()
    drawn = np.bincount(other.sample(30_000, 1)[1], minlength=3) / 30_000
    np.testing.assert_allclose(drawn, shares, atol=0.01)


def test_uniform_shares_find_more_of_a_rare_class(data):
    rare = data[1] == 2
    found = [
        (fitted(data, prior).predict(data[0][rare]) == 2).mean() for prior in (None, "uniform")
    ]
    assert found[1] > found[0] + 0.1


def test_the_density_of_a_tilted_fit_keeps_the_shares_of_the_rows(data):
    model = fitted(data, "uniform")
    np.testing.assert_allclose(model.untilted_.weights, [0.6, 0.38, 0.02], atol=0.02)
    assert (model.score_samples(data[0]) == fitted(data, None).score_samples(data[0])).all()


def test_a_file_keeps_it(data, tmp_path):
    model = fitted(data, np.array(SHARES), unsafe_noise_seed=None)
    model.save(tmp_path / "model")
    loaded = DPGaussianMixture.load(tmp_path / "model")
    assert loaded.class_prior == SHARES
    assert (loaded.predict_proba(data[0]) == model.predict_proba(data[0])).all()


def test_the_command_line_takes_uniform(data, tmp_path):
    np.savez(tmp_path / "data.npz", x=data[0], y=data[1])
    line = "fit {data.npz:x} --labels {data.npz:y} --classes 0,1,2 --class-prior uniform --out {m}"
    run_json(line, tmp_path)
    np.testing.assert_allclose(DPGaussianMixture.load(tmp_path / "m").weights_, 1 / 3)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("equal", r"^class_prior='equal' is not one of"),
        ([0.5, 0.5], r"^class_prior has shape \(2,\), but there are 3 classes"),
        ([0.5, 0.5, 0.0], r"^class_prior has a smallest entry of 0 and a sum of 1"),
        ([0.5, 0.5, 0.5], r"^class_prior has a smallest entry of 0\.5 and a sum of 1\.5"),
        ([0.5, 0.5, np.nan], r"^class_prior has a smallest entry of nan"),
        (["a", "b", "c"], r"^class_prior must be None"),
        (0.3, r"^class_prior has shape \(\)"),
    ],
)
def test_what_it_may_be(data, prior, message):
    with pytest.raises((InvalidInput, InvalidType), match=message):
        fitted(data, prior)
