"""The cosine codec against scipy's transform, and the purity of its rows."""

from math import sqrt

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cloister.errors import InvalidInput, InvalidType
from cloister.neural import dct_codec
from cloister.neural.dct_basis import STEPS_PER_LEVEL, cosine_basis, exact_bits, zigzag
from cloister.neural.dct_transform import BlockTransform
from cloister.neural.decoders import DCTCodec, procedural_images
from cloister.neural.protocols import Decoder, Encoder
from cloister.neural.row_norms import row_norms, shorten
from reference_dct import coefficients, low_passed, zigzag_walk

SHAPES = [
    ((28, 28), {"keep": 64}),
    ((28, 28), {"keep": 20, "block": 7, "mean": 0}),
    ((9, 13), {"keep": 11, "block": (4, 5)}),
    ((17, 8, 3), {"keep": (30, 9)}),
    ((16, 24, 3), {"keep": 10, "block": 8, "mean": 30}),
    ((1, 1), {"keep": 1}),
]


def images_of(shape, n=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


@pytest.mark.parametrize(("shape", "options"), SHAPES)
def test_features_are_those_of_scipys_transform(shape, options):
    codec = DCTCodec(shape, **options)
    p, images = codec.parameters, images_of(shape)
    padded = [-(-side // length) * length for side, length in zip(shape, p.block, strict=False)]
    unit = p.norm_bound / (p.contrast * 255 * sqrt(np.prod(padded) * len(p.keep)))
    expected = [coefficients(image, p.mean.astype(float), p.block, p.keep) for image in images]
    found = codec.encode(images)
    assert found.dtype == np.float32
    assert found.shape == (len(images), codec.n_features)
    np.testing.assert_allclose(found / unit, np.array(expected), rtol=1e-4, atol=0.05)


@pytest.mark.parametrize(("shape", "options"), SHAPES)
def test_everything_kept_comes_back_exactly(shape, options):
    most = np.prod(DCTCodec(shape, **options).parameters.block)
    codec = DCTCodec(shape, **(options | {"keep": (most, most) if len(shape) == 3 else most}))
    images = images_of(shape)
    np.testing.assert_array_equal(codec.decode(codec.encode(images)), images)


def test_decoded_images_are_scipys_low_passed_ones():
    images = procedural_images(20, (28, 28))
    codec = DCTCodec((28, 28), block=14, keep=30, mean=0)
    expected = [low_passed(image, 0.0, (14, 14), 30) for image in images]
    wanted = np.clip(np.array(expected), 0, 255)
    found = codec.decode(codec.encode(images))
    assert np.abs(found - wanted).max() < 0.6  # half a level of rounding and a 32nd of the grid
    error = sqrt(np.square(found - wanted).mean())
    assert error < 0.3  # that of rounding alone is sqrt(1 / 12)


def test_zigzag_is_jpegs():
    u, v = zigzag(8, 8, 64)
    assert list(zip(u.tolist(), v.tolist(), strict=True)) == list(zigzag_walk(8, 8))
    assert list(zip(u[:6].tolist(), v[:6].tolist(), strict=True)) == [
        (0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2),
    ]  # fmt: skip
    u, v = zigzag(3, 5, 15)
    assert list(zip(u.tolist(), v.tolist(), strict=True)) == list(zigzag_walk(3, 5))


# --- rows are pure ------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "options"), SHAPES)
def test_a_row_is_the_same_bits_in_any_batch_and_at_any_place(shape, options, monkeypatch):
    codec = DCTCodec(shape, contrast=0.2, **options)
    images = images_of(shape, n=67)
    expected = codec.encode(images)
    one_by_one = np.concatenate([codec.encode(images[i : i + 1]) for i in range(len(images))])
    np.testing.assert_array_equal(one_by_one, expected)
    order = np.random.default_rng(1).permutation(len(images))
    np.testing.assert_array_equal(codec.encode(images[order]), expected[order])
    np.testing.assert_array_equal(codec.encode(images[::-2]), expected[::-2])
    monkeypatch.setattr(dct_codec, "CHUNK_PIXELS", 3 * np.prod(shape))
    np.testing.assert_array_equal(codec.encode(images), expected)
    with threadpool_limits(1):
        np.testing.assert_array_equal(codec.encode(images), expected)


def test_images_do_not_depend_on_the_batch_either(monkeypatch):
    codec = DCTCodec((28, 28), keep=100)
    rows = np.random.default_rng(0).normal(0, 0.1, (50, 100))
    expected = codec.decode(rows)
    np.testing.assert_array_equal(
        np.concatenate([codec.decode(row[None]) for row in rows]), expected
    )
    monkeypatch.setattr(dct_codec, "CHUNK_PIXELS", 784 * 7)
    np.testing.assert_array_equal(codec.decode(rows), expected)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (256, 256), (17, 900, 3), (4096, 4096, 3)])
def test_no_sum_reaches_the_limit_of_exact_float64(shape):
    n_numbers = int(np.prod(shape))
    bits = exact_bits(n_numbers)
    down = np.abs(cosine_basis(shape[0], min(shape[0], 64), bits)).sum(axis=1).max()
    across = np.abs(cosine_basis(shape[1], min(shape[1], 64), bits)).sum(axis=1).max()
    assert 4 * 255 * int(down) * int(across) < 2**53  # any order of summing, opponent colours
    # A decoded pixel sums coefficients times cosines: Cauchy-Schwarz, with rounding to spare.
    rows = np.linalg.norm(cosine_basis(shape[0], min(shape[0], 64), bits), axis=0).max()
    columns = np.linalg.norm(cosine_basis(shape[1], min(shape[1], 64), bits), axis=0).max()
    largest = (4 * 255 * sqrt(n_numbers) * STEPS_PER_LEVEL + sqrt(n_numbers)) * rows * columns
    assert largest < 2**53
    assert bits >= 11


def test_intermediate_numbers_are_whole():
    transform = BlockTransform(DCTCodec((28, 28, 3), keep=784, block=28).parameters)
    channels = np.random.default_rng(0).integers(-1020, 1021, (4, *transform.padded_shape))
    numbers = transform._coefficients(channels.astype(float))
    assert np.array_equal(numbers, np.rint(numbers))
    assert np.abs(numbers).max() < 2**53


# --- norms and parameters -----------------------------------------------------------------------


@pytest.mark.parametrize("bound", [1.0, 0.37, 20.0])
def test_norms_stay_within_the_bound(bound):
    extreme = np.array([np.zeros((8, 8)), np.full((8, 8), 255), np.eye(8) * 255], dtype=np.uint8)
    codec = DCTCodec((8, 8), keep=64, contrast=0.01, norm_bound=bound)
    norms = np.linalg.norm(codec.encode(extreme).astype(np.float64), axis=1)
    assert (norms <= bound).all()
    np.testing.assert_allclose(norms, bound, rtol=1e-5)


def test_no_image_loses_contrast_by_default():
    images = np.concatenate([images_of((8, 8)), np.full((1, 8, 8), 255, dtype=np.uint8)])
    for mean in (None, 0, 200):
        codec = DCTCodec((8, 8), keep=64, mean=mean)
        assert np.linalg.norm(codec.encode(images), axis=1).max() <= 1
        np.testing.assert_array_equal(codec.decode(codec.encode(images)), images)


def test_row_norms_and_shortening():
    rows = np.random.default_rng(0).normal(size=(30, 37))
    np.testing.assert_allclose(row_norms(rows), np.linalg.norm(rows, axis=1), rtol=1e-14)
    huge = np.array([[1e308, 1e308, 0], [0, 0, 0]])
    np.testing.assert_allclose(row_norms(huge), [np.sqrt(2) * 1e308, 0])
    np.testing.assert_array_equal(shorten(rows, 100.0), rows)
    assert (np.linalg.norm(shorten(rows, 2.0).astype(np.float32).astype(float), axis=1) <= 2).all()
    assert np.isfinite(shorten(huge, 1.0)).all()
    assert not shorten(np.full((1, 8), 1e308), 1.0).any()  # of infinite norm, and no warning


def test_frequency_power_evens_a_spectrum_out():
    images = procedural_images(400, (16, 16))
    spread = [DCTCodec((16, 16), keep=60, frequency_power=p).encode(images).std(axis=0)[1:]
              for p in (0.0, 1.0)]  # fmt: skip
    assert spread[0].max() / spread[0].min() > 4 * spread[1].max() / spread[1].min()
    codec = DCTCodec((16, 16), keep=256, frequency_power=1.5)
    np.testing.assert_array_equal(codec.decode(codec.encode(images[:9])), images[:9])


def test_a_codec_of_public_images_scales_to_them():
    images = procedural_images(500, (16, 16, 3))
    codec = DCTCodec.from_public(images, public_data="procedural", keep=40, share=0.9)
    norms = np.linalg.norm(codec.encode(images), axis=1)
    assert 0.89 < (norms < 0.9999).mean() < 0.91
    np.testing.assert_array_equal(codec.parameters.mean, np.rint(images.mean(axis=0)))
    assert codec.public_data == "procedural"
    assert "mean=sha256:" in codec.id
    fixed = DCTCodec((16, 16, 3), keep=40)
    assert (fixed.public_data, "mean=128" in fixed.id) == ("none", True)


def test_decoding_takes_any_finite_row():
    codec = DCTCodec((28, 28, 3), keep=50)
    rows = np.zeros((4, codec.n_features))
    rows[1], rows[2, 0], rows[3, 0] = 1e308, 1e300, -1e300
    images = codec.decode(rows)
    assert (images[0] == 128).all()
    assert (images[2] == 255).all()
    assert (images[3] == 0).all()
    assert codec.decode(rows[:0]).shape == (0, 28, 28, 3)
    assert codec.encode(images[:0]).shape == (0, codec.n_features)


def test_it_is_encoder_and_decoder_of_one_id():
    codec = DCTCodec((28, 28), keep=32)
    assert isinstance(codec, Encoder)
    assert isinstance(codec, Decoder)
    assert codec.row_purity == "strict"
    assert codec.encoder_id == codec.id
    others = [DCTCodec((28, 28), keep=33), DCTCodec((28, 28), keep=32, mean=0),
              DCTCodec((28, 28), keep=32, contrast=0.3), DCTCodec((28, 28), keep=32, block=14),
              DCTCodec((28, 28), keep=32, norm_bound=2.0), DCTCodec((28, 32), keep=32),
              DCTCodec((28, 28), keep=32, frequency_power=0.5)]  # fmt: skip
    assert len({codec.id, *(other.id for other in others)}) == 8
    assert "28x28" in repr(codec)


BAD = [
    ({"image_shape": 28}, InvalidType, "image_shape must be a tuple such as"),
    ({"image_shape": (28, 28, 4)}, InvalidInput, r"\(28, 28, 4\) is no \(height, width\)"),
    ({"image_shape": (0, 28)}, InvalidInput, r"image_shape=0 is outside \[1, 4096\]"),
    ({"block": 29}, InvalidInput, r"block=29 is outside \[1, 28\]"),
    ({"block": (7, 7, 7)}, InvalidInput, "is no pair"),
    ({"block": "all"}, InvalidType, "block must be a whole number"),
    ({"keep": 785}, InvalidInput, r"keep=785 is outside \[1, 784\]; a block of 28 x 28 .* 784"),
    ({"keep": (3, 4)}, InvalidInput, "must be an int for grey images"),
    ({"norm_bound": 0}, InvalidInput, r"norm_bound=0 is outside \(0,"),
    ({"contrast": 0}, InvalidInput, r"contrast=0 is outside \(0,"),
    ({"frequency_power": 9}, InvalidInput, r"frequency_power=9 is outside \[-4, 4\]"),
    ({"mean": 256}, InvalidInput, "mean has values from 256 to 256, but grey levels lie in"),
    ({"mean": np.zeros((3, 3))}, InvalidInput, r"mean has shape \(3, 3\), but .*\(28, 28\)"),
    ({"mean": np.zeros((28, 28))}, InvalidInput, "must come from public images; name them"),
    ({"mean": "grey"}, InvalidType, "mean must be a number"),
    ({"public_data": ""}, InvalidType, "public_data must be words"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_bad_parameters(options, kind, message):
    with pytest.raises(kind, match=message):
        DCTCodec(**({"image_shape": (28, 28)} | options))


def test_bad_images_and_embeddings():
    codec = DCTCodec((28, 28), keep=32)
    with pytest.raises(InvalidType, match=r"batch must be an array of uint8 .* got float64"):
        codec.encode(np.zeros((2, 28, 28)))
    with pytest.raises(InvalidInput, match=r"\(2, 28, 28, 3\), but \(n, 28, 28\) is needed"):
        codec.encode(np.zeros((2, 28, 28, 3), np.uint8))
    with pytest.raises(InvalidInput, match=r"\(2, 64\), but this DCTCodec needs \(n, 32\)"):
        codec.decode(np.zeros((2, 64)))
    with pytest.raises(InvalidInput, match=r"NaN or infinity in 1 of 3 rows .* is row 2"):
        codec.decode(np.where(np.arange(96).reshape(3, 32) == 90, np.nan, 0))
    with pytest.raises(InvalidType, match="array of real numbers, got dtype <U1"):
        codec.decode(np.array([["a"] * 32]))


def test_bad_public_images():
    with pytest.raises(InvalidInput, match="holds 0 images"):
        DCTCodec.from_public(np.zeros((0, 8, 8), np.uint8), public_data="none at all")
    with pytest.raises(InvalidType, match=r"public_images must be an array .* got list"):
        DCTCodec.from_public([[1]], public_data="x")
    with pytest.raises(InvalidInput, match="contrast is read off public_images"):
        DCTCodec.from_public(np.zeros((2, 8, 8), np.uint8), public_data="x", contrast=0.2)
