"""Images from a formula: deterministic, varied, of any shape."""

import hashlib

import numpy as np
import pytest

from cloister.errors import InvalidInput, InvalidType
from cloister.neural import procedural_shapes
from cloister.neural.decoders import procedural_images


def test_image_i_depends_on_seed_and_shape_alone():
    images = procedural_images(150, (20, 12, 3), random_state=4)
    assert (images.shape, images.dtype) == ((150, 20, 12, 3), np.uint8)
    np.testing.assert_array_equal(procedural_images(70, (20, 12, 3), 4), images[:70])
    assert (procedural_images(70, (20, 12, 3), 5) != images[:70]).any()


def test_numpys_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    procedural_images(3, (8, 8))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("shape", [(28, 28), (8, 40), (33, 9, 3)])
def test_images_are_varied(shape):
    images = procedural_images(300, shape)
    digests = {hashlib.sha256(image.tobytes()).digest() for image in images}
    assert len(digests) > 295
    dark = (images.reshape(300, -1) == 0).mean(axis=1) > 0.3
    assert 0.3 < dark.mean() < 0.8
    assert (images.reshape(300, -1).std(axis=1) > 20).mean() > 0.7


@pytest.mark.parametrize("kind", procedural_shapes.KINDS)
def test_every_family_draws_shapes_with_an_inside_and_an_outside(kind):
    plane = procedural_shapes.Plane(28, 20)
    cover = kind(plane, 200, np.random.default_rng(0))
    assert cover.shape == (200, 28, 20)
    assert cover.min() == 0
    assert cover.max() == 1
    share = cover.mean(axis=(1, 2))
    assert np.mean((share > 0.01) & (share < 0.9)) > 0.9


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((0, (28, 28)), InvalidInput, r"n=0 is outside \[1,"),
        ((3, (28,)), InvalidInput, "is no .height, width."),
        ((3, (7, 28)), InvalidInput, r"image_shape=7 is outside \[8, 4096\]"),
        ((3, (28, 28), -1), InvalidInput, "random_state=-1 is below 0"),
        ((3, (28, 28), None), InvalidType, "random_state must be an integer"),
    ],
)
def test_bad_arguments(arguments, kind, message):
    with pytest.raises(kind, match=message):
        procedural_images(*arguments)
