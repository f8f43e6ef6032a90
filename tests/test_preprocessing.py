"""Preprocessing: what the libraries do to pixels, image by image; or a typed error."""

import numpy as np
import pytest
from PIL import Image

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.encoders import Preprocessing
from cloister.neural.preprocessing import INTERPOLATIONS

GREY = np.random.default_rng(0).integers(0, 256, (11, 9, 9), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (11, 9, 9, 3), dtype=np.uint8)


def reference_preprocessing(image, size, resize):
    """What torchvision's recipe does to a picture, by Pillow: resize, cut the centre, divide."""
    picture = Image.fromarray(image)
    width, height = picture.size
    scale = resize / min(width, height)
    picture = picture.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    pixels = np.asarray(picture.crop((left, top, left + size, top + size))) / 255
    return (pixels.transpose(2, 0, 1) - 0.4) / 0.2


@pytest.mark.parametrize("shape", [(60, 40, 3), (40, 60, 3), (16, 30, 3)])
def test_preprocessing_is_that_of_pillow_but_for_its_rounding(shape):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = np.asarray(smooth.resize(shape[1::-1], Image.Resampling.BICUBIC))
    found = Preprocessing(size=18, resize=20, mean=0.4, std=0.2).prepare(image[None])[0].numpy()
    expected = reference_preprocessing(image, 18, 20)
    assert np.abs(found - expected).max() < 2.1 / 255 / 0.2


def test_read_only_pixels_are_taken_and_left_alone():
    pixels = COLOUR.copy()
    pixels.flags.writeable = False
    Preprocessing(mean=0.5).prepare(pixels)
    np.testing.assert_array_equal(pixels, COLOUR)


def test_grey_and_colour_become_each_other():
    three = Preprocessing().prepare(GREY)
    assert three.shape == (11, 3, 9, 9)
    assert (three[:, 0] == three[:, 2]).all()
    one = Preprocessing(channels=1).prepare(np.repeat(GREY[..., None], 3, axis=3))
    np.testing.assert_allclose(one[:, 0].numpy(), GREY / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"size": 0}, InvalidInput),
        ({"size": 1.5}, InvalidType),
        ({"size": (1, 2, 3)}, InvalidType),
        ({"size": 224, "resize": 200}, InvalidInput),
        ({"resize": 200}, InvalidInput),
        ({"interpolation": "cubic"}, InvalidInput),
        ({"mean": (0.5, 0.5)}, InvalidInput),
        ({"std": 0.0}, InvalidInput),
        ({"mean": float("nan")}, InvalidInput),
        ({"channels": 4}, InvalidInput),
        ({"antialias": "no"}, InvalidType),
    ],
)
def test_bad_preprocessing_is_refused(options, error):
    with pytest.raises(error):
        Preprocessing(**options)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [None, 9, 24, (5, 7)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_grey_images_are_the_same_bits_if_read_as_rgb(channels, size, interpolation):
    # One image in colours makes a folder be read as RGB: the other rows must not change for it.
    fixed = Preprocessing(
        size=size, interpolation=interpolation, mean=0.45, std=0.22, channels=channels
    )
    rgb = np.repeat(GREY[..., None], 3, axis=3)
    grey, coloured = fixed.prepare(GREY), fixed.prepare(rgb)
    assert (grey.expand_as(coloured) == coloured).all()
