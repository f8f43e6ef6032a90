"""Rows of a source as blocks of codes on devices, sorted by class: what `CudaEngine` reads."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister._backend import DeviceArray, Devices, RowArray
from cloister.codes import CodeGrid
from cloister.engines.encoding import InvalidRows, counted_chunks
from cloister.sources import ClassLabels, Source

BLOCK_BYTES = 2**32
"""Codes of a block: so many that fetching its sums, a millisecond, is little beside its work."""

BLOCKS_OF_DEVICE = 32
"""A block is at most this part of a device's memory: several must fit beside the kept ones."""


@dataclass(frozen=True)
class DeviceBlock:
    """Some rows on one device.

    Attributes
    ----------
    device : int
    codes : DeviceArray of shape (rows, d), int16
        Sorted by class; invalid rows are left out.
    offsets : array of shape (classes + 1,), int64
        Of the classes among them.
    """

    device: int
    codes: DeviceArray
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class BlockReader:
    """Reads a source block by block; blocks go to the devices in turn.

    Attributes
    ----------
    source, grid, labels, chunk_rows
        As of `LocalEngine`.
    devices : tuple of int
    """

    source: Source
    grid: CodeGrid
    labels: ClassLabels
    chunk_rows: int | None
    devices: Devices

    @property
    def rows_a_block(self) -> int:
        """Rows of all blocks but the last, such that devices get equal shares if n is known."""
        whole = min(_backend.free_memory(device)[1] for device in self.devices)
        code_bytes = min(BLOCK_BYTES, whole // BLOCKS_OF_DEVICE)
        most = max(1, code_bytes // (2 * self.source.d))
        n = self.source.n if self.labels.exact_index is None else len(self.labels.exact_index)
        if n is None:
            return most
        share = max(1, -(-n // len(self.devices)))
        return -(-share // -(-share // most))

    def blocks(self, invalid: InvalidRows) -> Iterator[DeviceBlock]:
        """Yield all rows, and take note of invalid ones.

        Raises
        ------
        InvalidInput
            As `encoded_chunks`.
        """
        index = self.labels.exact_index
        n_labels = None if index is None else len(index)
        size = self.rows_a_block
        number, building = 0, None
        for first, rows in counted_chunks(self.source, self.chunk_rows, n_labels):
            start = 0
            while start < len(rows):
                if building is None:
                    building = _Building(self, self.devices[number % len(self.devices)], size)
                part = rows[start : start + building.room]
                building.add(part)
                invalid.see(first + start, building.valid[-len(part) :])
                start += len(part)
                if building.room == 0:
                    yield building.block(first + start)
                    number, building = number + 1, None
        if building is not None:
            yield building.block(invalid.rows)


class _Building:
    """A block that is being filled."""

    def __init__(self, reader: BlockReader, device: int, size: int) -> None:
        self._reader, self._device = reader, device
        self._codes = DeviceArray.empty((size, reader.source.d), np.int16, device)
        self._valid = np.empty(size, np.bool_)
        self._filled = 0

    @property
    def room(self) -> int:
        """Rows that it can still take."""
        return len(self._codes) - self._filled

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which of its rows so far are valid."""
        return self._valid[: self._filled]

    def add(self, rows: RowArray) -> None:
        """Encode rows that there is room for."""
        end = self._filled + len(rows)
        valid = DeviceArray.empty((len(rows),), np.bool_, self._device)
        _backend.encode(
            _moved(rows, self._device),
            self._reader.grid.encode_clip,
            self._codes[self._filled : end],
            valid,
        )
        valid.copy_to(self._valid[self._filled : end])
        self._filled = end

    def block(self, end: int) -> DeviceBlock:
        """Return the block, whose last row is the one before `end`, sorted by class."""
        codes, valid = self._codes[: self._filled], self.valid
        index = self._reader.labels.exact_index
        n_classes = len(self._reader.labels.classes)
        order = np.flatnonzero(valid)
        counts = np.array([len(order)])
        if index is not None:
            of_rows = index[end - self._filled : end][order]
            order = order[np.argsort(of_rows, kind="stable")]
            counts = np.bincount(of_rows, minlength=n_classes)
        is_mostly_empty = 2 * self._filled < len(self._codes)  # the last of an unknown number
        if is_mostly_empty or len(order) < len(codes) or (np.diff(order) < 0).any():
            codes = codes.take(order)  # a copy, as large as it has rows
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return DeviceBlock(self._device, codes, offsets)


def _moved(rows: RowArray, device: int) -> DeviceArray:
    """Return rows as they are if they lie on the device, or else a copy there."""
    if not isinstance(rows, DeviceArray):
        return DeviceArray.copy_of(rows, device)
    # Through the host: memory of one device need not be open to another.
    return rows if rows.device == device else DeviceArray.copy_of(rows.numpy(), device)
