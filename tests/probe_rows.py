"""Rows that a small probe learns quickly."""

import numpy as np

SMALL = {"hidden": 16, "max_epochs": 4}


def blobs(n=300, d=6, n_classes=3, seed=0, distance=2.0):
    generator = np.random.default_rng(seed)
    y = generator.integers(n_classes, size=n)
    means = distance * generator.standard_normal((n_classes, d))
    return (means[y] + generator.standard_normal((n, d))).astype(np.float32), y
