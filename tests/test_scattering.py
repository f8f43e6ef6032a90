"""Scattering features against the sums that define them, and their purity."""

import numpy as np
import pytest

from cloister import DPGaussianMixture
from cloister.errors import InvalidInput, InvalidType
from cloister.neural import ImageLabeller
from cloister.neural.dct_codec import DCTCodec
from cloister.neural.morlet import average_matrix, morlet_filters
from cloister.neural.protocols import Encoder
from cloister.neural.scattering import CHANNELS, ScatteringEncoder

SHAPE = (12, 16)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


def convolved(signal, wavelet):
    """Return the circular convolution, by its double sum."""
    height, width = signal.shape
    out = np.zeros(signal.shape, complex)
    for i in range(height):
        for j in range(width):
            out += signal[i, j] * np.roll(wavelet, (i, j), (0, 1))
    return out


def by_definition(encoder, image):
    """Return the averaged moduli of one image, channel by channel, by convolutions in space."""
    shape = encoder._padded
    extra = [whole - length for whole, length in zip(shape, image.shape, strict=True)]
    edges = [(e // 2, e - e // 2) for e in extra]
    signal = np.pad(image / 255, edges, mode="reflect")
    fine, coarse = (np.fft.ifft2(bank) for bank in morlet_filters(shape, 8))

    def averaged(values, step):
        rows, columns = (average_matrix(length, encoder.cells, step) for length in shape)
        return rows @ values[::step, ::step] @ columns.T

    moduli = [np.abs(convolved(signal, wavelet)) for wavelet in fine]
    maps = [averaged(signal, 1)] + [averaged(modulus, 1) for modulus in moduli]
    maps += [averaged(np.abs(convolved(signal, wavelet)), 2) for wavelet in coarse]
    for modulus in moduli:
        maps += [averaged(np.abs(convolved(modulus, wavelet)), 2) for wavelet in coarse]
    return np.array(maps)


def test_features_are_averaged_moduli_of_wavelet_coefficients(images):
    encoder = ScatteringEncoder(SHAPE, cells=3)
    raw = by_definition(encoder, images[0]).ravel()
    found = encoder.encode(images[:1])[0]
    np.testing.assert_allclose(found, raw / np.linalg.norm(raw), atol=2e-6)
    assert len(found) == encoder.n_features == CHANNELS * 9


def test_wavelets_have_no_mean_and_averages_keep_it():
    for bank in morlet_filters((16, 16), 8):
        np.testing.assert_allclose(bank[:, 0, 0], 0, atol=1e-12)
    np.testing.assert_allclose(average_matrix(16, 4, 2).sum(axis=1), 1)


def test_a_turned_stripe_excites_another_orientation():
    y, x = np.mgrid[:32, :32]
    stripes = (127 + 127 * np.cos(np.array([x, y]) * 2.2)).astype(np.uint8)
    features = ScatteringEncoder((32, 32)).encode(stripes).reshape(2, CHANNELS, -1)
    strongest = features[:, 1:9].sum(axis=2).argmax(axis=1)
    assert abs(strongest[0] - strongest[1]) == 4  # a right angle is half of eight orientations


def test_an_embedding_is_the_same_bits_in_any_batch(images):
    encoder = ScatteringEncoder(SHAPE, cells=3)
    together = encoder.encode(np.concatenate([images] * 60))  # more than one block
    alone = np.concatenate([encoder.encode(image[None]) for image in images])
    np.testing.assert_array_equal(together, np.tile(alone, (60, 1)))
    assert encoder.row_purity == "strict"


def test_norms_are_at_most_one_and_dark_images_are_zero():
    encoder = ScatteringEncoder(SHAPE, cells=2)
    images = np.random.default_rng(1).integers(0, 256, (300, *SHAPE), dtype=np.uint8)
    rows = encoder.encode(images).astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    assert norms.max() <= 1
    assert norms.min() > 1 - 1e-5
    assert not encoder.encode(np.zeros((1, *SHAPE), np.uint8)).any()
    assert encoder.encode(images[:0]).shape == (0, encoder.n_features)


def test_public_images_decide_the_scale_of_channels(images):
    encoder = ScatteringEncoder.from_public(images, public_data="noise", cells=2)
    rows = encoder.encode(images).reshape(len(images), CHANNELS, -1)
    sizes = np.sqrt(np.square(rows).mean(axis=(0, 2)))
    assert sizes.max() / sizes.min() < 1.2
    assert encoder.public_data == "noise"
    assert encoder.id != ScatteringEncoder(SHAPE, cells=2).id
    again = ScatteringEncoder(
        SHAPE, cells=2, channel_scale=encoder.channel_scale, public_data="noise"
    )
    assert again.id == encoder.id


@pytest.mark.parametrize("words", ["noise", "noise " * 99])
def test_a_mixture_can_be_fitted_to_channels_of_any_scale(images, words):
    codec = DCTCodec(SHAPE, keep=10)
    encoder = ScatteringEncoder.from_public(images, public_data=words, cells=1, codec=codec)
    rule = DPGaussianMixture(epsilon=9.0, classes=[0, 1], n_hint=len(images))
    fitted = ImageLabeller(encoder, rule).fit(images, np.arange(len(images)) % 2)
    assert fitted.mixture_.encoder_id == encoder.id
    plain = ScatteringEncoder(SHAPE, cells=1, public_data=words, codec=codec)
    assert encoder.id != plain.id


def test_images_go_through_the_codec_first(images):
    codec = DCTCodec(SHAPE, keep=10)
    plain = ScatteringEncoder(SHAPE, cells=2)
    through = ScatteringEncoder(SHAPE, cells=2, codec=codec)
    seen = codec.decode(codec.encode(images))
    np.testing.assert_array_equal(through.encode(images), plain.encode(seen))
    assert (through.encode(images) != plain.encode(images)).any()
    other = ScatteringEncoder(SHAPE, cells=2, codec=DCTCodec(SHAPE, keep=11))
    assert len({plain.id, through.id, other.id}) == 3
    assert len(through.id) < 255  # what a ledger takes for a name


def test_colour_images_are_taken_by_luma(images):
    grey = ScatteringEncoder(SHAPE, cells=2)
    colour = ScatteringEncoder((*SHAPE, 3), cells=2)
    repeated = np.repeat(images[..., None], 3, axis=3)
    np.testing.assert_allclose(colour.encode(repeated), grey.encode(images), atol=1e-6)


def test_it_is_an_encoder():
    assert isinstance(ScatteringEncoder((16, 16)), Encoder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cells": 4}, r"cells=4 is outside \[1, 3\]"),
        ({"cells": 3, "channel_scale": np.ones(80)}, "channel_scale must be 81"),
        ({"cells": 3, "channel_scale": np.zeros(81)}, "channel_scale must be 81"),
        ({"cells": 3, "channel_scale": np.full(81, 2)}, "name them"),
        ({"cells": 3, "codec": DCTCodec((8, 8))}, "codec makes images of shape"),
    ],
)
def test_impossible_parameters_are_refused(options, words):
    with pytest.raises(InvalidInput, match=words):
        ScatteringEncoder(SHAPE, **options)


def test_other_images_are_refused(images):
    encoder = ScatteringEncoder(SHAPE, cells=1)
    with pytest.raises(InvalidInput, match="has shape"):
        encoder.encode(images[:, :8])
    with pytest.raises(InvalidType, match="uint8"):
        encoder.encode(images / 255)
    with pytest.raises(InvalidInput, match="0 images"):
        ScatteringEncoder.from_public(images[:0], public_data="nothing", cells=1)
