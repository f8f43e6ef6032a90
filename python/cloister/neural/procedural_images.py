"""Public images from a formula: something to train a codec on where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural import procedural_shapes as shapes
from cloister.neural.codec_input import check_image_shape
from cloister.parameters import check_integer

# Images are drawn in groups, each by a generator of its own: image i is the same for every n.
GROUP = 64
MOST_SHAPES = 3


def procedural_images(
    n: int, image_shape: tuple[int, ...], random_state: int = 0
) -> NDArray[np.uint8]:
    """Draw images of strokes, polygons, ellipses, blobs and silhouettes.

    No image of the world enters: a codec that is trained on them saw no data at all, public or
    private. Backgrounds are dark, light or gradients; shapes are flat, shaded or textured.

    Parameters
    ----------
    n : int
        Number of images.
    image_shape : tuple of int
        (height, width) or (height, width, 3), sides of 8 pixels or more.
    random_state : int, default=0
        Image i depends on this, on i and on the shape alone.

    Returns
    -------
    array of shape (n, *image_shape), uint8

    Raises
    ------
    InvalidInput, InvalidType
        Naming the argument.
    """
    n = check_integer("n", n, 1, 2**32, way_out="the number of images")
    image_shape = check_image_shape("image_shape", image_shape, low=8)
    if isinstance(random_state, bool) or not isinstance(random_state, int | np.integer):
        raise InvalidType(f"random_state must be an integer such as 0, got {random_state!r}")
    if random_state < 0:
        raise InvalidInput(f"random_state={random_state} is below 0; give one such as 0")
    images = np.empty((n, *image_shape), dtype=np.uint8)
    for group, first in enumerate(range(0, n, GROUP)):
        generator = np.random.default_rng([int(random_state), group])
        images[first : first + GROUP] = _group(image_shape, generator)[: n - first]
    return images


def _group(image_shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.uint8]:
    colours = 3 if len(image_shape) == 3 else 1
    plane = shapes.Plane(image_shape[0], image_shape[1])
    pixels = _backgrounds(plane, colours, generator)
    for layer in range(MOST_SHAPES):
        cover = _shapes(plane, generator)
        # The first shape is always there; further ones ever more rarely.
        cover *= (generator.random(GROUP) < 0.4**layer)[:, None, None]
        paint = _paint(plane, colours, generator)
        pixels += cover[..., None] * (paint - pixels)
    noise = generator.normal(size=pixels.shape) * generator.choice([0, 0, 0.02], (GROUP, 1, 1, 1))
    levels = np.clip(np.rint(255 * (pixels + noise)), 0, 255).astype(np.uint8)
    return np.asarray(levels if colours == 3 else levels[..., 0])


def _backgrounds(plane: shapes.Plane, colours: int, generator: np.random.Generator) -> Any:
    level = generator.choice([0.0, 1.0, 0.5], (GROUP, 1, 1, 1), p=[0.6, 0.15, 0.25])
    middle = level == 0.5
    tint = np.where(middle, generator.random((GROUP, 1, 1, colours)), level)
    slope = shapes.gradients(plane, GROUP, generator)[..., None] * middle
    return np.clip(tint + slope * generator.uniform(0, 0.5, (GROUP, 1, 1, colours)), 0, 1)


def _shapes(plane: shapes.Plane, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return one shape an image: how far each covers each pixel, in [0, 1]."""
    drawn = np.empty((GROUP, plane.height, plane.width))
    kinds = generator.permutation(np.arange(GROUP) % len(shapes.KINDS))
    for kind, draw in enumerate(shapes.KINDS):
        which = kinds == kind
        drawn[which] = draw(plane, int(which.sum()), generator)
    return drawn


def _paint(plane: shapes.Plane, colours: int, generator: np.random.Generator) -> Any:
    flat = generator.random((GROUP, 1, 1, colours))
    # Half the grey shapes are nearly white, as digits on a dark ground are.
    bright = generator.random((GROUP, 1, 1, 1)) < 0.5
    flat = np.where(bright, 1 - 0.2 * flat, flat)
    shade = shapes.gradients(plane, GROUP, generator) * generator.uniform(0, 0.5, (GROUP, 1, 1))
    texture = shapes.textures(plane, GROUP, generator) * generator.choice(
        [0.0, 0.1, 0.3], (GROUP, 1, 1)
    )
    return np.clip(flat + (shade + texture)[..., None], 0, 1)
