"""The slow, obvious twin of the kernel sample_mixture: same operations, one array at a time."""

import numpy as np

f32 = np.float32


def fused_multiply_add(a, b, c):
    """float32(a * b + c) rounded once.

    The product of two float32 is exact in float64. Their float64 sum is rounded to odd: a sum that
    is not exact gets an odd last bit, so that the second rounding, to 29 bits fewer, sees on which
    side of a tie it lay (Boldo and Melquiond 2008).
    """
    a, b, c = np.broadcast_arrays(*(np.asarray(x, f32).astype(np.float64) for x in (a, b, c)))
    product = a * b
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)  # Knuth's TwoSum: exact
    bits = total.view(np.int64)
    even = (bits & 1) == 0
    away = np.where((error > 0) == (total > 0), 1, -1)
    return (bits + np.where((error != 0) & even, away, 0)).view(np.float64).astype(f32)


def philox4x32_10(counter, key):
    """Philox4x32-10 (Salmon et al. 2011): counter (4, ...) and key (2,) of uint32 in uint64."""
    counter = [np.asarray(word, np.uint64) for word in counter]
    key = [np.uint64(word) for word in key]
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        product0 = counter[0] * np.uint64(0xD2511F53)
        product1 = counter[2] * np.uint64(0xCD9E8D57)
        counter = [
            (product1 >> np.uint64(32)) ^ counter[1] ^ key[0],
            product1 & low,
            (product0 >> np.uint64(32)) ^ counter[3] ^ key[1],
            product0 & low,
        ]
        key = [(key[0] + np.uint64(0x9E3779B9)) & low, (key[1] + np.uint64(0xBB67AE85)) & low]
    return np.array(counter)


def words(seed, first_row, n, count):
    """(n, count) random words: word w of a row is output w % 4 of block w // 4."""
    row = np.arange(n, dtype=np.uint64)[:, None] + np.uint64(first_row)
    block = np.arange((count + 3) // 4, dtype=np.uint64)[None, :]
    row, block = np.broadcast_arrays(row, block)
    zero = np.zeros_like(row)
    low = np.uint64(0xFFFFFFFF)
    counter = [row & low, row >> np.uint64(32), block, zero]
    blocks = philox4x32_10(counter, (seed & 0xFFFFFFFF, seed >> 32))
    return np.moveaxis(blocks, 0, -1).reshape(n, -1)


def _horner(coefficients, x):
    value = np.full_like(x, f32(float.fromhex(coefficients[-1])))
    for coefficient in coefficients[-2::-1]:
        value = fused_multiply_add(value, x, f32(float.fromhex(coefficient)))
    return value


def _halves(integer):
    """float32(integer + 1/2), correctly rounded."""
    return (integer.astype(np.float64) + 0.5).astype(f32)


# As in cpp/normal.inl.
# fmt: off
LOGARITHM = [
    "0x1.fffff8p-1", "-0x1.555550p-1", "0x1.000428p-1", "-0x1.99a402p-2", "0x1.54274ap-2",
    "-0x1.22709cp-2", "0x1.0f375cp-2", "-0x1.084e00p-2", "0x1.383d96p-3",
]
# fmt: on
SINE = ["0x1.921fb6p-1", "-0x1.4abbbap-4", "0x1.465ec6p-9", "-0x1.2d9bb8p-15"]
COSINE = ["-0x1.3bd3ccp-2", "0x1.03c1dep-6", "-0x1.55c664p-12", "0x1.d9f7bap-19"]


def radius(word):
    """sqrt(-2 ln u) of u = (word + 1/2) / 2^32, in the kernel's float32 steps."""
    mantissa, exponent = np.frexp(_halves(word))
    small = mantissa < f32(np.sqrt(0.5))
    mantissa = np.where(small, 2 * mantissa, mantissa)
    exponent = np.where(small, exponent - 1, exponent)
    complement = -_halves(np.uint64(0xFFFFFFFF) - word) * f32(2.0**-32)
    # For word + 1/2 that rounds to 2^32, frexp says 1/2 * 2^33: the step above made it 1 * 2^32.
    f = np.where(exponent == 32, complement, mantissa - f32(1))
    slope = fused_multiply_add(_horner(LOGARITHM, f), f, f32(-2))
    ln_2 = f32(float.fromhex("-0x1.62e430p+0"))
    return np.sqrt(fused_multiply_add((exponent - 32).astype(f32), ln_2, f * slope))


def circle(word):
    """cos and sin of 2 pi (word + 1/2) / 2^32, in the kernel's float32 steps."""
    quadrant = ((word + np.uint64(2**29)) >> np.uint64(30)) & np.uint64(3)
    rest = word.astype(np.int64) - (quadrant.astype(np.int64) << 30)
    rest = np.where(rest >= 2**29, rest - 2**32, rest)  # the last half of quadrant 3 wraps to 0
    y = _halves(rest) * f32(2.0**-29)
    square = y * y
    sine = y * _horner(SINE, square)
    cosine = fused_multiply_add(_horner(COSINE, square), square, f32(1))
    turned = [(cosine, sine), (-sine, cosine), (-cosine, -sine), (sine, -cosine)]
    return (
        np.choose(quadrant.astype(np.int64), [pair[0] for pair in turned]),
        np.choose(quadrant.astype(np.int64), [pair[1] for pair in turned]),
    )


def normals(seed, first_row, n, count):
    """(n, count) standard normals z_0 .. z_(count - 1) of each row."""
    word = words(seed, first_row, n, count)
    cosine, sine = circle(word[:, 1::2])
    length = radius(word[:, 0::2])
    return np.stack([length * cosine, length * sine], axis=-1).reshape(n, -1)[:, :count]


def sample_mixture(seed, first_row, mixture, components):
    """Rows first_row .. first_row + len(components); mixture as in kernels.hpp, without rank."""
    means, factors, scales, covariance_of = mixture
    n, d, rank = len(components), means.shape[1], factors.shape[1]
    z = normals(seed, first_row, n, rank + (0 if scales is None else d))
    covariance = covariance_of[components]
    deviation = np.zeros((n, d), f32)
    for t in range(rank):
        deviation = fused_multiply_add(z[:, t, None], factors[covariance, t], deviation)
    if scales is not None:
        deviation = fused_multiply_add(z[:, rank:], scales[covariance], deviation)
    return means[components] + (deviation + f32(0))  # -0 counts as +0
