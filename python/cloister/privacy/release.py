"""The one place that adds noise: exact tallies go in, noisy ones come out.

Each release states its sensitivity in integers (one row added or removed, see docs/privacy.md) and
adds rounded Gaussian noise to every value of the public partition, whether rows fell there or not.
An exact tally lives only inside the `draw` of a release: with a ledger, nothing is returned before
the noisy bytes are durable. They are stored behind a digest of their public question, so that a
resumed fit can neither take them for the answer to another one nor state another noise for them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cloister._backend import Grid
from cloister.codes import MOMENT_BOUND
from cloister.engines import Engine
from cloister.errors import BudgetExceeded, LedgerError
from cloister.privacy.accounting import GaussianEvent, compose, sigma_for
from cloister.privacy.generator import fresh_key, rounded_gaussian
from cloister.privacy.sensitivity import (
    count_weight,
    moment_sensitivity,
    off_diagonal_sigma,
    tally_sensitivity,
)


class Reservation(Protocol):
    """What a release needs of a ledger's reservation."""

    def round(self, key: str, draw: Callable[[], bytes]) -> bytes:
        """Return the bytes stored under `key`, or draw, store durably and return them."""
        ...


@dataclass(frozen=True)
class NoisyTally:
    """Counts and sums of each cell, with noise.

    Attributes
    ----------
    noisy_counts : array of shape (classes, k), float64
        Rows in each cell, plus noise of standard deviation `count_noise`.
    noisy_sums : array of shape (classes, k, d), float64
        Sums of rows or clipped residuals in the rows' unit, plus noise of standard deviation
        `sum_noise` a coordinate.
    """

    noisy_counts: NDArray[np.float64]
    noisy_sums: NDArray[np.float64]
    count_noise: float
    sum_noise: float


@dataclass(frozen=True)
class NoisyMoments:
    """Second moments of clipped residuals, with noise.

    Attributes
    ----------
    noisy_values : array of shape (groups, d, d), (groups, d) or (groups, 1), float64
        Sums of residual products in the squared unit of the rows; the matrices are symmetric.
    noise : float
        Standard deviation of the noise on a diagonal entry; off the diagonal it is
        `noise / sqrt(2)`.
    """

    noisy_values: NDArray[np.float64]
    noise: float


class Release:
    """Releases of one fit, in order.

    Parameters
    ----------
    engine : Engine
        Who answers with exact integers.
    mu_limit : float
        The releases together never cost more: one that would is refused before it is drawn.
        Infinite where there is no noise.
    reservation : Reservation, optional
        A ledger's reservation that covers all releases to come.
    unsafe_noise_seed : int, optional
        Makes the noise repeatable, for tests and research: promises nothing.

    Attributes
    ----------
    events : list of GaussianEvent
        What was released so far.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        mu_limit: float,
        reservation: Reservation | None = None,
        unsafe_noise_seed: int | None = None,
    ) -> None:
        self.events: list[GaussianEvent] = []
        self._engine = engine
        self._mu_limit = mu_limit
        self._reservation = reservation
        self._unsafe_noise_seed = unsafe_noise_seed

    def _key(self, name: str) -> bytes:
        if self._unsafe_noise_seed is None:
            return fresh_key()
        return hashlib.sha256(f"{self._unsafe_noise_seed}/{name}".encode()).digest()

    def _release(
        self,
        event: GaussianEvent,
        question: tuple[Any, ...],
        size: int,
        exact_answer: Callable[[], NDArray[np.int64]],
        noise: Callable[[bytes], NDArray[np.int64]],
    ) -> NDArray[np.int64]:
        """Add `noise` to the exact answer; the noisy integers are all that leaves."""
        if any(event.name == spent.name for spent in self.events):
            # Under one name a ledger holds one answer, and a seed gives one noise.
            raise LedgerError(
                f"release {event.name!r} was made already as number {len(self.events)} or before; "
                "give each release of a fit a name of its own"
            )
        total = compose([spent.mu for spent in [*self.events, event]])
        if total > self._mu_limit:
            raise BudgetExceeded(
                f"release {event.name!r} would bring mu to {total:.9g}, but this fit has "
                f"{self._mu_limit:.9g}; lower the shares of its plan to a sum of 1"
            )

        digest = _digest((event, self._engine.grid, *question))

        def draw() -> bytes:
            noisy: NDArray[np.int64] = exact_answer().reshape(size) + noise(self._key(event.name))
            return digest + noisy.tobytes()

        stored = draw() if self._reservation is None else self._reservation.round(event.name, draw)
        if len(stored) != len(digest) + 8 * size or not stored.startswith(digest):
            raise LedgerError(
                f"the ledger holds {len(stored)} bytes for round {event.name!r} that answer "
                f"another question than this fit's, which needs {len(digest) + 8 * size}; resume "
                "on the machine and with the software of the first run, or take a new fit_name"
            )
        self.events.append(event)
        return np.frombuffer(stored, dtype=np.int64, offset=len(digest))

    def histogram(self, name: str, grid: Grid, mu: float) -> tuple[NDArray[np.float64], float]:
        """Release the counts of each class in each bin of a public grid; sensitivity 1.

        Returns
        -------
        noisy_counts : array of shape (classes, bins), float64
        noise : float
            Standard deviation of the noise of a bin.
        """
        shape = (self._engine.n_classes, int(np.prod(grid.cells, dtype=np.int64)))
        event = GaussianEvent(name, 1.0, sigma_for(1.0, mu))
        noisy = self._release(
            event,
            ("bins", grid.projections, grid.origins, grid.widths, grid.cells),
            shape[0] * shape[1],
            lambda: self._engine.exact_bins(grid),
            lambda key: rounded_gaussian(event.sigma, shape[0] * shape[1], key=key),
        )
        return noisy.reshape(shape).astype(np.float64), event.sigma

    def tally(
        self,
        name: str,
        centres: NDArray[np.int16],
        mu: float,
        *,
        radius: float | None = None,
        pooled: bool = False,
    ) -> NoisyTally:
        """Release counts and sums of each cell jointly; sensitivity sqrt(B^2 + w^2) steps.

        Parameters
        ----------
        centres : array of shape (classes, k, d), int16
            Public centres on the grid.
        mu : float
            Gaussian-DP cost.
        radius : float, optional
            Release sums of `row - centre` clipped to this public radius, instead of rows.
        pooled : bool
            Add the classes up before the noise: one value a cell number for all classes.
        """
        grid, (classes, k, d) = self._engine.grid, centres.shape
        clip = None if radius is None else grid.residual_clip(radius)
        step = grid.row_clip.step if radius is None else grid.residual_step(radius)
        weight = count_weight(d)
        event = GaussianEvent(name, tally_sensitivity(d), sigma_for(tally_sensitivity(d), mu))
        classes = 1 if pooled else classes
        size = classes * k * (d + 1)

        def exact_answer() -> NDArray[np.int64]:
            exact = self._engine.exact_tally(centres, clip)
            counts, sums = exact.exact_counts, exact.exact_sums
            if pooled:
                counts, sums = counts.sum(axis=0), sums.sum(axis=0)
            return np.concatenate([weight * counts.ravel(), sums.ravel()])

        noisy = self._release(
            event,
            ("tally", centres, clip, pooled),
            size,
            exact_answer,
            lambda key: rounded_gaussian(event.sigma, size, key=key),
        )
        return NoisyTally(
            noisy_counts=noisy[: classes * k].reshape(classes, k) / weight,
            noisy_sums=np.float64(step) * noisy[classes * k :].reshape(classes, k, d),
            count_noise=event.sigma / weight,
            sum_noise=event.sigma * step,
        )

    def moments(
        self,
        name: str,
        centres: NDArray[np.int16],
        group: NDArray[np.int64],
        mu: float,
        *,
        radius: float,
        moment: str = "full",
    ) -> NoisyMoments:
        """Release second moments of residuals clipped to `radius`; sensitivity B_2^2 steps^2.

        Of a symmetric matrix the upper triangle is released, off the diagonal with noise
        sigma / sqrt(2): each such entry stands for two, so this is a Gaussian mechanism of the
        same mu on the whole matrix.
        """
        grid, d, groups = self._engine.grid, centres.shape[2], int(group.max()) + 1
        clip = grid.residual_clip(radius, MOMENT_BOUND)
        step = grid.residual_step(radius, MOMENT_BOUND)
        event = GaussianEvent(name, moment_sensitivity(), sigma_for(moment_sensitivity(), mu))
        size = {"full": d * (d + 1) // 2, "diagonal": d, "trace": 1}[moment]

        def noise(key: bytes) -> NDArray[np.int64]:
            on_diagonal = rounded_gaussian(event.sigma, groups * min(size, d), key=key)
            if moment != "full":
                return on_diagonal
            triangle = rounded_gaussian(
                off_diagonal_sigma(event.sigma), groups * size, key=key, stream=1
            )
            triangle.reshape(groups, size)[:, _diagonal(d)] = on_diagonal.reshape(groups, d)
            return triangle

        noisy = self._release(
            event,
            ("moments", centres, clip, group, moment),
            groups * size,
            lambda: self._engine.exact_moments(centres, clip, group, moment),
            noise,
        )
        values = np.float64(step**2) * noisy.reshape(groups, size)
        if moment == "full":
            values = np.stack([_symmetric(triangle, d) for triangle in values])
        return NoisyMoments(values, event.sigma * step**2)


def _digest(question: tuple[Any, ...]) -> bytes:
    """SHA-256 of a public question: dataclasses of numbers, texts and arrays."""
    digest = hashlib.sha256()
    for part in question:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str} {part.shape}".encode() + part.tobytes())
        else:
            digest.update(repr(part).encode())
    return digest.digest()


def _diagonal(d: int) -> NDArray[np.int64]:
    """Places of the diagonal in an upper triangle stored by rows."""
    rows = np.arange(d)
    return rows * d - rows * (rows - 1) // 2


def _symmetric(triangle: NDArray[np.float64], d: int) -> NDArray[np.float64]:
    matrix = np.zeros((d, d))
    upper = np.triu_indices(d)
    matrix[upper] = triangle
    matrix.T[upper] = triangle
    return matrix
