"""The slow obvious twin of the gradient kernel: cpp/kernels.hpp in plain numpy, row by row.

Every float64 operation rounds on its own here and there, so bits are equal, not only values.
"""

from math import factorial, sqrt

import numpy as np

from reference import clip_vector, residual

LN2_PARTS = (float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33"))
TAYLOR = [1 / factorial(i) for i in range(12)]


def exponential(y):
    """exp(y) of one float64 in [-700, 0], as the kernel's polynomial has it."""
    power = float(np.rint(y * float.fromhex("0x1.71547652b82fep+0")))
    rest = (y - power * LN2_PARTS[0]) - power * LN2_PARTS[1]
    value = TAYLOR[-1]
    for coefficient in TAYLOR[-2::-1]:
        value = value * rest + coefficient
    return float(np.ldexp(value, int(power)))


def softmax(logits):
    largest, total, exponentials = max(logits), 0.0, []
    for z in logits:
        exponentials.append(exponential(z - largest) if z - largest >= -700 else 0.0)
        total += exponentials[-1]
    return [e / total for e in exponentials]


def factors(code, g, model):
    """The integer vectors a (d,) and q (classes,) whose product a row of class g adds."""
    a = residual(code, model.centre, model.row_clip)
    logits = []
    for weights, bias in zip(model.weights, model.bias, strict=True):
        score = sum(int(v) * int(w) for v, w in zip(a, weights, strict=True))
        logits.append(float(model.scale) * float(score) + float(bias))
    r = [p - 1.0 if j == g else p for j, p in enumerate(softmax(logits))]
    squares = 0.0
    for value in r:
        squares += value * value
    return a, clip_vector(np.array(r), sqrt(squares), model.residual_clip)


def gradient(codes, offsets, model):
    out = np.zeros(model.weights.shape, dtype=np.int64)
    for g in range(len(offsets) - 1):
        for i in range(offsets[g], offsets[g + 1]):
            a, q = factors(codes[i], g, model)
            out += np.outer(q, a)
    return out
