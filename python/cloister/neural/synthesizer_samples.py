"""Synthetic images, a block at a time: drawn, decoded and, where there is a labeller, relabelled.

Blocks have a size that the image's shape alone decides and a seed of their own, so that what is
drawn depends neither on how many images are asked for nor on how they are read.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.parameters import check_choice

LABELS = ("labeller", "agreeing", "mixture")
BLOCK_BYTES = 2**25
MOST_ROWS_A_BLOCK = 1024
# With fewer images kept of so many blocks, labeller and mixture have nothing to do with each other.
LEAST_AGREEMENT, TRIED_BLOCKS = 0.01, 10

Block = tuple[NDArray[Any], ...]


def check_labels(labels: str | None, labeller: Any) -> str:
    """Return whose labels samples have; None is the labeller's, where there is one.

    Raises
    ------
    InvalidInput
        For another word, or if there is no labeller.
    """
    if labels is None:
        return "mixture" if labeller is None else "labeller"
    check_choice("labels", labels, LABELS)
    if labels != "mixture" and labeller is None:
        raise InvalidInput(
            f"labels={labels!r} needs a labeller, and this synthesizer has 0; fit one with "
            "labeller=ImageLabeller(...)"
        )
    return labels


def block_rows(image_shape: tuple[int, ...]) -> int:
    """Return how many images are made at a time."""
    return max(1, min(MOST_ROWS_A_BLOCK, BLOCK_BYTES // int(np.prod(image_shape))))


def blocks(synthesizer: Any, seed: int, temperature: float, labels: str) -> Iterator[Block]:
    """Yield images, labels and probabilities without end; of "agreeing", those kept of a block.

    Parameters
    ----------
    synthesizer : Synthesizer
        Fitted.
    seed : int
        Of all blocks.
    temperature : float
        As in `sample`.
    labels : str
        As `check_labels` returned it.
    """
    mixture = synthesizer.mixture_
    size, number, kept = block_rows(synthesizer.image_shape_), 0, 0
    while True:
        own = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
        rows, drawn = mixture.sample(size, int(own), temperature=temperature)
        images = _decoded(synthesizer, rows)
        number += 1
        if labels == "mixture":
            yield images, drawn, mixture.predict_proba(rows)
            continue
        probabilities = synthesizer.labeller_.predict_proba(images)
        found = synthesizer.classes_[probabilities.argmax(axis=1)]
        if labels == "labeller":
            yield images, found, probabilities
            continue
        agree = found == drawn
        kept += int(agree.sum())
        if number >= TRIED_BLOCKS and kept < LEAST_AGREEMENT * number * size:
            raise InvalidInput(
                f"labels='agreeing' keeps {kept} of {number * size} images, below "
                f"{LEAST_AGREEMENT:.0%}: labeller and mixture have little in common; take "
                "labels='labeller', or fit with a larger epsilon"
            )
        yield images[agree], found[agree], probabilities[agree]


def _decoded(synthesizer: Any, rows: NDArray[Any]) -> NDArray[np.uint8]:
    images = np.asarray(synthesizer.decoder.decode(rows))
    wanted = (len(rows), *synthesizer.image_shape_)
    if images.dtype != np.uint8 or images.shape != wanted:
        raise InvalidInput(
            f"decoder {synthesizer.decoder.id!r} made an array of dtype {images.dtype} and shape "
            f"{images.shape}, but uint8 and {wanted} are needed; mend its decode or image_shape"
        )
    return images


def first_of(stream: Iterator[Block], n: int) -> Iterator[Block]:
    """Yield blocks until there are n images, the last one cut."""
    left = n
    while left > 0:
        block = next(stream)
        left -= len(block[0])
        if len(block[0]):
            yield block if left >= 0 else tuple(part[:left] for part in block)
