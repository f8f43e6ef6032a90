"""The slow obvious twins of the kernels: what cpp/kernels.hpp says, in plain numpy and ints."""

from itertools import pairwise

import numpy as np

from cloister.codes import Clip


def keep_in_ball(code, bound):
    """Code after the integer check: steps towards zero, at last zero."""
    code = code.astype(np.int64)
    for _ in range(2):
        if int(code @ code) <= bound**2:
            return code
        code = code - np.sign(code)
    return code if int(code @ code) <= bound**2 else np.zeros_like(code)


def clip_vector(vector, norm, clip: Clip):
    factor = clip.target / max(norm, clip.radius)
    code = np.rint(vector.astype(np.float64) * factor).astype(np.int64)
    return keep_in_ball(code.astype(np.int16), clip.bound)


def lane_norm(row32):
    """Euclidean norm as the sum of 16 lanes, folded by halves, in float64."""
    lanes = np.zeros(16)
    padded = np.zeros(-(-len(row32) // 16) * 16)
    padded[: len(row32)] = row32
    for block in padded.reshape(-1, 16):
        lanes += block * block
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = lanes[:half] + lanes[half:]
    return float(np.sqrt(lanes[0]))


def to_float32(row):
    with np.errstate(over="ignore"):
        return np.asarray(row).astype(np.float32)


def encode(rows, clip: Clip):
    codes = np.zeros(rows.shape, dtype=np.int16)
    valid = np.zeros(len(rows), dtype=bool)
    for i, row in enumerate(rows):
        row32 = to_float32(row)
        valid[i] = np.isfinite(row32).all()
        if valid[i]:
            codes[i] = clip_vector(row32, lane_norm(row32), clip)
    return codes, valid


def cell(code, centres):
    """Smallest j of the exact integer minimum of |c_j|^2 - 2 <x, c_j>, in Python integers."""
    code = [int(v) for v in code]
    scores = []
    for centre in centres:
        c = [int(v) for v in centre]
        scores.append(sum(a * a for a in c) - 2 * sum(a * b for a, b in zip(code, c, strict=True)))
    return scores.index(min(scores))


def residual(code, centre, clip: Clip):
    difference = code.astype(np.int64) - centre.astype(np.int64)
    return clip_vector(difference, float(np.sqrt(float(difference @ difference))), clip)


def classes_of(partition):
    for g, (begin, end) in enumerate(pairwise(partition.offsets)):
        for i in range(begin, end):
            yield g, i


def tally(codes, partition, clip: Clip | None):
    classes, k, d = partition.centres.shape
    counts = np.zeros((classes, k), dtype=np.int64)
    sums = np.zeros((classes, k, d), dtype=np.int64)
    for g, i in classes_of(partition):
        j = cell(codes[i], partition.centres[g])
        counts[g, j] += 1
        sums[g, j] += (
            codes[i] if clip is None else residual(codes[i], partition.centres[g, j], clip)
        )
    return counts, sums


def moments(codes, partition, clip: Clip, group, moment):
    _, k, d = partition.centres.shape
    upper = np.triu_indices(d)
    size = {"full": len(upper[0]), "diagonal": d, "trace": 1}[moment]
    out = np.zeros((int(max(group)) + 1, size), dtype=np.int64)
    for g, i in classes_of(partition):
        j = cell(codes[i], partition.centres[g])
        r = residual(codes[i], partition.centres[g, j], clip)
        value = {"full": np.outer(r, r)[upper], "diagonal": r * r, "trace": [r @ r]}[moment]
        out[group[g * k + j]] += value
    return out


def bins(codes, grid, offsets):
    counts = np.zeros((len(offsets) - 1, int(np.prod(grid.cells, dtype=np.int64))), dtype=np.int64)
    for g, (begin, end) in enumerate(pairwise(offsets)):
        for i in range(begin, end):
            index = 0
            for axis in range(len(grid.cells)):
                projection = grid.projections[axis]
                position = sum(int(a) * int(b) for a, b in zip(codes[i], projection, strict=True))
                place = (position - int(grid.origins[axis])) // int(grid.widths[axis])
                last = int(grid.cells[axis]) - 1
                index = index * int(grid.cells[axis]) + min(max(place, 0), last)
            counts[g, index] += 1
    return counts
