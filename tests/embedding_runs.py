"""What the tests of `embed` embed, and how they look at the outcome."""

from pathlib import Path

import numpy as np

from cloister.sources import as_source
from embed_slowly import Slow

IMAGES = (np.arange(23, dtype=np.uint8)[:, None, None] + np.zeros((1, 3, 4), np.uint8)).copy()
IMAGES[:, 2] += 100
LABELS = np.arange(23) % 3


def expected(images=IMAGES):
    return images.reshape(len(images), -1)[:, :4].astype(np.float32) / 7


def calls(slow):
    return [int(line) for line in Path(slow.log).read_text().split()]


def rows_of(path):
    return np.concatenate([chunk.copy() for _, chunk in as_source(str(path)).chunks()])


def changed(slow, **attributes):
    other = Slow(slow.log)
    for name, value in attributes.items():
        setattr(other, name, value)
    return other
