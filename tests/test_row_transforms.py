"""Powers and public whitening: what they are, that they are row-pure, and that files keep them."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

from cloister import DPGaussianMixture, PublicWhitening
from cloister.engines import LocalEngine
from cloister.errors import InvalidInput, InvalidType, ModelFileError
from cloister.model_file import read_model, write_model
from cloister.sources import as_source, encode_labels
from cloister.transforms import (
    apply_transform,
    invert_transform,
    transformed_grid,
    transformed_source,
)

D = 37
WHITENING = PublicWhitening(np.linspace(-1, 2, D), np.geomspace(0.1, 10, D))
TRANSFORMS = ["power:0.25", "power:0.3", "power:1", WHITENING]


def codes_of(transform, rows, chunk_rows=None):
    engine = LocalEngine(
        transformed_source(transform, as_source(rows)),
        transformed_grid(transform, rows.shape[1], 1.0),
        encode_labels(None, len(rows)),
        chunk_rows=chunk_rows,
    )
    ((codes, _),) = engine._blocks()
    return codes


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def rows(rng):
    return (rng.normal(size=(60, D)) * rng.choice([1e-30, 1.0, 1e20], size=(60, 1))).astype("f4")


@pytest.mark.parametrize("exponent", [1 / 64, 0.25, 0.3, 0.5, 0.77, 1.0])
def test_power_is_that_of_numpy_on_the_sphere(rows, exponent):
    wide = rows.astype(np.float64)
    expected = unit(np.sign(wide) * np.abs(wide) ** exponent)
    mapped = apply_transform(f"power:{exponent}", rows)
    assert mapped.dtype == np.float32
    # The exponent is rounded to 24 binary digits: at 1e-30 a relative 69 * 2^-25.
    np.testing.assert_allclose(mapped, expected, rtol=5e-6)
    back = invert_transform(f"power:{exponent}", mapped)
    np.testing.assert_allclose(back, unit(wide), rtol=1e-4, atol=1e-7)
    zero = np.zeros((1, D), np.float32)
    assert not apply_transform(f"power:{exponent}", zero).any()


def test_the_power_of_a_half_is_the_root(rows):
    assert (apply_transform("power:0.5", rows) == apply_transform("root", rows)).all()
    assert (codes_of("power:0.5", rows) == codes_of("root", rows)).all()


def test_whitening_is_that_of_numpy_and_can_be_undone(rng):
    X = rng.normal(size=(20, D))
    expected = unit((X - np.linspace(-1, 2, D)) / np.geomspace(0.1, 10, D))
    mapped = apply_transform(WHITENING, X)
    np.testing.assert_allclose(mapped, expected, rtol=1e-5, atol=1e-6)
    back = invert_transform(WHITENING, mapped)
    np.testing.assert_allclose(apply_transform(WHITENING, back), mapped, rtol=1e-4, atol=1e-6)
    lengths = np.linalg.norm((back - WHITENING.mean) / WHITENING.scale, axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(D), rtol=1e-4)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_a_code_does_not_depend_on_batch_position_or_dtype(target, rows, transform):
    whole = codes_of(transform, rows)
    for i in (0, 17, 59):
        np.testing.assert_array_equal(codes_of(transform, rows[i : i + 1])[0], whole[i])
        one = apply_transform(transform, rows[i : i + 1])[0]
        assert (apply_transform(transform, rows)[i] == one).all()
    np.testing.assert_array_equal(codes_of(transform, rows[::-1])[::-1], whole)
    np.testing.assert_array_equal(codes_of(transform, rows, chunk_rows=7), whole)
    np.testing.assert_array_equal(codes_of(transform, np.asfortranarray(rows)), whole)
    np.testing.assert_array_equal(codes_of(transform, rows.astype(np.float64)), whole)
    grid = transformed_grid(transform, D, 1.0)
    np.testing.assert_allclose(
        grid.decode(whole), apply_transform(transform, rows), atol=grid.row_clip.step
    )


def test_statistics_of_public_rows(rng):
    X = 1e4 + rng.normal(size=(3000, 4)) * [1, 2, 3, 0]
    whitening = PublicWhitening.of(X)
    np.testing.assert_allclose(whitening.mean, X.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(whitening.scale[:3], X.std(axis=0)[:3], rtol=1e-6)
    least = np.sqrt(0.1 * X.var(axis=0).mean())
    np.testing.assert_allclose(whitening.scale[3], least, rtol=1e-5)
    in_parts = PublicWhitening.of(iter([X[:100], X[100:]]))
    np.testing.assert_allclose(in_parts.scale, whitening.scale, rtol=1e-6)
    assert PublicWhitening.of(X).name == whitening.name != PublicWhitening.of(X[:2000]).name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PublicWhitening([0, 1], [1, 0]), r"^scale has an entry of 0"),
        (lambda: PublicWhitening([0, 1], [1, 2, 3]), r"^mean has 2 features, but scale has 3"),
        (lambda: PublicWhitening([0, np.nan], [1, 2]), r"^mean .*1 entries that are not finite"),
        (lambda: PublicWhitening([[0, 1]], [1, 2]), r"^mean has shape \(1, 2\)"),
        (lambda: PublicWhitening([0, "x"], [1, 2]), r"^mean must be an array of numbers"),
        (lambda: PublicWhitening.of(np.ones((1, 3))), r"^public_rows has 1 rows"),
        (lambda: PublicWhitening.of(np.ones((9, 3))), r"^public_rows has 9 rows that do not"),
        (lambda: PublicWhitening.of([[1, np.inf], [1, 2]]), r"^public_rows"),
    ],
)
def test_bad_statistics_are_refused(make, message):
    with pytest.raises((InvalidInput, InvalidType), match=message):
        make()


@pytest.mark.parametrize("name", ["power:", "power:x", "power:0", "power:nan", "power:2", "power"])
def test_bad_exponents_are_refused(name):
    with pytest.raises(InvalidInput, match=r"^row_transform='power.*(0\.25|choose one of these)"):
        DPGaussianMixture(row_transform=name).fit(np.ones((9, 3)))


def test_a_whitening_of_other_features_is_refused_before_anything_is_spent():
    with pytest.raises(InvalidInput, match=r"^row_transform is a whitening of 37 .* but X has 3"):
        DPGaussianMixture(row_transform=WHITENING).fit(np.ones((9, 3)))


def fitted(rng, transform, **parameters):
    X, y = np.abs(rng.normal(size=(300, D))), np.arange(300) % 3
    parameters = {"classes": range(3), "row_transform": transform, "epsilon": 50.0} | parameters
    return DPGaussianMixture(**parameters).fit(X, y), X


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_a_fit_is_that_of_mapped_rows(rng, transform):
    model, X = fitted(rng, transform, unsafe_noise_seed=1)
    plain = DPGaussianMixture(classes=range(3), epsilon=50.0, unsafe_noise_seed=1)
    plain.fit(apply_transform(transform, X), np.arange(300) % 3)
    np.testing.assert_allclose(plain.means_, model.means_, atol=1e-2)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_a_file_keeps_the_transform(rng, tmp_path, transform):
    model, X = fitted(rng, transform)
    model.save(tmp_path / "model")
    loaded = DPGaussianMixture.load(tmp_path / "model")
    assert (loaded.predict_proba(X) == model.predict_proba(X)).all()
    assert (loaded.sample(9, 1)[0] == model.sample(9, 1)[0]).all()
    name = transform if isinstance(transform, str) else transform.name
    assert f"the public transform {name!r}" in loaded.privacy_.statement()
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    assert clone(loaded).fit(X, np.arange(300) % 3).privacy_.transform == name
    shown = subprocess.run(
        [sys.executable, "-m", "cloister", "info", tmp_path / "model"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert name in shown
    assert len(shown) < 10_000


def test_posteriors_of_samples_are_those_of_the_model_that_drew_them(rng):
    model, _ = fitted(rng, WHITENING)
    X, _, posterior = model.sample(50, 1, return_proba=True)
    drawn, _ = model._numbers().sample(50, 1)
    np.testing.assert_allclose(apply_transform(None, unit(drawn)), apply_transform(WHITENING, X),
                               atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(model.predict_proba(X), posterior)


@pytest.mark.parametrize(
    "change",
    [
        {"row_transform": "power:0.3"},
        {"row_transform": "square"},
        {"row_transform": {"name": "x", "mean": [0.0] * D, "scale": [1.0] * D}},
        {"row_transform": {"name": "x", "mean": [0.0], "scale": [1.0]}},
        {"row_transform": {"name": "x"}},
    ],
)
def test_files_whose_transform_is_another_are_refused(rng, tmp_path, change):
    fitted(rng, WHITENING)[0].save(tmp_path / "model")
    kind, arrays, header = read_model(tmp_path / "model")
    header["parameters"] |= change
    write_model(tmp_path / "spoilt", kind, arrays, header)
    with pytest.raises(ModelFileError, match=r"row_transform.*write the model again"):
        DPGaussianMixture.load(tmp_path / "spoilt")
