"""Images as PNG bytes and back, by Pillow."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.neural.optional_packages import need_pillow


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of an image of shape (height, width) or (height, width, 3).

    Raises
    ------
    MissingDependency
    """
    buffer = BytesIO()
    need_pillow().fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG")
    return buffer.getvalue()


def pixels(path: Any) -> NDArray[np.uint8]:
    """Return the pixels of an image file as they are; a file or its bytes in a stream.

    Raises
    ------
    MissingDependency
    """
    with need_pillow().open(path) as image:
        return np.asarray(image)
