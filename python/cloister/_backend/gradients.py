"""The kernel that sums clipped gradients of a softmax regression over rows."""

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from cloister._backend import library
from cloister._backend.device_array import RowArray
from cloister._backend.library import address
from cloister._backend.placement import Placement
from cloister._backend.tallies import check_offsets
from cloister.codes import CODE_BOUND, MOMENT_BOUND, Clip, CodeGrid
from cloister.errors import InvalidInput

MAX_LOGIT = 1e300
"""Largest logit that a model may give a row: differences of two are finite."""


@dataclass(frozen=True)
class SoftmaxRegression:
    """A public softmax regression about a public centre, on the grid.

    With a = `row_clip` of (code - centre), class j has the logit `scale * <a, weights[j]> +
    bias[j]`; the definition of the whole gradient is in cpp/kernels.hpp.

    Attributes
    ----------
    centre : array of shape (d,), int16
        On the grid, of norm at most `CODE_BOUND`.
    row_clip : Clip
        Of differences of codes, with a bound of at most `MOMENT_BOUND`. A radius of one grid step
        or less puts every row on the sphere.
    weights : array of shape (classes, d), int16
        Rows of norm at most `CODE_BOUND`.
    scale : float
        Logits a unit of the integer `<a, weights[j]>`.
    bias : array of shape (classes,), float64
    residual_clip : Clip
        Of softmax probabilities less the indicator of the row's class, vectors of norm at most
        sqrt(2); with a bound of at most `MOMENT_BOUND`.

    Raises
    ------
    InvalidInput
        If a norm, a bound or a number is outside these ranges, or logits could be infinite.
    """

    centre: NDArray[np.int16]
    row_clip: Clip
    weights: NDArray[np.int16]
    scale: float
    bias: NDArray[np.float64]
    residual_clip: Clip

    def __post_init__(self) -> None:
        _check_clip("row_clip", self.row_clip)
        _check_clip("residual_clip", self.residual_clip)
        _check_norms("centre", self.centre[None])
        _check_norms("weights", self.weights)
        if not np.isfinite(self.bias).all():
            raise InvalidInput("bias must be finite, got a NaN or an infinity; leave out the class")
        largest = abs(self.scale) * self.row_clip.bound * CODE_BOUND + np.abs(self.bias).max()
        if not largest <= MAX_LOGIT:
            raise InvalidInput(
                f"scale={self.scale} and bias allow logits of {largest:.3g}, but at most "
                f"{MAX_LOGIT:.0e} may come up; divide weights and bias by their ratio"
            )

    @classmethod
    def on_grid(
        cls,
        grid: CodeGrid,
        centre: NDArray[np.int16],
        weights: NDArray[np.float64],
        bias: NDArray[np.float64],
        *,
        radius: float,
        residual_radius: float = 0.5,
    ) -> "SoftmaxRegression":
        """Round public real weights to integers with one common step.

        Parameters
        ----------
        grid : CodeGrid
            The grid of the rows.
        centre : array of shape (d,), int16
            Public centre on the grid.
        weights : array of shape (classes, d), float64
            Logits a unit of (row - centre) / radius, clipped to norm 1. Each is rounded by at most
            half of 2^-14 of the longest one's norm (and a little for the rounding of all).
        bias : array of shape (classes,), float64
        radius : float
            Norm to which differences from the centre are clipped, in the unit of the rows.
        residual_radius : float
            Norm to which residuals are clipped.
        """
        weights = np.asarray(weights, dtype=np.float64)
        classes, d = weights.shape
        row_clip = grid.residual_clip(radius, MOMENT_BOUND)
        longest = float(np.linalg.norm(weights, axis=1).max())
        if not isfinite(longest):
            raise InvalidInput("weights must be finite, got a NaN or an infinity; lower the step")
        weight_step = longest / (CODE_BOUND - sqrt(d) / 2)
        codes = np.rint(weights / weight_step) if weight_step > 0 else np.zeros((classes, d))
        return cls(
            centre=centre,
            row_clip=row_clip,
            weights=codes.astype(np.int16),
            scale=weight_step / row_clip.target,
            bias=np.array(bias, dtype=np.float64),
            residual_clip=Clip.to_ball(residual_radius, classes, MOMENT_BOUND),
        )


def _check_clip(name: str, clip: Clip) -> None:
    if not 0 < clip.bound <= MOMENT_BOUND or not 0 < clip.target <= clip.bound:
        # Beyond it the kernel's int32 sums would wrap, and the sensitivity with them.
        raise InvalidInput(
            f"{name} needs a bound in [1, {MOMENT_BOUND}] and a target in (0, bound], got bound "
            f"{clip.bound} and target {clip.target}; fewer features or classes raise the target"
        )
    if not (clip.radius > 0 and isfinite(clip.radius) and isfinite(clip.target / clip.radius)):
        raise InvalidInput(f"{name} needs a finite positive radius, got {clip.radius}")


def _check_norms(name: str, vectors: NDArray[np.int16]) -> None:
    largest = int((vectors.astype(np.int64) ** 2).sum(axis=1).max())
    if largest > CODE_BOUND**2:
        raise InvalidInput(
            f"{name} must have norms of at most {CODE_BOUND}, got {sqrt(largest):.6g}; put them on "
            "the grid by CodeGrid.round_centres or SoftmaxRegression.on_grid"
        )


def gradient(
    codes: RowArray,
    offsets: NDArray[np.int64],
    model: SoftmaxRegression,
    out: NDArray[np.int64],
) -> None:
    """Add the sum over rows of clipped residuals times clipped rows, shape (classes, d).

    Rows are sorted by class: class g owns rows `offsets[g]` to `offsets[g + 1]`; other rows
    contribute nothing.
    """
    n, d = codes.shape
    classes = len(offsets) - 1
    check_offsets(offsets, n)
    rows, residuals = model.row_clip, model.residual_clip
    place = Placement.of(codes=codes)
    with place.kernels() as kernels:
        kernels.gradient(
            place.rows("codes", codes, np.int16, (n, d)),
            n,
            d,
            address("offsets", offsets, np.int64, (classes + 1,)),
            classes,
            address("centre", model.centre, np.int16, (d,)),
            rows.radius,
            rows.target,
            rows.bound,
            address("weights", model.weights, np.int16, (classes, d)),
            model.scale,
            address("bias", model.bias, np.float64, (classes,)),
            residuals.radius,
            residuals.target,
            residuals.bound,
            address("out", out, np.int64, (classes, d), writeable=True),
            library.num_threads(),
            0,
        )
