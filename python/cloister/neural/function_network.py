"""A caller's own function in the place of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural.image_source import Images
from cloister.neural.pixels import array_pixels, is_tensor


class FunctionNetwork:
    """Runs a function on one batch; what it does with the rows is its own affair.

    Parameters
    ----------
    function : callable
        Maps a batch to an array-like or tensor of shape (n, d).
    """

    digest = None

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Promise nothing: a function cannot be held to anything."""
        yield

    def __call__(self, inputs: Any) -> NDArray[np.float32]:
        """Return the function's output of shape (n, d).

        Raises
        ------
        InvalidInput
            If it has another shape.
        """
        output = self._function(inputs)
        if is_tensor(output):
            output = output.detach().float().cpu().numpy()
        matrix = np.array(output, dtype=np.float32)
        if matrix.shape[:1] != (len(inputs),) or matrix.ndim != 2:
            raise InvalidInput(
                f"module: the function returned shape {matrix.shape} for {len(inputs)} images, but "
                f"embeddings have shape ({len(inputs)}, d)"
            )
        return matrix


class RawPixels:
    """The preprocessing of a function that takes uint8 arrays as they are."""

    resizes = False
    description = "pixels as they are"

    def prepare(self, images: Images) -> NDArray[np.uint8]:
        """Return images of one size as one array.

        Raises
        ------
        InvalidInput, InvalidType
        """
        if isinstance(images, list):
            shapes = {image.shape for image in images}
            if len(shapes) > 1:
                raise InvalidInput(
                    f"images: they have {len(shapes)} different shapes, but this encoder takes "
                    "images as they are: give it Preprocessing(size=...)"
                )
            images = np.stack(images)
        return array_pixels(images, "images")
