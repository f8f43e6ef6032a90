"""The slow, obvious twin of the noise kernel: the same digits, exact fractions, no filter."""

from collections import Counter
from fractions import Fraction
from itertools import count
from math import ceil, floor

import mpmath
import numpy as np

BASE = 2**16
DIGIT_COUNTER = 2**31  # of the cipher block that holds the first digit
SAMPLES_PER_BLOCK = 4096


def chacha20_blocks(key, counters, nonce):
    """64-byte blocks of RFC 8439, section 2.3, one row a counter."""

    def rotate(x, bits):
        return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))

    def quarter_round(a, b, c, d):
        for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] += state[y]
            state[z] = rotate(state[z] ^ state[x], bits)

    counters = np.asarray(counters, dtype="<u4")
    words = np.frombuffer(b"expand 32-byte k" + key + bytes(4) + nonce, dtype="<u4")
    start = np.repeat(words[:, None], len(counters), axis=1)
    start[12] = counters
    state = start.copy()
    for _ in range(10):
        for i in range(4):
            quarter_round(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter_round(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return (state + start).T.astype("<u4").tobytes()


def keystream(key, stream, block, first_counter, dtype):
    """The numbers of a block's keystream from a counter on."""
    nonce = stream.to_bytes(4, "little") + block.to_bytes(8, "little")
    for first in count(first_counter, step=256):
        blocks = chacha20_blocks(key, range(first, first + 256), nonce)
        yield from np.frombuffer(blocks, dtype=dtype).tolist()


def is_below_density(y, x):
    """y < exp(-x^2 / 2) for fractions, by sixty digits; equality does not happen."""
    with mpmath.workdps(60):
        curve = mpmath.exp(-(mpmath.mpf(x.numerator) ** 2) / mpmath.mpf(x.denominator) ** 2 / 2)
        gap = curve - mpmath.mpf(y.numerator) / y.denominator
        assert abs(gap) > mpmath.mpf(10) ** -50 or x == 0
        return gap > 0


class Uniform:
    """A real number in (0, 1), known to as many digits as were asked for."""

    def __init__(self, digits, source):
        self.digits = list(digits)
        self._source = source

    def extend(self):
        self.digits.append(next(self._source))

    def bounds(self, places, unit=1):
        while places > len(self.digits):
            self.extend()
        head = sum(Fraction(self.digits[i], BASE ** (i + 1)) for i in range(places))
        return head, head + Fraction(unit, BASE**places)


class Sampler:
    """Rejection below exp(-x^2 / 2), with a count of the rare cases."""

    def __init__(self, words, digits):
        self.words = words
        self.digits = digits
        self.counts = Counter()

    def compare(self, k, x, y, height, unit=1):
        """True or False where the cell of digits lies on one side of the curve; else None."""
        x_low, x_high = x.bounds(len(x.digits))
        y_low, y_high = y.bounds(len(y.digits), unit)
        if is_below_density(height * y_high, k + x_high):
            return True
        return None if is_below_density(height * y_low, k + x_low) else False

    def settle(self, k, x, y, height):
        while (accepted := self.compare(k, x, y, height)) is None:
            self.counts["open attempt, again"] += 1
            x.extend()
            y.extend()
        return accepted

    def attempt(self, word):
        """(accepted, integer part, fraction) of |g|"""
        k, x = word >> 16 & 3, Uniform([word & 0xFFFF], self.digits)
        if k == 3 and word >> 21 & 0x3FF == 0x3FF:
            column = 0
            while next(self.digits) < BASE // 2**7:
                column += 1
            y = Uniform([next(self.digits)], self.digits)
            height = Fraction(127, 2 ** (17 + 7 * column))
            accepted = self.settle(4 + column, x, y, height)
            self.counts["tail"] += accepted
            self.counts["far column"] += column > 0
            return accepted, 4 + column, x
        y = Uniform([(word >> 18 & 0x1FFF) << 3], self.digits)  # 13 bits are known
        accepted = self.compare(k, x, y, 1, unit=8)
        if accepted is None:
            self.counts["open attempt"] += 1
            y.digits[0] |= next(self.digits) & 7
            accepted = self.settle(k, x, y, 1)
        return accepted, k, x

    def __call__(self, sigma):
        accepted = False
        while not accepted:
            word = next(self.words)
            accepted, k, x = self.attempt(word)
        sign = -1 if word >> 31 else 1
        for places in count():
            low, high = (
                Fraction(sigma) * (k + bound) + Fraction(1, 2) for bound in x.bounds(places)
            )
            if floor(low) == ceil(high) - 1:  # the same for every number between them
                return sign * floor(low)
            self.counts["open rounding"] += places > 0


def noise(key, stream, sigma, n):
    """round(sigma * g), n times, and the samplers of the blocks, which counted the rare cases."""
    out, samplers = [], []
    for block in range(-(-n // SAMPLES_PER_BLOCK)):
        words = keystream(key, stream, block, 0, "<u4")
        sample = Sampler(words, keystream(key, stream, block, DIGIT_COUNTER, "<u2"))
        out += [sample(sigma) for _ in range(min(SAMPLES_PER_BLOCK, n - len(out)))]
        samplers.append(sample)
    return np.array(out, dtype=np.int64), samplers
