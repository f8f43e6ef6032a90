"""The slow, obvious twin of the noise kernel: the same digits, exact fractions, no bounds."""

from fractions import Fraction
from itertools import count
from math import ceil, floor

import numpy as np

BASE = 2**16
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


def digits_of_block(key, stream, block):
    nonce = stream.to_bytes(4, "little") + block.to_bytes(8, "little")
    for first in count(step=256):
        blocks = chacha20_blocks(key, range(first, first + 256), nonce)
        yield from np.frombuffer(blocks, dtype="<u2").tolist()


class Uniform:
    """A real number in (0, 1), known to as many digits as were asked for."""

    def __init__(self, source):
        self._source = source
        self.digits = [next(source)]

    def __getitem__(self, place):
        while place >= len(self.digits):
            self.digits.append(next(self._source))
        return self.digits[place]

    def bounds(self, places):
        head = Fraction(0)
        for place in range(places):
            head += Fraction(self[place], BASE ** (place + 1))
        return head, head + Fraction(1, BASE**places)


class Sampler:
    """Karney's Algorithm N. Counts the ties and the roundings that asked for more digits."""

    def __init__(self, source):
        self.source = source
        self.ties = 0
        self.open_roundings = 0

    def less(self, a, b):
        for place in count():
            left, right = a[place], b[place]
            if left != right:
                return left < right
            self.ties += 1

    def less_than_ratio(self, ratio):
        u = Uniform(self.source)
        for places in count(1):
            low, high = u.bounds(places)
            if high <= ratio or low >= ratio:
                return high <= ratio

    def trial_half(self):
        last = Uniform(self.source)
        if last[0] >= BASE // 2:
            return True
        for length in count(1):
            y = Uniform(self.source)
            if not self.less(y, last):
                return length % 2 == 0
            last = y

    def trial_slope(self, k, x):
        if k > 0 and self.less_than_ratio(Fraction(k, k + 1)):
            return True
        if next(self.source) % 2 == 1:
            return False
        return self.less(Uniform(self.source), x)

    def trial_fraction(self, k, x):
        last = x
        for length in count():
            y = Uniform(self.source)
            if not self.less(y, last) or not self.trial_slope(k, x):
                return length % 2 == 0
            last = y

    def magnitude(self):
        while True:
            k = 0
            while self.trial_half():
                k += 1
            if not all(self.trial_half() for _ in range(k * (k - 1))):
                continue
            x = Uniform(self.source)
            if all(self.trial_fraction(k, x) for _ in range(k + 1)):
                return k, x

    def __call__(self, sigma):
        k, x = self.magnitude()
        sign = -1 if next(self.source) % 2 == 1 else 1
        for places in count():
            low, high = (
                Fraction(sigma) * (k + bound) + Fraction(1, 2) for bound in x.bounds(places)
            )
            if floor(low) == ceil(high) - 1:  # the same for every number between them
                return sign * floor(low)
            self.open_roundings += places > 0


def noise(key, stream, sigma, n):
    """round(sigma * g), n times, and the ties and open roundings on the way."""
    out, ties, open_roundings = [], 0, 0
    for block in range(-(-n // SAMPLES_PER_BLOCK)):
        sample = Sampler(digits_of_block(key, stream, block))
        out += [sample(sigma) for _ in range(min(SAMPLES_PER_BLOCK, n - len(out)))]
        ties, open_roundings = ties + sample.ties, open_roundings + sample.open_roundings
    return np.array(out, dtype=np.int64), ties, open_roundings
