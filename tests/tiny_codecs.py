"""Codecs that are trained in a second, on images of a formula."""

import numpy as np

from cloister.neural.decoders import procedural_images, train_codec

SHAPE = (12, 10)
TINY = {
    "public_data": "procedural images",
    "n_features": 6,
    "width": 8,
    "epochs": 2,
    "batch_size": 16,
    "validation_fraction": 0.1,
}


def images(n=80, shape=SHAPE, seed=0):
    return procedural_images(n, shape, seed)


def tiny_codec(shape=SHAPE, n=80, **options):
    return train_codec(images(n, shape), **(TINY | options))


def same(one, other):
    """Whether two codecs have one id and the same bits for weights."""
    return one.id == other.id and all(
        np.array_equal(weight, other.weights[name]) for name, weight in one.weights.items()
    )
