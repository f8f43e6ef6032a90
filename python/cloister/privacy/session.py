"""The course of every private fit: check, pay, read the rows, release, state the guarantee.

The order is what the guarantee and the budget rest on: everything that can be checked without rows
is checked first, then the whole cost is reserved durably, and only then are rows read (but for the
first of an iterable or of an Arrow stream, which tell d). If the rows turn out to be invalid before
anything was released, the reservation is given back.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from cloister._backend import Devices, check_device, resolve_devices
from cloister.codes import CodeGrid
from cloister.engines import CudaEngine, Engine, LocalEngine, StreamedEngine
from cloister.errors import CloisterError, InvalidInput, InvalidType
from cloister.parameters import check_choice, check_flag, check_integer, check_real
from cloister.privacy.accounting import mu_from_epsilon
from cloister.privacy.guarantee import ROW_PURITIES, PrivacyGuarantee
from cloister.privacy.ledger import Budget, Reservation
from cloister.privacy.ledger_checks import checked_name
from cloister.privacy.release import Release
from cloister.sources import ClassLabels, DeviceSource, Source, require_rereadable
from cloister.version import __version__

# Shares of mu^2 are float64 and may add up to a few units in the last place more than 1. The limit
# itself has no tolerance.
SHARE_MARGIN = 1e-12


@dataclass(frozen=True)
class PrivacyParameters:
    """The checked privacy parameters of an estimator.

    Attributes
    ----------
    epsilon, delta : float
        Total budget of the fit; infinite epsilon adds no noise.
    clip_norm : float
        Public radius R of the rows.
    on_invalid : {"error", "drop"}
        See `LocalEngine`.
    cache : bool
        Keep the codes of all rows, or read the rows anew for every question.
    device : str
        Where questions are answered; see `resolve_devices`. It shapes no release.
    budget : Budget or None
        The data set's ledger.
    fit_name : str or None
        Under which an interrupted fit is resumed.
    unsafe_noise_seed : int or None
        Repeatable noise for tests and research: promises nothing.
    encoder_id : str or None
        The public encoder that made the rows.
    row_purity : {"strict", "measured", "unchecked"} or None
        Whether it makes a row of one record alone.
    """

    epsilon: float
    delta: float
    clip_norm: float
    on_invalid: str
    cache: bool
    device: str
    budget: Budget | None
    fit_name: str | None
    unsafe_noise_seed: int | None
    encoder_id: str | None
    row_purity: str | None

    @classmethod
    def of(cls, estimator: Any) -> "PrivacyParameters":
        """Check the parameters that every private estimator has.

        Raises
        ------
        InvalidInput, InvalidType
            Naming the parameter at fault.
        """
        seed = estimator.unsafe_noise_seed
        if seed is not None:
            seed = check_integer(
                "unsafe_noise_seed", seed, 0, 2**64 - 1, way_out="None draws private noise"
            )
        if estimator.budget is not None and not isinstance(estimator.budget, Budget):
            raise InvalidType(
                f"budget must be a cloister.Budget or None, got {type(estimator.budget).__name__}; "
                "open one with Budget(path, dataset, epsilon, delta)"
            )
        names = {name: getattr(estimator, name) for name in ("fit_name", "encoder_id")}
        for name, value in names.items():
            if value is not None and not isinstance(value, str):
                raise InvalidType(f"{name} must be a string or None, got {value!r}")
            names[name] = value if value is None else checked_name(name, value)
        if seed is not None and estimator.budget is not None:
            raise InvalidInput(
                f"unsafe_noise_seed={seed} cannot be paid from {estimator.budget!r}: noise that "
                "can be repeated can be subtracted, so such a fit costs epsilon=inf; leave one out"
            )
        return cls(
            epsilon=check_real(
                "epsilon", estimator.epsilon, 1e-6, way_out="try 1.0; float('inf') adds no noise"
            ),
            delta=check_real(
                "delta", estimator.delta, 1e-100, 0.5, way_out="a public constant such as 1e-5"
            ),
            clip_norm=check_real(
                "clip_norm",
                estimator.clip_norm,
                1e-10,
                1e10,
                way_out="1.0 suits unit-norm rows; rescale rows of another size",
            ),
            on_invalid=check_choice("on_invalid", estimator.on_invalid, ("error", "drop")),
            cache=check_flag("cache", estimator.cache),
            device=check_device(estimator.device),
            budget=estimator.budget,
            unsafe_noise_seed=seed,
            row_purity=_checked_purity(estimator.row_purity),
            **names,
        )

    @property
    def mu(self) -> float:
        """Total Gaussian-DP parameter that the releases of the fit may use up."""
        return mu_from_epsilon(self.epsilon, self.delta)

    def devices(self) -> Devices:
        """Return the GPUs to be used, none for the processor.

        Raises
        ------
        DeviceError
            If a GPU is asked for and there is none.
        """
        return resolve_devices(self.device)

    def mu_of_share(self, share: float) -> float:
        """Gaussian-DP parameter of a release that takes this share of mu^2."""
        return self.mu * (1 - SHARE_MARGIN) * float(np.sqrt(share))


def _checked_purity(value: Any) -> str | None:
    return None if value is None else check_choice("row_purity", value, ROW_PURITIES)


@contextmanager
def private_session(
    parameters: PrivacyParameters,
    source: Source,
    read_labels: Callable[[], ClassLabels],
    public_parameters: dict[str, Any],
    grid: CodeGrid | None = None,
) -> Iterator[Release]:
    """Pay for a fit, encode its rows, and yield the release that answers about them.

    Parameters
    ----------
    parameters : PrivacyParameters
        Checked already.
    source : Source
        The private rows.
    read_labels : callable
        Reads their classes, once the fit is paid for.
    public_parameters : dict
        All that shapes the fit, for the ledger; JSON values, nothing read off the rows.
    grid : CodeGrid, optional
        The public grid; by default that of the ball of radius `clip_norm`.

    Raises
    ------
    BudgetExceeded
        Before any row is read, if the budget cannot pay.
    InvalidInput
        If a row or label is invalid (the reservation is given back), or if the rows can be read
        only once and `cache` is False.
    DeviceError
        Before anything is spent, if there is no such device; later, if it has too little memory.
    """
    devices = parameters.devices()
    if not parameters.cache:
        require_rereadable(source, "leave cache=True")
    reservation = None
    if parameters.budget is not None:
        reservation = parameters.budget.reserve(
            parameters.fit_name,
            parameters.mu**2,
            # Another version may plan other releases: stored ones would then be paid for twice.
            {**public_parameters, "cloister_version": __version__},
        )
    grid = grid or CodeGrid(source.d, parameters.clip_norm)
    try:
        engine = _engine(parameters, devices, source, grid, read_labels())
    except CloisterError:
        _give_back(reservation)
        raise
    # What a fit asks next follows from what it makes of answers, which BLAS adds up in an order of
    # its threads: a resumed fit must ask the same. Kernels have threads of their own.
    with threadpool_limits(1):
        yield Release(
            engine,
            mu_limit=parameters.mu,
            reservation=reservation,
            unsafe_noise_seed=parameters.unsafe_noise_seed,
        )
    if reservation is not None:
        reservation.finish()


def _engine(
    parameters: PrivacyParameters,
    devices: Devices,
    source: Source,
    grid: CodeGrid,
    labels: ClassLabels,
) -> Engine:
    """Return who answers: the integers are the same, so nothing but speed depends on it."""
    if isinstance(source, DeviceSource) and source.array.device in devices:
        devices = (source.array.device,)  # where the rows are, rather than where all GPUs are
    if devices:
        return CudaEngine(
            source,
            grid,
            labels,
            devices=devices,
            on_invalid=parameters.on_invalid,
            cache=parameters.cache,
        )
    make = LocalEngine if parameters.cache else StreamedEngine
    return make(source, grid, labels, on_invalid=parameters.on_invalid)


def _give_back(reservation: Reservation | None) -> None:
    """Cancel a reservation of which nothing left; a resumed fit's rounds stay paid for."""
    if reservation is not None and not reservation.has_rounds():
        reservation.cancel()


def state_guarantee(
    release: Release,
    parameters: PrivacyParameters,
    *,
    classes_from_data: bool = False,
    transform: str | None = None,
) -> PrivacyGuarantee:
    """Return the guarantee of everything that was released."""
    return PrivacyGuarantee.of(
        release.events,
        parameters.delta,
        unsafe_noise_seed=parameters.unsafe_noise_seed is not None,
        clip_norm=parameters.clip_norm,
        classes_from_data=classes_from_data,
        transform=transform,
        encoder_id=parameters.encoder_id,
        row_purity=parameters.row_purity,
    )


def public_seed(random_state: Any, fit_name: str | None = None) -> int:
    """Turn `random_state` into one seed for public randomness; it never seeds noise.

    Parameters
    ----------
    random_state : None, int, numpy Generator or RandomState
    fit_name : str, optional
        With `random_state=None`, gives the seed: a fit that resumes must ask the same questions.

    Raises
    ------
    InvalidType, InvalidInput
        If it is none of these.
    """
    if random_state is None and fit_name is not None:
        return int.from_bytes(hashlib.sha256(fit_name.encode()).digest()[:8])
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return check_integer(
        "random_state", random_state, 0, 2**64 - 1, way_out="None draws a seed for each fit"
    )
