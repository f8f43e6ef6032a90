"""The slow obvious twin of the nearest kernel: the order of operations of kernels.hpp, in numpy."""

import numpy as np

CHAIN_LENGTH = 256


def fused_multiply_add(a, b, c):
    """Return a * b + c in float32 with one rounding.

    The product of two float32 is exact in float64. Their sum with c is rounded to odd there, after
    which the rounding to float32 is that of the exact sum (Boldo and Melquiond 2008).
    """
    product = a.astype(np.float64) * b.astype(np.float64)
    c = np.broadcast_to(c.astype(np.float64), product.shape)
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)
    is_even = total.view(np.int64) % 2 == 0
    towards = np.where(error > 0, np.inf, -np.inf)
    odd = np.where((error != 0) & is_even, np.nextafter(total, towards), total)
    return odd.astype(np.float32)


def chained_product(a, b):
    """Return sum_t a[..., t] b[..., t] by chains of fused multiply-adds."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    a, b = np.broadcast_to(a, shape), np.broadcast_to(b, shape)
    total = np.zeros(shape[:-1], np.float32)
    for start in range(0, shape[-1], CHAIN_LENGTH):
        chain = np.zeros(shape[:-1], np.float32)
        for t in range(start, min(start + CHAIN_LENGTH, shape[-1])):
            chain = fused_multiply_add(a[..., t], b[..., t], chain)
        total = total + chain
    return total


def lane_distance(x, centres):
    """Return |x - c|^2 of every row and centre in float32: 32 lanes of fused multiply-adds."""
    shape = (len(x), len(centres), -(-x.shape[1] // 32) * 32)
    differences = np.zeros(shape, np.float32)
    differences[..., : x.shape[1]] = x[:, None, :] - centres[None, :, :]
    lanes = np.zeros((*shape[:2], 32), np.float32)
    for start in range(0, shape[2], 32):
        group = differences[..., start : start + 32]
        lanes = fused_multiply_add(group, group, lanes)
    for half in (16, 8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    return lanes[..., 0]


def squared_distance(x, centres):
    """Return |x - c|^2 of paired rows in float64, 8 lanes folded by halves."""
    n, d = x.shape
    squares = np.zeros((n, -(-d // 8) * 8))
    squares[:, :d] = (x.astype(np.float64) - centres.astype(np.float64)) ** 2
    lanes = np.zeros((n, 8))
    for start in range(0, squares.shape[1], 8):
        lanes += squares[:, start : start + 8]
    for half in (4, 2, 1):
        lanes = lanes[:, :half] + lanes[:, half : 2 * half]
    return lanes[:, 0]


def nearest(rows, centres, shift=None, weights=None, sum_scale=1.0, count_scale=1.0):
    """Return labels, distances, sums and counts."""
    x = rows if shift is None else rows - shift
    weights = np.ones(len(x)) if weights is None else weights
    labels = lane_distance(x, centres).argmin(axis=1).astype(np.int32)
    sums = np.zeros(centres.shape, np.int64)
    counts = np.zeros(len(centres), np.int64)
    points = np.rint(x.astype(np.float64) * weights[:, None] * sum_scale)
    np.add.at(sums, labels, points.astype(np.int64))
    np.add.at(counts, labels, np.rint(weights * count_scale).astype(np.int64))
    return {
        "labels": labels,
        "distances": squared_distance(x, centres[labels]),
        "sums": sums,
        "counts": counts,
    }


def all_distances(rows, centres, shift=None):
    x = rows if shift is None else rows - shift
    differences = x[:, None, :] - centres[None, :, :]
    return chained_product(differences, differences)
