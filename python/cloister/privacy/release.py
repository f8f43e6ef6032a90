"""The one place that adds noise: exact tallies go in, noisy ones come out.

Each release states its sensitivity in integers (one row added or removed, see docs/privacy.md) and
adds rounded Gaussian noise to every value of the public partition, whether rows fell there or not.
An exact tally lives only inside the `draw` of a release: with a ledger, nothing is returned before
the noisy bytes are durable. They are stored behind a digest of their public question, so that a
resumed fit can neither take them for the answer to another one nor state another noise for them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cloister._backend import Grid, SoftmaxRegression
from cloister.codes import MOMENT_BOUND
from cloister.engines import Engine
from cloister.errors import BudgetExceeded, LedgerError
from cloister.privacy.accounting import GaussianEvent, compose, sigma_for
from cloister.privacy.answers import (
    NoisyGradient,
    NoisyMoments,
    NoisyTally,
    diagonal_places,
    symmetric,
)
from cloister.privacy.generator import fresh_key, rounded_gaussian
from cloister.privacy.question import question_digest
from cloister.privacy.sensitivity import (
    count_weight,
    gradient_sensitivity,
    moment_sensitivity,
    off_diagonal_sigma,
    tally_sensitivity,
)


class Reservation(Protocol):
    """What a release needs of a ledger's reservation."""

    def round(self, key: str, draw: Callable[[], bytes]) -> bytes:
        """Return the bytes stored under `key`, or draw, store durably and return them."""
        ...


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

        digest = question_digest((event, self._engine.grid, *question))

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

    def counts(
        self, name: str, centres: NDArray[np.int16], mu: float
    ) -> tuple[NDArray[np.float64], float]:
        """Release how many rows each cell holds; sensitivity 1.

        Parameters
        ----------
        centres : array of shape (classes, k, d), int16
            Public centres on the grid.

        Returns
        -------
        noisy_counts : array of shape (classes, k), float64
        noise : float
            Standard deviation of the noise of a count.
        """
        classes, k, _ = centres.shape
        event = GaussianEvent(name, 1.0, sigma_for(1.0, mu))
        noisy = self._release(
            event,
            ("counts", centres),
            classes * k,
            lambda: self._engine.exact_tally(centres, None).exact_counts,
            lambda key: rounded_gaussian(event.sigma, classes * k, key=key),
        )
        return noisy.reshape(classes, k).astype(np.float64), event.sigma

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
            triangle.reshape(groups, size)[:, diagonal_places(d)] = on_diagonal.reshape(groups, d)
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
            values = np.stack([symmetric(triangle, d) for triangle in values])
        return NoisyMoments(values, event.sigma * step**2)

    def gradient(self, name: str, model: SoftmaxRegression, mu: float) -> NoisyGradient:
        """Release the summed gradient of a softmax regression; sensitivity |a| |q| <= B_2^2 steps.

        A row adds the product of its clipped difference from the centre and its clipped residual:
        cpp/kernels.hpp has the definition.

        Parameters
        ----------
        model : SoftmaxRegression
            The public weights at which the gradient is taken, the public centre and both clips.
        mu : float
            Gaussian-DP cost.
        """
        bounds = model.row_clip.bound, model.residual_clip.bound
        sensitivity = gradient_sensitivity(*bounds)
        event = GaussianEvent(name, sensitivity, sigma_for(sensitivity, mu))
        shape = (self._engine.n_classes, self._engine.grid.d)
        size = shape[0] * shape[1]
        noisy = self._release(
            event,
            ("gradient", *(getattr(model, field.name) for field in fields(model))),
            size,
            lambda: self._engine.exact_gradient(model),
            lambda key: rounded_gaussian(event.sigma, size, key=key),
        )
        step = model.residual_clip.step / model.row_clip.target
        return NoisyGradient(np.float64(step) * noisy.reshape(shape), event.sigma * step)
