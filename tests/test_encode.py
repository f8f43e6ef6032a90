"""encode: equal to its slow twin, the same bits everywhere, and never outside the ball."""

import ctypes

import numpy as np
import pytest

import reference
from cloister import _backend
from cloister.codes import CODE_BOUND, Clip, CodeGrid
from conftest import sha256

DTYPES = ["float32", "float64", "float16"]
FEATURES = [1, 2, 3, 15, 16, 17, 31, 33, 100, 512]


def encode(rows, clip):
    codes = np.empty(rows.shape, dtype=np.int16)
    valid = np.empty(len(rows), dtype=np.bool_)
    _backend.encode(rows, clip, codes, valid)
    return codes, valid


def norms_squared(codes):
    return (codes.astype(np.int64) ** 2).sum(axis=1)


@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_reference(target, rng, d, dtype):
    scale = rng.choice([1e-6, 0.01, 1.0, 30.0], size=(37, 1))
    rows = (rng.normal(size=(37, d)) * scale).astype(dtype)
    clip = CodeGrid(d, 1.5).row_clip
    codes, valid = encode(rows, clip)
    expected, expected_valid = reference.encode(rows, clip)
    assert (codes == expected).all()
    assert (valid == expected_valid).all()


def test_bfloat16_is_the_upper_half_of_float32(target, rng):
    rows = rng.normal(size=(20, 33)).astype(np.float32)
    upper = (rows.view(np.uint32) >> 16).astype(np.uint16)
    truncated = (upper.astype(np.uint32) << 16).view(np.float32)
    clip = CodeGrid(33, 1.0).row_clip
    codes = np.empty(rows.shape, dtype=np.int16)
    valid = np.empty(20, dtype=np.bool_)
    if target == "emulated":
        bits = _backend.DeviceArray.copy_of(upper, 0)
        halves = _backend.DeviceArray(rows.shape, "bfloat16", 0, bits.address, bits)
        assert (halves.numpy() == truncated).all()
        _backend.encode(halves, clip, codes, valid)
    else:
        code = _backend.ROW_DTYPES["bfloat16"]
        address = _backend.library.address
        _backend.library.kernels.encode(
            upper.ctypes.data, code, 33, 20, 33, clip.radius, clip.target, clip.bound,
            address("codes", codes, np.int16, (20, 33), writeable=True),
            address("valid", valid, np.bool_, (20,), writeable=True), 1, 0,
        )  # fmt: skip
    assert (codes == reference.encode(truncated, clip)[0]).all()


def test_every_float16_value(target):
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)[:, None]
    clip = CodeGrid(1, 0.5).row_clip
    codes, valid = encode(halves, clip)
    assert (valid == np.isfinite(halves[:, 0])).all()
    # Every finite half is a float32: its code is the float32 path's.
    assert (codes == encode(halves.astype(np.float32), clip)[0]).all()
    assert len(np.unique(codes)) > 10_000


def test_same_bits_for_threads_strides_and_targets(rng, restore_threads):
    wide = rng.normal(size=(1001, 80)).astype(np.float32)
    rows = wide[::2, :67]
    clip = CodeGrid(67, 4.0).row_clip
    hashes = set()
    for name in _backend.supported_targets():
        for threads in (1, 2, 8):
            _backend.set_num_threads(threads)
            with _backend.use_target(name):
                hashes.add(sha256(encode(rows, clip)[0]))
                hashes.add(sha256(encode(np.ascontiguousarray(rows), clip)[0]))
    assert len(hashes) == 1


def test_float_environment_of_the_caller_does_not_matter(target, rng):
    libm = ctypes.CDLL("libm.so.6")
    rows = (rng.normal(size=(50, 64)) * 1e-39).astype(np.float32)  # subnormals
    clip = CodeGrid(64, 1e-38).row_clip
    before = encode(rows, clip)[0]
    assert before.any()
    upward = 0x800
    assert libm.fesetround(upward) == 0
    try:
        during = encode(rows, clip)[0]
        assert libm.fegetround() == upward
    finally:
        libm.fesetround(0)
    assert (before == during).all()


def test_invalid_rows_are_flagged_and_zero(target):
    rows = np.ones((5, 3), dtype=np.float64)
    rows[0, 1], rows[2, 0], rows[3, 2] = np.nan, -np.inf, 1e39
    codes, valid = encode(rows, CodeGrid(3, 1.0).row_clip)
    assert valid.tolist() == [False, True, False, False, True]
    assert not codes[~valid].any()
    assert codes[valid].all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_random_row_leaves_the_ball(rng, dtype):
    """With every dtype and d from 1 to 4096, 10^6 rows altogether."""
    sizes = [(1, 100_000), (int(rng.integers(2, 130)), 230_000), (1000, 3_000), (4096, 500)]
    for d, n in sizes:
        rows = rng.standard_normal(size=(n, d), dtype=np.float32)
        rows *= 10.0 ** rng.uniform(-4, 4, size=(n, 1)).astype(np.float32)
        rows = np.clip(rows, -6e4, 6e4).astype(dtype)  # the range of float16
        codes, valid = encode(rows, CodeGrid(d, 1.0).row_clip)
        assert valid.all()
        assert norms_squared(codes).max() <= CODE_BOUND**2


def test_rows_that_change_while_they_are_read_stay_in_the_ball(emulated_cuda, rng):
    """Others may write to a caller's device memory between two reads; here the codes are written
    over it, eight places on, where they read as numbers far beyond the norm that was measured."""
    n, d, ahead = 16, 64, 8
    halves = rng.choice([-4000.0, 4000.0], size=(n * d + ahead)).astype(np.float16)
    memory = _backend.DeviceArray.copy_of(halves, 0)
    rows = memory[: n * d].reshape(n, d)
    codes = _backend.DeviceArray((n, d), "int16", 0, memory.address + 2 * ahead, memory)
    valid = _backend.DeviceArray.empty((n,), np.bool_, 0)
    _backend.encode(rows, CodeGrid(d, 30_000.0).row_clip, codes, valid)
    assert norms_squared(codes.numpy()).max() <= CODE_BOUND**2


def adversarial_rows(rng, d, n):
    """Rows built to round outwards: few-hot, equal, half-way, subnormal and huge coordinates."""
    rows = np.zeros((n, d))
    for i in range(n):
        kind = i % 6
        hot = rng.choice(d, size=min(d, [1, 4, d, d, d, max(1, d // 2)][kind]), replace=False)
        sign = rng.choice([-1.0, 1.0], size=len(hot))
        size = [1.0, 0.5, d**-0.5, (2 * rng.integers(0, 50) + 1) / 2 / CODE_BOUND, 1e-45, 3e38][
            kind
        ]
        rows[i, hot] = sign * size * (1 + rng.choice([-1, 0, 1]) * 2.0**-24)
    return rows


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 16, 63, 256, 1000, 4096])
def test_no_adversarial_row_leaves_the_ball(rng, d):
    n = 30_000 if d <= 64 else 1_500  # 3 dtypes: more than 10^5 rows altogether
    rows = adversarial_rows(rng, d, n)
    for dtype in DTYPES:
        for radius in (1.0, 1 / 3, 1e-45, 1e38):
            with np.errstate(over="ignore", under="ignore"):
                cast = rows.astype(dtype)
            codes, valid = encode(cast, CodeGrid(d, radius).row_clip)
            assert norms_squared(codes).max() <= CODE_BOUND**2
            assert not codes[~valid].any()


def test_integer_check_holds_when_the_floats_are_wrong(target, rng):
    """With a target beyond the bound the integer check alone must keep every row inside."""
    rows = rng.normal(size=(500, 20)).astype(np.float32)
    for excess in (0.5, 1.0, 3.0, 10.0, 1e4):
        clip = Clip(1.0, 100 + excess, 100)
        codes, _ = encode(rows, clip)
        assert norms_squared(codes).max() <= 100**2
        assert (codes == reference.encode(rows, clip)[0]).all()
    assert not encode(rows, Clip(1.0, 200.0, 100))[0].any()
    assert encode(rows, Clip(1.0, 100.5, 100))[0].any()
