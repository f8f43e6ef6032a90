"""Kernels that answer the one question: tally, moments and bins of codes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloister._backend import library
from cloister._backend.device_array import RowArray
from cloister._backend.library import address
from cloister._backend.placement import Placement
from cloister.codes import MOMENT_BOUND, Clip
from cloister.errors import InvalidInput

MOMENTS = {"full": 0, "diagonal": 1, "trace": 2}


@dataclass(frozen=True)
class Partition:
    """The public partition of a tally: `k` centres for each class, rows sorted by class.

    Attributes
    ----------
    centres : array of shape (classes, k, d), int16
        On the grid, of norm at most `CODE_BOUND`.
    offsets : array of shape (classes + 1,), int64
        Class g owns rows `offsets[g]` to `offsets[g + 1]`; other rows contribute nothing.
    """

    centres: NDArray[np.int16]
    offsets: NDArray[np.int64]

    def arguments(self, n: int, d: int) -> tuple[int, int, int, int]:
        classes, k, _ = self.centres.shape
        check_offsets(self.offsets, n)
        return (
            address("centres", self.centres, np.int16, (classes, k, d)),
            k,
            address("offsets", self.offsets, np.int64, (classes + 1,)),
            classes,
        )


def check_offsets(offsets: NDArray[np.int64], n: int) -> None:
    """Refuse ranges of classes that do not lie one after the other among n rows."""
    if offsets[0] < 0 or offsets[-1] > n or (np.diff(offsets) < 0).any():
        raise InvalidInput(f"offsets must rise from 0 to n={n}, got {offsets}")


def tally(
    codes: RowArray,
    partition: Partition,
    clip: Clip | None,
    counts: NDArray[np.int64],
    sums: NDArray[np.int64],
    labels: RowArray | None = None,
) -> None:
    """Add the counts and sums of each cell; with `clip`, sums of clipped residuals.

    `codes` and `labels` lie on the host, or both on one device; all else is the host's.
    """
    n, d = codes.shape
    classes, k, _ = partition.centres.shape
    clip = clip or Clip(0.0, 0.0, 0)
    place = Placement.of(codes=codes, labels=labels)
    with place.kernels() as kernels:
        kernels.tally(
            place.rows("codes", codes, np.int16, (n, d)),
            n,
            d,
            *partition.arguments(n, d),
            clip.radius,
            clip.target,
            clip.bound,
            address("counts", counts, np.int64, (classes, k), writeable=True),
            address("sums", sums, np.int64, (classes, k, d), writeable=True),
            place.rows("labels", labels, np.int32, (n,), writeable=True),
            library.num_threads(),
            0,
        )


def moments(
    codes: RowArray,
    partition: Partition,
    clip: Clip,
    group: NDArray[np.int64],
    moment: str,
    out: NDArray[np.int64],
) -> None:
    """Add the second moments of clipped residuals; cell j adds to `out[group[j]]`."""
    n, d = codes.shape
    classes, k, _ = partition.centres.shape
    if not 0 < clip.bound <= MOMENT_BOUND or group.min() < 0:
        # Beyond it the kernel's int32 sums would wrap, and the sensitivity with them.
        raise InvalidInput(
            f"moments need a clip bound in [1, {MOMENT_BOUND}] and groups from 0 up, got bound "
            f"{clip.bound} and group {group.min()}"
        )
    groups = int(group.max()) + 1
    size = {"full": d * (d + 1) // 2, "diagonal": d, "trace": 1}[moment]
    place = Placement.of(codes=codes)
    with place.kernels() as kernels:
        kernels.moments(
            place.rows("codes", codes, np.int16, (n, d)),
            n,
            d,
            *partition.arguments(n, d),
            clip.radius,
            clip.target,
            clip.bound,
            address("group", group, np.int64, (classes * k,)),
            MOMENTS[moment],
            address("out", out, np.int64, (groups, size), writeable=True),
            library.num_threads(),
            0,
        )


@dataclass(frozen=True)
class Grid:
    """A public grid over integer projections of the codes; without axes, one bin for all.

    Attributes
    ----------
    projections : array of shape (axes, d), int16
        Directions, of norm at most `CODE_BOUND`.
    origins, widths, cells : arrays of shape (axes,), int64
        Axis a of a row is `(<code, projection> - origin) // width`, clamped to `0 .. cells - 1`.
    """

    projections: NDArray[np.int16]
    origins: NDArray[np.int64]
    widths: NDArray[np.int64]
    cells: NDArray[np.int64]


def bins(
    codes: RowArray,
    grid: Grid,
    offsets: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Add the number of rows of each class in each bin of the grid."""
    n, d = codes.shape
    axes, classes = len(grid.cells), len(offsets) - 1
    check_offsets(offsets, n)
    if (grid.widths < 1).any() or (grid.cells < 1).any():
        raise InvalidInput("widths and cells of a grid must be at least 1")
    place = Placement.of(codes=codes)
    with place.kernels() as kernels:
        kernels.bins(
            place.rows("codes", codes, np.int16, (n, d)),
            n,
            d,
            address("projections", grid.projections, np.int16, (axes, d)),
            address("origins", grid.origins, np.int64, (axes,)),
            address("widths", grid.widths, np.int64, (axes,)),
            address("cells", grid.cells, np.int64, (axes,)),
            axes,
            address("offsets", offsets, np.int64, (classes + 1,)),
            classes,
            address(
                "counts",
                counts,
                np.int64,
                (classes, int(np.prod(grid.cells, dtype=np.int64))),
                writeable=True,
            ),
            library.num_threads(),
            0,
        )
