"""The slow obvious twin of the closest kernel: the order of operations of kernels.hpp, in numpy."""

import numpy as np

from reference_nearest import fused_multiply_add

LANES = 32
BLOCK = 1024


def distances(x, candidates):
    """Return |x - c|^2 of all pairs in float32: 32 lanes of chains, folded by halves."""
    (n, d), count = x.shape, len(candidates)
    differences = np.zeros((n, count, -(-d // LANES) * LANES), np.float32)
    differences[:, :, :d] = x[:, None] - candidates[None]
    lanes = np.zeros((n, count, LANES), np.float32)
    for start in range(0, differences.shape[2], LANES):
        group = differences[:, :, start : start + LANES]
        lanes = fused_multiply_add(group, group, lanes)
    for half in (16, 8, 4, 2, 1):
        lanes = lanes[:, :, :half] + lanes[:, :, half : 2 * half]
    return lanes[:, :, 0]


def closest(x, candidates, nearest, weights=None):
    """Return distances, a mask of those that improve on `nearest`, and sums over blocks."""
    measured = distances(x, candidates)
    is_closer = measured < nearest[:, None]
    least = np.where(is_closer, measured, nearest[:, None]).astype(np.float64)
    masses = least if weights is None else weights[:, None] * least
    starts = range(0, len(x), BLOCK)
    sums = [np.cumsum(masses[start : start + BLOCK], axis=0)[-1] for start in starts]
    return measured, is_closer, np.array(sums)
