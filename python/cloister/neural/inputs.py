"""What the probe accepts: parameters, arrays and seeds checked, rows split and measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import CloisterError, InvalidInput, InvalidType
from cloister.transforms import apply_transform
from cloister.whitening import PublicWhitening

# Rows that are converted to float64, standardised or classified at a time, whatever n is.
CHUNK = 2048
# Standardised coordinates beyond this are cut, so that any finite row has a finite answer.
LARGEST_COORDINATE = 1e6
LARGEST_FLOAT32 = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


@contextmanager
def typed_errors(argument: str) -> Iterator[None]:
    """Turn the errors of scikit-learn's validation into cloister's, naming the argument."""
    try:
        yield
    except CloisterError:
        raise
    except ValueError as error:
        raise InvalidInput(f"{argument}: {error}") from error
    except TypeError as error:
        raise InvalidType(f"{argument}: {error}") from error


def check_number(name: str, value: Any, kind: type[Any], least: float, below: float) -> None:
    """Require a number of the given kind in [least, below)."""
    if not isinstance(value, kind) or isinstance(value, bool | np.bool_):
        wanted = "an integer" if kind is Integral else "a real number"
        raise InvalidType(f"{name} must be {wanted}, got {value!r} of type {type(value).__name__}")
    number: Any = value
    if not least <= number < below:
        raise InvalidInput(f"{name} must be at least {least} and below {below}, got {value!r}")


def as_numpy(array: Any) -> Any:
    """Return a torch tensor as a numpy array, without a copy where it can be; else the input."""
    torch = sys.modules.get("torch")  # a tensor cannot exist before torch was imported
    if torch is None or not isinstance(array, torch.Tensor):
        return array
    array = array.detach().cpu()
    return (array.float() if array.dtype == torch.bfloat16 else array).numpy()


def as_generator(random_state: Any) -> np.random.Generator:
    """Return the generator that `random_state` stands for."""
    if isinstance(random_state, np.random.RandomState):
        random_state = int(random_state.randint(2**31 - 1))
    elif random_state is not None and not isinstance(random_state, np.random.Generator):
        if not isinstance(random_state, Integral) or isinstance(random_state, bool):
            raise InvalidType(
                "random_state must be an integer, a numpy Generator or RandomState, or None, "
                f"got {random_state!r} of type {type(random_state).__name__}"
            )
        if random_state < 0:
            raise InvalidInput(f"random_state must be at least 0, got {random_state}")
    return np.random.default_rng(random_state)


def center_and_scale(rows: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Return the mean row, and the root mean square of the centred coordinates of all rows."""
    n, d = rows.shape
    chunks = [rows[i : i + CHUNK] for i in range(0, n, CHUNK)]  # views
    with np.errstate(over="ignore", invalid="ignore"):
        center = sum(chunk.sum(axis=0, dtype=np.float64) for chunk in chunks) / n
        squares = sum(float(np.square(chunk - center).sum()) for chunk in chunks)
    scale = float(np.sqrt(squares / (n * d)))
    if not np.isfinite(scale):
        raise InvalidInput(
            f"X: the largest magnitude, {np.abs(rows).max():.3g}, is too large to measure the "
            "spread of the rows in float64; rescale them, for example to unit length"
        )
    # Rows that differ by rounding alone are constant: dividing would turn rounding into signal.
    rounding = float(np.finfo(np.float32).eps) * float(np.abs(center).max())
    return np.asarray(center), scale if scale > rounding else 1.0


def standardise(
    rows: NDArray[Any],
    transform: str | PublicWhitening | None,
    center: NDArray[np.float64],
    scale: float,
) -> NDArray[np.float32]:
    """Return rows as the network sees them: transformed, centred and divided by the scale."""
    if transform is not None:
        if rows.dtype == np.float64:  # the transform is one of float32
            rows = np.clip(rows, *LARGEST_FLOAT32)
        rows = apply_transform(transform, rows)
    # float64 rows are shifted in float64: their offset may exceed the resolution of float32.
    wide = np.float64 if rows.dtype == np.float64 else np.float32
    with np.errstate(over="ignore"):
        shifted = rows.astype(wide) - center.astype(wide)
        shifted /= wide(scale)
    np.clip(shifted, -LARGEST_COORDINATE, LARGEST_COORDINATE, out=shifted)
    standardised: NDArray[np.float32] = shifted.astype(np.float32, copy=False)
    return standardised


def split(
    targets: NDArray[np.intp], fraction: float, generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices to train on, and those held out: a share of each class, rounded down."""
    order = generator.permutation(len(targets))
    by_class = [order[targets[order] == c] for c in range(int(targets.max()) + 1)]
    held_out = np.concatenate([rows[: int(fraction * len(rows))] for rows in by_class])
    is_held_out = np.zeros(len(targets), dtype=bool)
    is_held_out[held_out] = True
    return np.flatnonzero(~is_held_out), held_out
