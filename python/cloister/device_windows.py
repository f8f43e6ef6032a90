"""A table that a device is asked about again and again, whether it fits there or not."""

from collections.abc import Iterator
from typing import Any

from cloister import _backend
from cloister._backend import CANDIDATE_BLOCK, DeviceArray

_WINDOW_BYTES = 1 << 28  # on their way to the device at a time
_ROOM = 8  # this part of a device's memory is left to centres and kernels
# And so many bytes for each row: closest distances to 13 candidates of k-means++, those of 65,536
# clusters, their bits and weights; later keys, labels, weights and distances, which are fewer.
_STATE_BYTES = 72


class DeviceWindows:
    """Rows of one table, on a device as a whole or streamed to it window by window.

    Parameters
    ----------
    values : array of shape (n, d), or DeviceArray
        Of the host it is copied to the device if it fits there. Otherwise it stays where it is,
        page-locked: one window is copied while the kernels look at the one before.
    device : int
        That of a DeviceArray is taken instead.

    Attributes
    ----------
    values : array or DeviceArray
        Where the rows are kept.
    device : int
    page_lock : PageLock or None
        Of rows that stay on the host.

    Raises
    ------
    DeviceError
        If the device fails.
    """

    def __init__(self, values: Any, device: int) -> None:
        self.page_lock: _backend.PageLock | None = None
        self.values, self.device = values, device
        if isinstance(values, DeviceArray):
            self.device = values.device
            return
        free, whole = _backend.free_memory(device)
        if values.nbytes + _STATE_BYTES * len(values) + whole // _ROOM <= free:
            self.values = DeviceArray.copy_of(values, device)
        else:
            self.page_lock = _backend.PageLock(values, device)

    def __iter__(self) -> Iterator[tuple[slice, DeviceArray]]:
        """Yield which rows, and they themselves on the device until the next are asked for."""
        n = len(self.values)
        if isinstance(self.values, DeviceArray):
            yield slice(0, n), self.values
            return
        # Windows begin where blocks of k-means++ candidates do, which are added up in order.
        blocks = _WINDOW_BYTES // self.values[:1].nbytes // CANDIDATE_BLOCK
        rows = max(1, blocks) * CANDIDATE_BLOCK
        windows = [slice(first, min(first + rows, n)) for first in range(0, n, rows)]
        arrays = [self.values[window] for window in windows]
        yield from zip(windows, _backend.uploads(arrays, self.device), strict=True)
