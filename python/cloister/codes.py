"""Codes: rows clipped to a public norm and rounded to a public integer grid.

Every private sum is a sum of codes, so its sensitivity is a statement about integers: a code has
integer norm at most `CODE_BOUND` (checked by the kernel in integers, whatever the floats did).
"""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput

CODE_BOUND = 2**14
"""Largest Euclidean norm of a code: scores fit int32, codes fit int16."""

MOMENT_BOUND = 2**11
"""Largest norm of a code whose products are summed: 511 of them fit int32."""

MAX_FEATURES = 2**16
"""Largest d: beyond it rounding (norm sqrt(d)/2) would eat the moment grid."""

MAX_ROWS = 2**32
"""Public bound on n: MAX_ROWS * CODE_BOUND and MAX_ROWS * MOMENT_BOUND**2 stay below 2^63."""

LEAST_NORM = 2.0**-149
"""Norm of the smallest float32 vector but zero."""


@dataclass(frozen=True)
class Clip:
    """How a vector becomes a code: see `Clip` in cpp/kernels.hpp.

    Attributes
    ----------
    radius : float
        Norm beyond which a vector is shortened, in the vector's own unit.
    target : float
        Norm, in grid steps, that a vector of norm `radius` gets: `bound - sqrt(d) / 2`, so that
        rounding cannot leave the ball.
    bound : int
        Largest integer norm of a code.
    """

    radius: float
    target: float
    bound: int

    @classmethod
    def to_ball(cls, radius: float, d: int, bound: int = CODE_BOUND) -> "Clip":
        """Clip vectors of d coordinates to `radius` > 0 and spread that ball over the grid."""
        if not radius > 0:
            raise InvalidInput(f"radius={radius}, but a clip needs a ball of positive radius")
        return cls(float(radius), bound - sqrt(d) / 2, bound)

    @property
    def step(self) -> float:
        """One grid step in the vector's own unit."""
        return self.radius / self.target


@dataclass(frozen=True)
class CodeGrid:
    """The public grid of a fit: d features inside a ball of radius `clip_norm`.

    Attributes
    ----------
    d : int
        Number of features.
    clip_norm : float
        Public radius R: rows of larger norm are shortened to it.
    normalize : bool
        Put every row but zero on the unit sphere; the encode kernel does it, so that the norm is a
        pure function of the row. `clip_norm` is then 1.

    Raises
    ------
    InvalidInput
        With `normalize`, if `clip_norm` is not 1.
    """

    d: int
    clip_norm: float
    normalize: bool = False

    def __post_init__(self) -> None:
        if self.normalize and self.clip_norm != 1.0:
            raise InvalidInput(
                f"clip_norm={self.clip_norm}, but rows that are normalized have norm 1; leave "
                "clip_norm=1.0"
            )

    @property
    def row_clip(self) -> Clip:
        """The clip of the ball of radius `clip_norm`; its step is the unit of codes."""
        return Clip.to_ball(self.clip_norm, self.d)

    @property
    def encode_clip(self) -> Clip:
        """The clip that makes codes of rows: `row_clip`, or one whose ball holds only zero."""
        clip = self.row_clip
        return replace(clip, radius=LEAST_NORM) if self.normalize else clip

    def residual_clip(self, radius: float, bound: int = CODE_BOUND) -> Clip:
        """Clip differences of codes to `radius` (in the unit of the rows)."""
        return Clip.to_ball(radius / self.row_clip.step, self.d, bound)

    def residual_step(self, radius: float, bound: int = CODE_BOUND) -> float:
        """One grid step of `residual_clip(radius, bound)`, in the unit of the rows."""
        return self.residual_clip(radius, bound).step * self.row_clip.step

    def round_centres(self, centres: NDArray[np.float64]) -> NDArray[np.int16]:
        """Put public centres on the grid, inside the ball of norm `CODE_BOUND`.

        Parameters
        ----------
        centres : array of shape (..., d)
            Public points, in the unit of the rows.

        Returns
        -------
        array of shape (..., d), int16
        """
        scaled = np.asarray(centres, dtype=np.float64) / self.row_clip.step
        norms = np.linalg.norm(scaled, axis=-1, keepdims=True)
        scaled *= self.row_clip.target / np.maximum(norms, self.row_clip.target)
        return np.rint(scaled).astype(np.int16)

    def decode(self, codes: NDArray[np.int16]) -> NDArray[np.float64]:
        """Points of the grid in the unit of the rows."""
        return np.asarray(codes * self.row_clip.step, dtype=np.float64)
