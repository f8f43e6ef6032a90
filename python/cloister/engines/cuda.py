"""The engine of GPUs: codes on the devices, or streamed to them, and the integers of the host."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from threading import Event

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister._backend import Devices
from cloister.codes import CodeGrid
from cloister.engines.device_blocks import BlockReader, DeviceBlock
from cloister.engines.encoding import InvalidRows, Readings
from cloister.engines.tallies import Ask, Block, BlockEngine, Sums
from cloister.sources import ClassLabels, Source, require_rereadable

BLOCKS_LEFT = 4
"""Kept free on a device: room for a block that is built, its order, and two that are streamed."""

SCRATCH_SHARE = 16
"""And this part of its memory, for the tables of kernels."""


class CudaEngine(BlockEngine):
    """Answers as `LocalEngine` does, by the kernels of one or several GPUs.

    The guarantee is the same, and for the same reason: a row's code and its cell are pure
    functions of that row and of public numbers, in integers or in float64 operations that are
    specified one by one, and answers are integer sums. So they are the integers that `LocalEngine`
    answers, bit for bit, whatever the devices, the blocks and their order; noise is added to them
    on the host, by the same release.

    Parameters
    ----------
    source, grid, labels, on_invalid, chunk_rows
        As of `LocalEngine`. Rows on a device stay there.
    devices : tuple of int
        Numbers of the GPUs, which share the rows out; at least one.
    cache : bool, default=True
        Keep the codes of all rows; or read the rows anew for every question, as `StreamedEngine`
        does.

    Raises
    ------
    InvalidInput
        If a row is invalid and `on_invalid="error"`, or if `cache` is False and the source can be
        read only once.
    DeviceError
        If a device has too little memory for a few blocks.

    Notes
    -----
    Codes, 2 n d bytes, are kept on the devices as far as these have room, and the rest in
    page-locked memory of the host, from which each question streams them: one block is copied
    while the kernels look at the one before. Each device has a thread of its own if there are
    several.
    """

    def __init__(
        self,
        source: Source,
        grid: CodeGrid,
        labels: ClassLabels,
        *,
        devices: Devices,
        on_invalid: str = "error",
        chunk_rows: int | None = None,
        cache: bool = True,
    ) -> None:
        super().__init__(grid, len(labels.classes))
        if not cache:
            require_rereadable(source, "leave cache=True")
        self._reader = BlockReader(source, grid, labels, chunk_rows, devices)
        self._devices, self._on_invalid = devices, on_invalid
        self._readings = Readings()
        self._kept = {device: _Kept(device) for device in devices} if cache else None
        for block in self._read():
            if self._kept is not None:
                self._kept[block.device].keep(block)

    def _read(self) -> Iterator[DeviceBlock]:
        invalid = InvalidRows()
        for block in self._reader.blocks(invalid):
            if len(block.codes):
                yield block
        if self._on_invalid == "error":
            invalid.refuse()
        self._readings.compare(invalid)

    def _blocks(self) -> Iterator[Block]:
        if self._kept is None:
            for block in self._read():
                yield block.codes, block.offsets
            return
        for kept in self._kept.values():
            yield from kept.blocks()

    def _add_up(self, ask: Ask, sums: Sums) -> None:
        """Ask about the blocks of all devices at the same time."""
        if len(self._devices) == 1:
            super()._add_up(ask, sums)
        elif self._kept is not None:
            parts = [partial(_asked, ask, sums, kept.blocks) for kept in self._kept.values()]
            _add_parts(sums, parts)
        else:
            # Blocks come to the devices in turn: so many at a time have one each.
            reading = self._read()
            while few := list(islice(reading, len(self._devices))):
                blocks = [(block.codes, block.offsets) for block in few]
                _add_parts(sums, [partial(_asked, ask, sums, partial(iter, [b])) for b in blocks])


class _Kept:
    """The blocks that one device keeps, and those that the host keeps for it."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._resident: list[Block] = []
        self._pinned: list[NDArray[np.int16]] = []
        self._offsets: list[NDArray[np.int64]] = []  # of those

    def keep(self, block: DeviceBlock) -> None:
        free, whole = _backend.free_memory(self._device)
        if free >= BLOCKS_LEFT * block.codes.nbytes + whole // SCRATCH_SHARE:
            self._resident.append((block.codes, block.offsets))
            return
        codes = _backend.pinned_array(block.codes.shape, np.int16, self._device)
        block.codes.copy_to(codes)
        self._pinned.append(codes)
        self._offsets.append(block.offsets)

    def blocks(self) -> Iterator[Block]:
        yield from self._resident
        yield from zip(_backend.uploads(self._pinned, self._device), self._offsets, strict=True)


def _asked(ask: Ask, shaped: Sums, blocks: Callable[[], Iterator[Block]], stop: Event) -> Sums:
    """Return what is added up over some blocks, in arrays shaped like `shaped`."""
    own = tuple(np.zeros_like(each) for each in shaped)
    for block in blocks():
        if stop.is_set():
            break
        ask(block, own)
    return own


def _add_parts(sums: Sums, parts: Sequence[Callable[[Event], Sums]]) -> None:
    """Add what each part returns, modulo 2^64; each runs in a thread of its own."""
    stop = Event()
    with ThreadPoolExecutor(len(parts)) as pool:
        futures = [pool.submit(part, stop) for part in parts]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()  # after a signal or a failure: the pool is left when all threads are done
    # All of them first: where one failed, what others found is not whole.
    for found in [future.result() for future in futures]:
        for total, own in zip(sums, found, strict=True):
            np.add(total, own, out=total)
