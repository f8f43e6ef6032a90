"""Fresh samples of a mixture, with its own posterior as soft labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.mixture import DPGaussianMixture
from cloister.neural.examples import Batch

# Numbers (features and probabilities) that are drawn at a time, whatever the number of samples:
# 64 MiB of float32. A batch is never divided.
CHUNK_VALUES = 2**24
LEAST_SAMPLES = 50_000
LEAST_SAMPLES_A_CLASS = 500
# So few are held out at least: the standard error of a loss is then a small part of it.
LEAST_HELD_OUT = 1_000


def check_mixture(mixture: object, encoder_id: str | None) -> DPGaussianMixture:
    """Return the mixture if a probe of the encoder `encoder_id` can learn from it.

    Raises
    ------
    InvalidType
        If it is no `DPGaussianMixture`.
    InvalidInput
        If it is not fitted, or was fitted on rows of another encoder.
    """
    if not isinstance(mixture, DPGaussianMixture):
        raise InvalidType(
            f"mixture must be a fitted DPGaussianMixture, got {type(mixture).__name__}; "
            "to train on rows and labels call fit"
        )
    if not hasattr(mixture, "means_"):
        raise InvalidInput(f"mixture is not fitted: {mixture!r}; call its fit, or load one")
    if encoder_id is not None and mixture.encoder_id not in (None, encoder_id):
        raise InvalidInput(
            f"mixture is of rows of encoder_id={mixture.encoder_id!r}, but this probe has "
            f"encoder_id={encoder_id!r}; name the same encoder, or leave the probe's None"
        )
    return mixture


def default_samples(n_classes: int) -> int:
    """Return how many rows are drawn for an epoch unless the caller says."""
    return max(LEAST_SAMPLES, LEAST_SAMPLES_A_CLASS * n_classes)


class MixtureExamples:
    """Rows drawn anew for every epoch; nothing but the mixture is looked at.

    Memory is that of one chunk: every chunk has a seed of its own, so the held-out rows, which are
    wanted again after each epoch, are drawn again too.

    Parameters
    ----------
    mixture : DPGaussianMixture
        Fitted.
    standardise : callable
        Maps rows to what the network sees.
    n : int
        Rows of one epoch.
    held_out_fraction : float
        Held out are so many times n further rows, and at least `LEAST_HELD_OUT`.
    seed : int
    """

    def __init__(
        self,
        mixture: DPGaussianMixture,
        standardise: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        n: int,
        held_out_fraction: float,
        seed: int,
    ) -> None:
        self._mixture, self._standardise, self._seed = mixture, standardise, seed
        self.d, self.n = mixture.means_.shape[1], n
        self.n_held_out = max(LEAST_HELD_OUT, int(held_out_fraction * n))

    def training(
        self, epoch: int, batch: int, shuffle: Callable[[int], NDArray[np.intp]]
    ) -> Iterator[Batch]:
        """Yield rows that no other epoch sees; independent draws need no shuffling."""
        del shuffle
        return self._draws(epoch, self.n, batch)

    def held_out(self, batch: int) -> Iterator[Batch]:
        """Yield the rows held out: those of an epoch 0."""
        return self._draws(0, self.n_held_out, batch)

    def _draws(self, epoch: int, n: int, batch: int) -> Iterator[Batch]:
        fitting = CHUNK_VALUES // (self.d + len(self._mixture.classes_))
        chunk = max(1, fitting // batch) * batch
        for first in range(0, n, chunk):
            generator = np.random.default_rng((self._seed, epoch, first))
            rows, _, posterior = self._mixture.sample(
                min(chunk, n - first), generator, return_proba=True
            )
            soft = posterior.astype(np.float32)
            for start in range(0, len(rows), batch):
                stop = start + batch
                yield self._standardise(rows[start:stop]), soft[start:stop]
