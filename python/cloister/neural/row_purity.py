"""Does a row's embedding depend on its batch? Measured, bit by bit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural.images import as_images
from cloister.neural.protocols import Encoder
from cloister.neural.text_tokens import as_texts
from cloister.parameters import check_integer

DEFAULT_BATCH = 32
THREADS = "other numbers of threads"
_SEED = 20250616


@dataclass(frozen=True)
class RowPurity:
    """What `check_row_purity` found.

    Attributes
    ----------
    n_rows : int
        Rows whose embeddings were compared.
    batch_size : int
        Rows of the batches that they were embedded in.
    differences : dict of str to float
        Largest absolute difference of a coordinate by circumstance ("alone", "other neighbours",
        ...); -1 where bits differ by the sign of zero alone.
    differing_rows : dict of str to int
        Rows whose bits were not the same, by circumstance.
    """

    n_rows: int
    batch_size: int
    differences: dict[str, float]
    differing_rows: dict[str, int]

    @property
    def pure(self) -> bool:
        """Whether bits were the same whatever the other rows, on one number of threads.

        Some networks' bits change with the number of threads. That is no property of other rows:
        keep it fixed where the same bits are wanted.
        """
        others = {name: n for name, n in self.differing_rows.items() if name != THREADS}
        return not any(others.values())

    @property
    def largest_difference(self) -> float:
        """Largest absolute difference of a coordinate, in all circumstances."""
        return max(0.0, *self.differences.values())

    def summary(self) -> str:
        """Return a sentence to read."""
        if self.pure:
            same = [name for name, count in self.differing_rows.items() if not count]
            changed = "" if THREADS in same else f"; {THREADS} change them"
            return (
                f"{self.n_rows} rows had the same bits in {len(same)} circumstances "
                f"({', '.join(same)}), in batches of {self.batch_size}{changed}"
            )
        found = [
            f"{name}: {count} of {self.n_rows} rows, by up to {self.differences[name]:.3g}"
            for name, count in self.differing_rows.items()
            if count
        ]
        return f"rows depend on their batch ({'; '.join(found)})"


class MeasurablePurity:
    """The `row_purity` of an encoder with a mode that is strict by construction."""

    strict: bool
    _measured = False

    @property
    def row_purity(self) -> str:
        """Whether an embedding depends on its own image alone: see `Encoder`."""
        if self.strict:
            return "strict"
        return "measured" if self._measured else "unchecked"

    def check_row_purity(self, images: Any, n_rows: int = 8) -> RowPurity:
        """Measure whether embeddings depend on their batch: see `cloister.neural.row_purity`.

        `row_purity` is "measured" after a check that found no difference.
        """
        found = check_row_purity(cast(Encoder, self), images, n_rows)
        self._measured = found.pure  # and no figure: it is owner-side, and encoders are published
        return found


def check_row_purity(encoder: Encoder, images: Any, n_rows: int = 8) -> RowPurity:
    """Embed some rows under many circumstances and compare the bits.

    A row is embedded again, alone, many times over in one batch, among other neighbours, at other
    places of the batch, and by other numbers of threads (where torch is in use). No difference is
    evidence and no proof: `ModuleEncoder(strict=True)` is by construction.

    Parameters
    ----------
    encoder : Encoder
    images : images or texts
        See `as_images`. `n_rows` of them are taken, evenly spaced, or the first of a stream.
    n_rows : int, default=8
        About 2 n_rows + 10 batches are embedded.

    Returns
    -------
    RowPurity
        Owner-side: the rows may be private.

    Raises
    ------
    InvalidInput, InvalidType
    """
    wanted = check_integer("n_rows", n_rows, 1, 2**20, way_out="how many rows to look at")
    rows = _rows(encoder, images, wanted)
    size = max(int(getattr(encoder, "batch_size", DEFAULT_BATCH)), 2)
    size = min(size, DEFAULT_BATCH) if getattr(encoder, "strict", False) else size
    rows = rows[:size]
    rng = np.random.default_rng(_SEED)
    batch = _joined(rows, _others(rows, size - len(rows), rng))
    reference = _embedded(encoder, batch)[: len(rows)]
    differences: dict[str, float] = {}
    differing: dict[str, int] = {}
    for name, found, places in _circumstances(encoder, rows, batch, rng):
        expected = reference[places]
        unequal = (found.view(np.uint32) != expected.view(np.uint32)).any(axis=1)
        if name not in differences:
            differences[name], differing[name] = 0.0, 0
        if unequal.any():
            apart = np.abs(found.astype(np.float64) - expected).max()
            differences[name] = max(differences[name], float(apart) or -1.0)
            differing[name] = min(len(rows), differing[name] + len(set(places[unequal].tolist())))
    return RowPurity(len(rows), size, differences, differing)


def _circumstances(
    encoder: Encoder, rows: Any, batch: Any, rng: np.random.Generator
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.intp]]]:
    """Yield a name, embeddings, and which row each one is of."""
    n, size = len(rows), len(batch)
    everyone = np.arange(n)
    yield "again", _embedded(encoder, batch)[:n], everyone
    for place in range(n):
        one = np.array([place])
        yield "alone", _embedded(encoder, _taken(rows, one)), one
        copies = np.repeat(one, size)
        yield "copies of itself", _embedded(encoder, _taken(rows, copies)), copies
    for _ in range(2):
        others = _others(rows, size - n, rng)
        yield "other neighbours", _embedded(encoder, _joined(rows, others))[:n], everyone
        order = rng.permutation(size)
        places = np.argsort(order)[:n]
        yield "other places", _embedded(encoder, _taken(batch, order))[places], everyone
    # Neighbours that are far larger than any image: what is shared by a batch shows.
    blank = _taken(batch, np.arange(size))
    for place in range(0, n, 2):
        blank[place] = _blank(rows[place])
    kept = np.arange(1, n, 2)
    if len(kept):
        yield "blank neighbours", _embedded(encoder, blank)[kept], kept
    for name, found in _by_threads(lambda: _embedded(encoder, batch)[:n]):
        yield name, found, everyone


def _by_threads(
    embed: Callable[[], NDArray[np.float32]],
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    torch = sys.modules.get("torch")
    if torch is None:
        return
    before = torch.get_num_threads()
    try:
        for threads in sorted({1, 2, 3, before}):
            torch.set_num_threads(threads)
            yield THREADS, embed()
    finally:
        torch.set_num_threads(before)


def _rows(encoder: Encoder, images: Any, wanted: int) -> Any:
    """Return rows to look at: an array of images, or a list of images or texts."""
    if getattr(encoder, "modality", "image") == "text":
        return as_texts(images)[:wanted]
    source = as_images(images)
    if hasattr(source, "read") and source.n:
        places = np.unique(np.linspace(0, source.n - 1, min(wanted, source.n)).astype(int))
        found = [source.read(int(place), int(place) + 1)[0] for place in places]
        same = len({image.shape for image in found}) == 1
        return np.stack(found) if same else found
    first = next(iter(source.batches(wanted)), None)
    if first is None:
        raise InvalidInput("images: there are 0 of them; pass at least 1")
    return first[0]


def _embedded(encoder: Encoder, batch: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(encoder.encode(batch), dtype=np.float32)


def _others(rows: Any, n: int, rng: np.random.Generator) -> list[Any]:
    """Return n rows that look like the given ones but are not: noise, or words in disorder."""
    chosen = [rows[place] for place in rng.integers(len(rows), size=n)]
    if isinstance(rows[0], str):
        return [" ".join(rng.permutation(text.split() or ["word"])) + " ?" for text in chosen]
    return [rng.integers(0, 256, image.shape, dtype=np.uint8) for image in chosen]


def _blank(row: Any) -> Any:
    return "" if isinstance(row, str) else np.full_like(row, 255)


def _joined(rows: Any, more: Sequence[Any]) -> Any:
    if isinstance(rows, np.ndarray):
        return np.concatenate([rows, np.stack(more)]) if len(more) else rows.copy()
    return [*rows, *more]


def _taken(rows: Any, places: NDArray[np.intp]) -> Any:
    return rows[places] if isinstance(rows, np.ndarray) else [rows[int(p)] for p in places]
