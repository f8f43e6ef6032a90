"""Rows for k-means on a device: `CentredRows` whose questions the device's kernels answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from cloister import _backend
from cloister._backend import CANDIDATE_BLOCK, ClosestState, DeviceArray, RowArray
from cloister.centred_rows import Array, CentredRows
from cloister.errors import InvalidInput, InvalidType
from cloister.parameters import check_features, feature_attributes, set_features

_WINDOW_BYTES = 1 << 28  # of the host's rows on their way to the device at a time
_DISTANCES = 1 << 26  # of rows to all centres, held on the device at a time
_ROOM = 8  # this part of a device's memory is left to labels, states and kernels


@dataclass(frozen=True)
class DeviceCentredRows(CentredRows):
    """The points ``values - shift``, asked about on a device.

    ``values`` lies there if it fits. Otherwise it stays on the host, page-locked, and every
    question streams it: one window is copied while the kernels look at the one before. Answers
    are the host's bits.
    """

    device: int = 0
    page_lock: _backend.PageLock | None = None

    @classmethod
    def of(cls, rows: CentredRows, device: int) -> Self:
        """Take rows of the host or of a device; those of the host are copied to `device`.

        Raises
        ------
        DeviceError
            If the device fails.
        """
        values: RowArray = rows.values
        page_lock = None
        if isinstance(values, DeviceArray):
            device = values.device
        else:
            free, whole = _backend.free_memory(device)
            if values.nbytes + whole // _ROOM <= free:
                values = DeviceArray.copy_of(values, device)
            else:
                page_lock = _backend.PageLock(values, device)
        return cls(values, rows.shift, rows.spread, None, device, page_lock)

    def take(self, indices: Array) -> Array:
        """Return points as a float32 array of the host, of shape (len(indices), d)."""
        if not isinstance(self.values, DeviceArray):
            return super().take(indices)
        rows: Array = self.values.take(np.asarray(indices, np.int64)).numpy()
        return rows if self.shift is None else rows - self.shift

    def with_codes(self, n_clusters: int) -> Self:
        """Return these rows: the device's kernels make codes of their own."""
        return self

    def zeros(self, dtype: Any) -> DeviceArray:
        """Return a zero for each row, kept where the kernels want it."""
        return DeviceArray.full((len(self),), 0, dtype, self.device)

    def placed(self, array: Array | None) -> DeviceArray | None:
        """Return an array with an entry for each row, where the kernels want it."""
        return None if array is None else DeviceArray.copy_of(array, self.device)

    def nearest(self, centres: Array, **outputs: Any) -> _backend.Changes:
        """Fill the outputs of the nearest kernel; those of the host are copied back to it."""
        moved = 0
        by_row = {name: outputs.pop(name, None) for name in ("labels", "distances", "weights")}
        lent: dict[str, Any]
        for here, values in self._windows():
            lent = {name: self._lent(array, here) for name, array in by_row.items()}
            changes = _backend.nearest(values, centres, shift=self.shift, **lent, **outputs)
            moved += changes.moved
            for name in ("labels", "distances"):
                _give_back(by_row[name], here, lent[name])
        return _backend.Changes(moved, 0)

    def all_distances(self, centres: Array, out: Array) -> None:
        """Fill `out`, float32 of shape (n, k) on the host, with squared distances."""
        step = max(1, _DISTANCES // len(centres))
        for window, values in self._windows():
            for first in range(0, len(values), step):
                part = values[first : first + step]
                found = DeviceArray.empty((len(part), len(centres)), np.float32, self.device)
                _backend.all_distances(part, centres, found, shift=self.shift)
                start = window.start + first
                found.copy_to(out[start : start + len(part)])

    def closest_state(self, candidates: int) -> ClosestState:
        """Return what k-means++ knows of the rows before there is any centre."""
        return ClosestState.without_centres(len(self), candidates, self.device)

    def closest(self, candidates: Array, state: ClosestState, **options: Any) -> Array:
        """Try candidates for the next centre of k-means++: see `_backend.closest`."""
        weights = options.pop("weights", None)
        parts = [
            _backend.closest(
                values,
                candidates,
                ClosestState(state.closest[here], state.distances[here], state.improved[here]),
                shift=self.shift,
                weights=None if weights is None else weights[here],
                **options,
            )
            for here, values in self._windows()
        ]
        return np.concatenate(parts)

    def _windows(self) -> Iterator[tuple[slice, DeviceArray]]:
        """Yield consecutive rows on the device: all at once, or as many as are on their way."""
        if isinstance(self.values, DeviceArray):
            yield slice(0, len(self)), self.values
            return
        row_bytes = self.values[:1].nbytes
        # Windows begin where blocks of candidates do, which are added up in order.
        rows = max(1, _WINDOW_BYTES // row_bytes // CANDIDATE_BLOCK) * CANDIDATE_BLOCK
        windows = [slice(first, first + rows) for first in range(0, len(self), rows)]
        arrays = [self.values[window] for window in windows]
        yield from zip(windows, _backend.uploads(arrays, self.device), strict=True)

    def _lent(self, array: RowArray | None, here: slice) -> DeviceArray | None:
        if array is None or isinstance(array, DeviceArray):
            return None if array is None else array[here]
        return DeviceArray.copy_of(array[here], self.device)


def _give_back(array: RowArray | None, here: slice, lent: DeviceArray | None) -> None:
    if lent is not None and isinstance(array, np.ndarray):
        lent.copy_to(array[here])


def placed_on(devices: _backend.Devices, rows: CentredRows) -> CentredRows:
    """Return the rows for the first of these devices; without any, as they are."""
    return DeviceCentredRows.of(rows, devices[0]) if devices else rows


def checked_on_device(model: Any, X: DeviceArray, *, reset: bool) -> Any:
    """Return rows on a device for a KMeans, which notes their features with `reset`.

    Raises
    ------
    InvalidInput, InvalidType
        If they are not float32, there are none, or they have other features than the fit.
    """
    if X.dtype_name != "float32":
        raise InvalidType(
            f"X has dtype {X.dtype_name}, but KMeans takes float32 rows on a device; convert it "
            "there first"
        )
    if not X.size:
        raise InvalidInput(f"X has shape {X.shape}: there is nothing to cluster")
    looked_at = np.empty((0, X.shape[1]), np.float32)
    if reset:
        set_features(model, feature_attributes(looked_at))
    else:
        check_features(model, looked_at)
    return X
