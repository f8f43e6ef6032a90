"""Public transforms of rows: what they are, that they are row-pure, and that fits know them."""

import numpy as np
import pytest

import reference
from cloister import DPGaussianMixture
from cloister.codes import CODE_BOUND, CodeGrid
from cloister.engines import LocalEngine
from cloister.errors import InvalidInput
from cloister.sources import as_source, encode_labels
from cloister.transforms import (
    apply_transform,
    invert_transform,
    transformed_grid,
    transformed_source,
)


def codes_of(rows, chunk_rows=None):
    grid = transformed_grid("root", rows.shape[1], 1.0)
    engine = LocalEngine(
        transformed_source("root", as_source(rows)),
        grid,
        encode_labels(None, len(rows)),
        chunk_rows=chunk_rows,
    )
    ((codes, _),) = engine._blocks()
    return codes


@pytest.fixture
def rows(rng):
    return (rng.normal(size=(60, 37)) * rng.choice([1e-30, 1.0, 1e20], size=(60, 1))).astype("f4")


def test_root_is_the_signed_root_on_the_sphere(rng):
    X = rng.normal(size=(20, 9))
    expected = np.sign(X) * np.sqrt(np.abs(X))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    mapped = apply_transform("root", X)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, expected, rtol=1e-6)
    back = invert_transform("root", mapped)
    np.testing.assert_allclose(back, X / np.linalg.norm(X, axis=1, keepdims=True), rtol=1e-5)
    zero = np.zeros((1, 9), np.float32)
    assert not apply_transform("root", zero).any()
    assert not invert_transform("root", zero).any()


def test_codes_are_those_of_the_mapped_row_on_the_sphere(target, rows):
    grid = CodeGrid(37, 1.0, normalize=True)
    mapped = np.copysign(np.sqrt(np.abs(rows)), rows)
    expected, valid = reference.encode(mapped, grid.encode_clip)
    assert valid.all()
    np.testing.assert_array_equal(codes_of(rows), expected)
    norms = np.linalg.norm(expected.astype(float), axis=1)
    assert norms.min() > CODE_BOUND - 8
    assert norms.max() <= CODE_BOUND
    np.testing.assert_allclose(
        grid.decode(expected), apply_transform("root", rows), atol=grid.row_clip.step
    )


def test_a_code_does_not_depend_on_batch_position_or_dtype(target, rows):
    whole = codes_of(rows)
    for i in (0, 17, 59):
        np.testing.assert_array_equal(codes_of(rows[i : i + 1])[0], whole[i])
    np.testing.assert_array_equal(codes_of(rows[::-1])[::-1], whole)
    np.testing.assert_array_equal(codes_of(rows, chunk_rows=7), whole)
    np.testing.assert_array_equal(codes_of(np.asfortranarray(rows)), whole)
    np.testing.assert_array_equal(codes_of(rows.astype(np.float64)), whole)
    halves = rows.clip(-6e4, 6e4).astype(np.float16)
    np.testing.assert_array_equal(codes_of(halves), codes_of(halves.astype(np.float32)))
    for i in (3, 59):
        assert (apply_transform("root", rows)[i] == apply_transform("root", rows[i : i + 1])).all()


def test_normalize_leaves_zero_rows_zero_and_lifts_the_smallest():
    grid = CodeGrid(3, 1.0, normalize=True)
    rows = np.array([[0, 0, 0], [0, 1e-45, 0], [3e38, 3e38, 0]], np.float32)
    codes, valid = reference.encode(rows, grid.encode_clip)
    assert valid.all()
    engine = LocalEngine(as_source(rows), grid, encode_labels(None, 3))
    np.testing.assert_array_equal(next(iter(engine._blocks()))[0], codes)
    assert not codes[0].any()
    assert codes[1, 1] == round(grid.row_clip.target)


@pytest.mark.parametrize("clip_norm", [0.5, 2.0])
def test_clip_norm_stays_one(clip_norm):
    with pytest.raises(InvalidInput, match=r"^clip_norm=.* leave clip_norm=1\.0"):
        CodeGrid(3, clip_norm, normalize=True)
    with pytest.raises(
        InvalidInput, match=r"^clip_norm=.*row_transform='root'.*leave clip_norm=1\.0"
    ):
        DPGaussianMixture(row_transform="root", clip_norm=clip_norm).fit(np.ones((9, 3)))


@pytest.mark.parametrize("name", ["square", 3, ["root"], True])
def test_unknown_transforms_are_refused(name):
    with pytest.raises(InvalidInput, match=r"^row_transform=.*choose one of these"):
        DPGaussianMixture(row_transform=name).fit(np.ones((9, 3)))


def test_invalid_rows_are_seen_through_a_transform():
    X = np.abs(np.random.default_rng(0).normal(size=(50, 3)))
    for bad in (np.nan, np.inf, -np.inf, 1e300):
        spoilt = X.copy()
        spoilt[7, 1] = bad
        with pytest.raises(InvalidInput, match=r"^X has 1 of 50 rows .* row 7"):
            DPGaussianMixture(row_transform="root").fit(spoilt)
        DPGaussianMixture(row_transform="root", on_invalid="drop").fit(spoilt)


def test_streamed_rows_give_the_same_model(rng):
    X, y = np.abs(rng.normal(size=(400, 7))), np.arange(400) % 3
    fits = [
        DPGaussianMixture(
            classes=range(3), row_transform="root", cache=cache, unsafe_noise_seed=1, random_state=0
        ).fit(X, y)
        for cache in (True, False)
    ]
    assert (fits[0].means_ == fits[1].means_).all()
    rows, _ = fits[0].sample(30)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    # A transformed fit is the fit of transformed rows.
    plain = DPGaussianMixture(classes=range(3), unsafe_noise_seed=1).fit(
        apply_transform("root", X), y
    )
    np.testing.assert_allclose(plain.means_, fits[0].means_, atol=1e-2)
    np.testing.assert_allclose(
        plain.score_samples(apply_transform("root", X)), fits[0].score_samples(X), atol=0.5
    )
