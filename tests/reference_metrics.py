"""Image metrics as their papers state them: loops over all pairs, scipy's matrix square root."""

import numpy as np
from scipy.linalg import sqrtm


def distances(a, b):
    return np.array([[np.sqrt(((x - y) ** 2).sum()) for y in b] for x in a])


def frechet(a, b):
    mean = a.mean(axis=0) - b.mean(axis=0)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return mean @ mean + np.trace(first + second - 2 * np.real(sqrtm(first @ second)))


def radii(rows, k):
    """Distance of each row to its k-th nearest other."""
    found = []
    for i, row in enumerate(distances(rows, rows)):
        found.append(sorted(np.delete(row, i))[k - 1])
    return np.array(found)


def manifolds(real, synthetic, k):
    between = distances(real, synthetic)
    real_radii, synthetic_radii = radii(real, k), radii(synthetic, k)
    n, m = between.shape
    precision = np.mean([any(between[i, j] <= real_radii[i] for i in range(n)) for j in range(m)])
    recall = np.mean([any(between[i, j] <= synthetic_radii[j] for j in range(m)) for i in range(n)])
    inside = [[between[i, j] <= real_radii[i] for j in range(m)] for i in range(n)]
    density = np.sum(inside) / (k * m)
    coverage = np.mean([any(row) for row in inside])
    return precision, recall, density, coverage
