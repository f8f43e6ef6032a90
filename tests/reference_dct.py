"""The cosine codec, slow and obvious: scipy's transform of one block of one channel at a time."""

import numpy as np
from scipy.fft import dctn, idctn


def zigzag_walk(height, width):
    """Walk a block as JPEG does: right, then down-left, then up-right, diagonal by diagonal."""
    for diagonal in range(height + width - 1):
        places = [(u, diagonal - u) for u in range(height) if 0 <= diagonal - u < width]
        yield from places if diagonal % 2 else reversed(places)


def channels_of(image):
    """Luma and two chromas, of unit directions; a grey image is its own luma."""
    if image.ndim == 2:
        return [image]
    red, green, blue = np.moveaxis(image, -1, 0)
    luma = (red + green + blue) / np.sqrt(3)
    return [luma, (red - blue) / np.sqrt(2), (red - 2 * green + blue) / np.sqrt(6)]


def coefficients(image, mean, block, keep):
    """Kept coefficients in grey levels, by channel, block and frequency; `keep` by channel."""
    height, width = block
    values = []
    for channel, kept in zip(channels_of(image.astype(float) - mean), keep, strict=True):
        missing = [(0, -side % length) for side, length in zip(channel.shape, block, strict=True)]
        padded = np.pad(channel, missing, mode="edge")
        for top in range(0, padded.shape[0], height):
            for left in range(0, padded.shape[1], width):
                full = dctn(padded[top : top + height, left : left + width], norm="ortho")
                values += [full[place] for place in list(zigzag_walk(height, width))[:kept]]
    return np.array(values)


def low_passed(image, mean, block, kept):
    """A grey image of which each block keeps its lowest frequencies."""
    height, width = block
    result = np.array(image.astype(float) - mean)
    for top in range(0, image.shape[0], height):
        for left in range(0, image.shape[1], width):
            part = (slice(top, top + height), slice(left, left + width))
            full = dctn(result[part], norm="ortho")
            low = np.zeros_like(full)
            for place in list(zigzag_walk(height, width))[:kept]:
                low[place] = full[place]
            result[part] = idctn(low, norm="ortho")
    return result + mean
