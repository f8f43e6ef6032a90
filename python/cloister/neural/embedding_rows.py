"""Batches of rows on their way through an encoder: read ahead, embedded, checked, shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural.embedding_progress import batch_digest, row_digest
from cloister.neural.image_files import Pictures
from cloister.neural.image_source import ImageSource, StoredImages
from cloister.neural.images import as_images
from cloister.neural.protocols import Encoder
from cloister.neural.text_tokens import as_texts

DEFAULT_BATCH = 64
# Rounding to float32 may lengthen a row by as much.
_NORM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Batch:
    """Consecutive rows on their way through an encoder.

    Attributes
    ----------
    rows : images, texts, or what `ModuleEncoder.prepare` made of each image
    labels : sequence or None
        Where they come with the rows.
    digest : bytes
        Of the rows, to know them again.
    """

    rows: Any
    labels: Sequence[Any] | NDArray[Any] | None
    digest: bytes


class Batches:
    """Images or texts, cut into batches of one size.

    Attributes
    ----------
    n : int or None
        Number of rows.
    size : int
        Rows of a batch.
    labels : array of shape (n,) or None
        Where they are known from the beginning.
    stored : bool
        Whether `read` can start anywhere at no cost.
    """

    def __init__(self, encoder: Encoder, source: ImageSource | list[str]) -> None:
        self._encoder, self._source = encoder, source
        self.size = int(getattr(encoder, "batch_size", DEFAULT_BATCH))
        self.labels: NDArray[Any] | None = None
        if isinstance(source, list):
            self.n: int | None = len(source)
            self.stored = True
        else:
            self.n, self.labels = source.n, source.labels
            self.stored = isinstance(source, StoredImages)
        # Large photographs are shrunk one by one as they are read: a batch would fill gigabytes.
        # Not in strict mode, which allows no thread of its own to the preprocessing.
        prepares = getattr(encoder, "resizes", False) and hasattr(encoder, "encode_prepared")
        strict = encoder.row_purity == "strict"
        self._shrunk = isinstance(source, Pictures) and prepares and not strict

    def read(self, start: int) -> Iterator[Batch]:
        """Yield the batches from row `start` on, a multiple of `size`."""
        if isinstance(self._source, list):
            for first in range(start, len(self._source), self.size):
                texts = self._source[first : first + self.size]
                yield Batch(texts, None, batch_digest(map(row_digest, texts)))
        elif self._shrunk:
            yield from self._read_shrunk(start)
        else:
            for images, labels in self._source.batches(self.size, start):
                yield Batch(images, labels, batch_digest(map(row_digest, images)))

    def encode(self, batch: Batch) -> NDArray[np.float32]:
        """Return the embeddings of a batch, checked."""
        encoder: Any = self._encoder
        rows = (encoder.encode_prepared if self._shrunk else encoder.encode)(batch.rows)
        return _checked(encoder, rows, len(batch.rows))

    def _read_shrunk(self, start: int) -> Iterator[Batch]:
        source: Any = self._source
        prepare = cast(Any, self._encoder).prepare
        for first in range(start, source.n, self.size):
            stop = min(first + self.size, source.n)
            both = source.read_each(first, stop, lambda image: (prepare(image), row_digest(image)))
            labels = None if self.labels is None else self.labels[first:stop]
            yield Batch([row for row, _ in both], labels, batch_digest(one for _, one in both))


def open_batches(encoder: Encoder, images: Any) -> Batches:
    """Return what is to be embedded, in batches of the encoder's size.

    Raises
    ------
    InvalidInput, InvalidType
        As `as_images`, and for images of several sizes that the encoder does not resize.
    """
    if getattr(encoder, "modality", "image") == "text":
        return Batches(encoder, as_texts(images))
    source = as_images(images)
    resizes = getattr(encoder, "resizes", False)
    if isinstance(source, Pictures) and not source.one_size and not resizes:
        raise InvalidInput(
            "images: they have several sizes, but this encoder takes images of 1 size; give it "
            "Preprocessing(size=...), or resize them"
        )
    return Batches(encoder, source)


def encoded(
    batches: Batches, read: Iterator[Batch], *, done: int = 0, progress: bool = False
) -> Iterator[tuple[Batch, NDArray[np.float32]]]:
    """Yield each batch of `read` with its embeddings; the next is read meanwhile.

    Parameters
    ----------
    batches : Batches
    read : iterator of Batch
        What `batches.read` gave, or the rest of it.
    done : int
        Rows that are embedded already, for the bar.
    progress : bool
        Show a bar, on a terminal.
    """
    with _bar(batches.n, done, wanted=progress) as advance:
        for batch in _ahead(read):
            rows = batches.encode(batch)
            yield batch, rows
            advance(len(rows))


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _checked(encoder: Encoder, rows: Any, n: int) -> NDArray[np.float32]:
    """Refuse what an encoder should never return."""
    found = np.asarray(rows, dtype=np.float32)
    if found.shape != (n, encoder.n_features):
        raise InvalidInput(
            f"encoder: it returned shape {found.shape} for {n} images, but n_features="
            f"{encoder.n_features}"
        )
    norms = np.sqrt(np.square(found.astype(np.float64)).sum(axis=1))
    if not norms.max() <= encoder.norm_bound * (1 + _NORM_TOLERANCE):  # NaN too
        raise InvalidInput(
            f"encoder: it returned a row of norm {norms.max():.7g}, but norm_bound="
            f"{encoder.norm_bound:g}; scale its rows, or state the bound that holds"
        )
    return found


@contextmanager
def _bar(n: int | None, start: int, *, wanted: bool) -> Iterator[Callable[[int], None]]:
    """Show how many rows are done, on a terminal."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where it is shown
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415
    from rich.progress import TimeRemainingColumn as Remaining  # noqa: PLC0415

    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("embedding", total=n, completed=start)
        yield lambda done: shown.advance(task, done)
