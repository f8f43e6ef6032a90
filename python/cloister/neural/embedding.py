"""`embed`: images through an encoder into an array or a file, taken up where it was left."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.embedding_file import (
    Provenance,
    check_out,
    read_provenance,
    remove_embedding,
    write_embedding,
)
from cloister.neural.embedding_progress import UnfinishedRun, differences
from cloister.neural.embedding_rows import Batch, Batches, encoded, open_batches
from cloister.neural.protocols import Encoder
from cloister.parameters import check_flag
from cloister.sources.label_files import LabelColumn, find_labels


def embed(
    encoder: Encoder,
    images: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    labels: Any = None,
    resume: bool = True,
    progress: bool = True,
) -> NDArray[np.float32] | Path:
    """Embed images, or texts, in batches of one size.

    Into a file, every finished batch is on the disk before the next begins, in `OUT.part`. After
    an interruption, or a kill, the same call goes on behind the last finished batch, and the file
    has the bits of an uninterrupted run. It appears at the end; a call that finds it complete
    computes nothing.

    Parameters
    ----------
    encoder : Encoder
        Public: never fitted to the private images.
    images : images or texts
        See `as_images`; for an encoder of texts a list of texts.
    out : path, optional
        ".parquet" with columns `embedding` and `label`, and the encoder's id and purity in its
        metadata; or ".npy" with these in ".npy.json", and labels in ".labels.npy". None returns
        the array.
    labels : array-like of shape (n,), str or path, optional
        Classes, or the file that holds them. By default those that come with the images, if any;
        they are written beside the rows.
    resume : bool, default=True
        Go on with what is there. False begins anew, replacing `out`.
    progress : bool, default=True
        Show a bar on stderr, if that is a terminal.

    Returns
    -------
    array of shape (n, d), float32; or the path of the file

    Raises
    ------
    InvalidInput, InvalidType
        For bad images (see `as_images`; batches finished before a damaged file stay), labels of
        another number, images of several sizes where the encoder does not resize; and if what is
        there to go on with is of another encoder, other options or other images.
    """
    if not isinstance(encoder, Encoder):
        raise InvalidType(
            f"encoder must have id, n_features, norm_bound, row_purity and encode, got "
            f"{type(encoder).__name__}; ModuleEncoder makes one of a module or a function"
        )
    check_flag("resume", resume)
    check_flag("progress", progress)
    target = None if out is None else check_out(out)
    batches = open_batches(encoder, images)
    known = _known_labels(labels, batches.labels, batches.n)
    if target is None:
        if labels is not None:
            raise InvalidInput("labels are written beside the rows of a file: they need out=")
        found = encoded(batches, batches.read(0), progress=progress)
        parts = [rows for _, rows in found]
        if not parts:
            raise InvalidInput("images: there are 0 of them; pass at least 1")
        return np.concatenate(parts)
    if not resume:
        remove_embedding(target, labels if isinstance(labels, str | os.PathLike) else None)
    _FileRun(encoder, batches, known, target, resume).finish(progress=progress)
    return target


class _FileRun:
    """One call of `embed` with a file."""

    def __init__(
        self,
        encoder: Encoder,
        batches: Batches,
        labels: NDArray[Any] | None,
        target: Path,
        resume: bool,
    ) -> None:
        self.encoder, self.batches, self.labels = encoder, batches, labels
        self.target, self.resume = target, resume
        self.collected: list[Any] = []  # labels that came with the images
        self.description = {
            "encoder_id": encoder.id,
            "norm_bound": encoder.norm_bound,
            "n_features": encoder.n_features,
            "strict": encoder.row_purity == "strict",
            "batch_size": batches.size,
            "n": batches.n,
            "labels": None if labels is None else _digest(labels),
        }

    def finish(self, *, progress: bool) -> None:
        """Embed what is missing and write the file."""
        if self.resume and self.target.exists():
            self._check_complete()
            return
        part = self.target.with_name(self.target.name + ".part")
        with UnfinishedRun(part, self.description, resume=self.resume) as unfinished:
            rest = self._behind(unfinished)
            new = encoded(self.batches, rest, done=unfinished.n_rows, progress=progress)
            for batch, rows in new:
                self._keep(batch)
                unfinished.append(rows, batch.digest)
            self._write(unfinished)
            unfinished.remove()

    def _behind(self, unfinished: UnfinishedRun) -> Iterator[Batch]:
        """Return the batches behind those that are finished, some of which must be known again.

        Images that can be read from anywhere are compared in the first and last finished batch;
        of a stream all are passed, and compared.
        """
        digests, size = unfinished.digests, self.batches.size
        if not self.batches.stored:
            passed = self.batches.read(0)
            for place, digest in enumerate(digests):
                batch = next(passed, None)
                _check_same(digest, batch, place, self.target)
                assert batch is not None
                self._keep(batch)
            return passed
        for place in sorted({0, len(digests) - 1} if digests else {}):
            batch = next(self.batches.read(place * size), None)
            _check_same(digests[place], batch, place, self.target)
        return self.batches.read(len(digests) * size)

    def _keep(self, batch: Batch) -> None:
        if self.labels is None and batch.labels is not None:
            self.collected.extend(batch.labels)

    def _write(self, unfinished: UnfinishedRun) -> None:
        n = unfinished.n_rows
        if n == 0:
            raise InvalidInput("images: there are 0 of them; pass at least 1")
        labels = np.asarray(self.collected) if self.collected else self.labels
        if labels is not None and len(labels) != n:
            raise InvalidInput(f"labels has {len(labels)} entries, but there are {n} images")
        ends = {"first": unfinished.digests[0].hex(), "last": unfinished.digests[-1].hex()}
        provenance = Provenance(
            self.encoder.id,
            self.encoder.row_purity,
            self.encoder.norm_bound,
            n,
            self.encoder.n_features,
            {**self.description, **ends},
        )
        write_embedding(self.target, unfinished.records(), labels, provenance)

    def _check_complete(self) -> None:
        """Accept a file that this very call has written before; refuse any other."""
        made = read_provenance(self.target)
        run = {} if made is None else made.run
        found = {name: run.get(name) for name in self.description}
        if made is None or found != self.description:
            of = "no embedding of cloister" if made is None else "of another run"
            why = "" if made is None else f" ({differences(found, self.description)})"
            raise InvalidInput(
                f"out: {str(self.target)!r} is there already and {of}{why}; pass resume=False "
                "(--restart) to replace it, or choose another out"
            )
        places = {0: "first"}
        if self.batches.stored:
            places[(made.n - 1) // self.batches.size] = "last"
        for place, end in places.items():
            batch = next(self.batches.read(place * self.batches.size), None)
            _check_same(bytes.fromhex(run[end]), batch, place, self.target)


def _check_same(digest: bytes, batch: Batch | None, place: int, target: Path) -> None:
    if batch is None or batch.digest != digest:
        raise InvalidInput(
            f"images: batch {place} is not the one that was embedded into {str(target)!r} before "
            "(images that are shuffled or augmented at random are never the same); pass "
            "resume=False (--restart) to begin anew, or choose another out"
        )


def _known_labels(labels: Any, beside: NDArray[Any] | None, n: int | None) -> NDArray[Any] | None:
    if labels is None:
        return beside
    if isinstance(labels, str | os.PathLike):
        found = find_labels(labels, None, "labels")
        assert isinstance(found, LabelColumn)
        labels = np.concatenate(list(found.parts()))
    listed = np.asarray(labels)
    if listed.ndim != 1 or listed.dtype.kind not in "biufU":
        raise InvalidType(
            f"labels has dtype {listed.dtype} and shape {listed.shape}, but one integer or string "
            "an image is needed"
        )
    if n is not None and len(listed) != n:
        raise InvalidInput(f"labels has {len(listed)} entries, but there are {n} images")
    return listed


def _digest(labels: NDArray[Any]) -> str:
    text = f"{labels.dtype.str} {labels.shape} ".encode()
    return hashlib.sha256(text + np.ascontiguousarray(labels).tobytes()).hexdigest()
