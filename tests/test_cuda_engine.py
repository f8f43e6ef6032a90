"""The engine of GPUs answers with the integers of the engine of the host."""

import gc

import numpy as np
import pytest

from cloister import _backend
from cloister._backend import DeviceArray
from cloister.engines import CudaEngine, LocalEngine, cuda, device_blocks
from cloister.errors import DeviceError, InvalidInput
from cloister.sources import as_source, encode_labels
from engine_answers import answers, digests, grid_of
from foreign_arrays import ForeignArray

N, D = 230, 11


@pytest.fixture
def rows(rng):
    return rng.normal(size=(N, D)) / D**0.5


@pytest.fixture
def y(rng):
    return rng.choice([0, 2, 5], size=N)


@pytest.fixture
def devices(emulated_cuda, monkeypatch):
    """Two devices, and blocks of 40 rows at most."""
    monkeypatch.setenv("CLOISTER_EMULATED_DEVICES", "2")
    monkeypatch.setattr(device_blocks, "BLOCK_BYTES", 40 * D * 2)
    return emulated_cuda


def labelled(y, n=N):
    return encode_labels(y, n, None if y is None else [0, 2, 5, 9])


def engines(rows, y, **options):
    """Return the engine of the host, and that of devices, for the same rows."""
    grid, labels = grid_of(D), labelled(y)
    on_invalid = options.get("on_invalid", "error")
    options.setdefault("devices", (0,))
    host = LocalEngine(as_source(rows), grid, labels, on_invalid=on_invalid)
    return host, CudaEngine(as_source(rows), grid, labels, **options)


def room_for(monkeypatch, blocks):
    """Let each device say that so many blocks fit, and no more."""
    left = {0: blocks, 1: blocks}

    def free_memory(device):
        left[device] -= 1
        return (2**30 if left[device] >= 0 else 0), 2**30

    monkeypatch.setattr(cuda._backend, "free_memory", free_memory)


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("chunk_rows", [None, 1, 17, 64])
def test_resident_codes(devices, rows, y, used, chunk_rows):
    host, device = engines(rows, y, devices=used, chunk_rows=chunk_rows)
    assert digests(device) == digests(host)
    assert {codes.device for codes, _ in device._blocks()} == set(used)
    assert max(len(codes) for codes, _ in device._blocks()) <= 40


@pytest.mark.parametrize("used", [(0,), (0, 1)])
@pytest.mark.parametrize("fit", [0, 1, 3])
def test_streamed_codes(devices, rows, y, used, fit, monkeypatch):
    monkeypatch.setattr(device_blocks.BlockReader, "rows_a_block", 25)
    room_for(monkeypatch, fit)
    host, device = engines(rows, y, devices=used)
    assert digests(device) == digests(host)
    assert [len(kept._resident) for kept in device._kept.values()] == [fit] * len(used)
    assert all(kept._pinned for kept in device._kept.values())


@pytest.mark.parametrize("used", [(0,), (0, 1)])
def test_rows_that_are_read_anew(devices, rows, y, used):
    host, device = engines(rows, y, devices=used, cache=False)
    assert digests(device) == digests(host)


@pytest.mark.parametrize("cache", [True, False])
def test_one_class(devices, rows, cache):
    host, device = engines(rows, None, devices=(0, 1), cache=cache)
    assert digests(device) == digests(host)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("with_classes", [True, False])
def test_dropped_rows(devices, rows, y, cache, with_classes):
    rows[[3, 60, 61, 229]] = np.nan
    rows[80:160] = np.inf  # whole blocks
    labels = y if with_classes else None
    host, device = engines(rows, labels, devices=(0, 1), on_invalid="drop", cache=cache)
    assert digests(device) == digests(host)


@pytest.mark.parametrize("cache", [True, False])
def test_no_row_is_left(devices, rows, cache):
    host, device = engines(rows * np.nan, None, on_invalid="drop", cache=cache)
    assert digests(device) == digests(host)


@pytest.mark.parametrize("cache", [True, False])
def test_invalid_rows_are_refused_as_on_the_host(devices, rows, cache):
    rows[[70, 90]] = np.nan
    with pytest.raises(InvalidInput, match=r"2 of 230 rows .* the first is row 70"):
        CudaEngine(as_source(rows), grid_of(D), labelled(None), devices=(0, 1), cache=cache)


def test_the_number_of_rows_is_not_known(devices, rows):
    batches = [rows[:50], rows[50:53], rows[53:]]
    grid = grid_of(D)
    host = LocalEngine(as_source(batches), grid, labelled(None, None))
    device = CudaEngine(as_source(iter(batches)), grid, labelled(None, None), devices=(0, 1))
    assert digests(device) == digests(host)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("used", [(0,), (0, 1)])
def test_rows_on_a_device(devices, rows, y, dtype, used):
    rows = rows.astype(dtype)
    host, _ = engines(rows, y)
    source = as_source(ForeignArray(rows), devices=used)
    device = CudaEngine(source, grid_of(D), labelled(y), devices=used)
    assert digests(device) == digests(host)
    again = CudaEngine(source, grid_of(D), labelled(y), devices=used, cache=False)
    assert digests(again) == digests(host)


def test_bfloat16_rows_on_a_device(devices, rows):
    bits = (rows.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    widened = (bits.astype(np.uint32) << 16).view(np.float32)
    host, _ = engines(widened, None)
    source = as_source(ForeignArray(bits, dtype="bfloat16"), devices=(0,))
    assert digests(CudaEngine(source, grid_of(D), labelled(None), devices=(0,))) == digests(host)


def test_rows_of_another_length_are_refused(devices, rows, y):
    with pytest.raises(InvalidInput, match="y has 230 labels, but X has 200 rows"):
        CudaEngine(as_source(rows[:200]), grid_of(D), labelled(y), devices=(0,))


def test_rows_that_change_are_refused(devices, rows):
    device = CudaEngine(
        as_source(rows), grid_of(D), labelled(None), devices=(0,), cache=False, on_invalid="drop"
    )
    rows[7] = np.nan
    with pytest.raises(InvalidInput, match=r"230 rows \(0 invalid\) at first, .* \(1 invalid\)"):
        answers(device)


def test_rows_that_can_be_read_once_need_the_cache(devices, rows):
    source = as_source(iter([rows]))
    with pytest.raises(InvalidInput, match="leave cache=True"):
        CudaEngine(source, grid_of(D), labelled(None, None), devices=(0,), cache=False)


@pytest.mark.parametrize("with_classes", [True, False])
def test_a_device_too_small_for_all_codes(devices, rows, y, with_classes, monkeypatch):
    devices.synchronize(0)
    monkeypatch.setenv("CLOISTER_EMULATED_MEMORY", "6000")
    _, device = engines(rows, y if with_classes else None)
    (kept,) = device._kept.values()
    assert kept._resident
    assert kept._pinned
    monkeypatch.delenv("CLOISTER_EMULATED_MEMORY")
    parts = [(_backend.on_host(codes), offsets) for codes, offsets in device._blocks()]
    codes = np.concatenate([codes for codes, _ in parts])
    order = np.argsort(y, kind="stable") if with_classes else np.arange(N)
    ((expected, _),) = engines(rows, None)[0]._blocks()
    assert (np.sort(codes, axis=0) == np.sort(expected, axis=0)).all()
    counts = sum(np.diff(offsets) for _, offsets in parts)
    assert counts.tolist() == (
        np.bincount(np.searchsorted([0, 2, 5, 9], y[order]), minlength=4).tolist()
        if with_classes
        else [N]
    )


def test_too_little_memory_is_a_typed_error(devices, rows, monkeypatch):
    monkeypatch.setenv("CLOISTER_EMULATED_MEMORY", "100")
    with pytest.raises(DeviceError, match=r"cuda:0 has too little free memory: .* bytes"):
        engines(rows, None)


def test_memory_comes_back(devices, rows, y):
    gc.collect()
    devices.synchronize(0)
    before = _backend.free_memory(0)
    for options in ({}, {"cache": False}):
        host, device = engines(rows, y, **options)
        answers(device)
        del host, device
    gc.collect()
    devices.synchronize(0)
    assert _backend.free_memory(0) == before


def test_a_block_that_is_mostly_empty_keeps_no_more_than_its_rows(devices, rows, monkeypatch):
    """Of an unknown number of rows the last block has room for many more."""
    monkeypatch.setattr(device_blocks, "BLOCK_BYTES", 2**26)
    devices.synchronize(0)
    before = devices.memory()[0]
    engine = CudaEngine(as_source(iter([rows])), grid_of(D), labelled(None, None), devices=(0,))
    devices.synchronize(0)
    assert before - devices.memory()[0] < 4 * D * len(rows)
    del engine


def test_uploads_wait_for_their_copies(devices, rng):
    arrays = []
    for length in (9, 4, 9, 1):
        pinned = _backend.pinned_array((length, 3), np.int16, 0)
        pinned[:] = rng.integers(-99, 99, size=pinned.shape)
        arrays.append(pinned)
    seen = [part.numpy() for part in _backend.uploads(arrays, 0)]
    assert all((a == b).all() for a, b in zip(seen, arrays, strict=True))
    assert list(_backend.uploads([], 0)) == []


def test_shares_of_devices_are_even(devices, rows):
    for used, most in (((0,), 39), ((0, 1), 39)):
        reader = device_blocks.BlockReader(as_source(rows), grid_of(D), labelled(None), None, used)
        assert reader.rows_a_block == most
    assert isinstance(
        next(iter(CudaEngine(as_source(rows), grid_of(D), labelled(None), devices=(1,))._blocks()))[
            0
        ],
        DeviceArray,
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, DeviceError])
def test_threads_of_other_devices_stop_where_one_fails(error):
    """A pool waits for all of its threads: without a word they would go through all blocks."""
    stopped = []

    def fail(stop):
        raise error("cuda:0")

    with pytest.raises(error):
        cuda._add_parts((), [fail, lambda stop: stopped.append(stop.wait(timeout=60))])
    assert stopped == [True]
