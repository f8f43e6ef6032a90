"""Cosine bases of whole numbers, zigzag order and opponent colours.

All products of these whole numbers with pixels, and all sums of such products, stay below 2^53:
float64 holds them exactly, so a matrix product has one result, whatever order a library, its
threads or its batch size sum in. That is what makes a transform of images pure by row.
"""

from math import ceil, log2, pi, sqrt

import numpy as np
from numpy.typing import NDArray

# Decoded coefficients are rounded to this share of a grey level, and their norm is bounded to this
# many times that of the brightest image.
STEPS_PER_LEVEL = 16
LARGEST_CONTRAST = 4
# Whole numbers in the directions (1, 1, 1), (1, 0, -1) and (1, -2, 1) of red, green and blue: an
# orthogonal luma and two chromas, as YCbCr's are nearly.
OPPONENT = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
OPPONENT_NORMS = np.sqrt(np.square(OPPONENT).sum(axis=1))


def exact_bits(n_numbers: int) -> int:
    """Return with how many binary places a cosine may be rounded for images of n numbers.

    Two passes scale by 2^(2 bits). By Cauchy-Schwarz a sum of a pass is at most the product of
    the norms: that of the coefficients, 4 * 256 * sqrt(n) in 16ths of a level, and 2^(2 bits) of
    the cosines. The encoder's sums are smaller: opponent pixels are at most 1020. The last bit of
    the 53 is left for the rounding of the cosines themselves.
    """
    coefficients = log2(LARGEST_CONTRAST * 256 * STEPS_PER_LEVEL) + ceil(log2(sqrt(n_numbers)))
    return int(52 - coefficients) // 2


def cosine_basis(length: int, kept: int, bits: int) -> NDArray[np.float64]:
    """Return the first `kept` rows of the orthonormal DCT-II, times 2^bits, as whole numbers.

    Ahmed, Natarajan and Rao (1974), "Discrete cosine transform", equation 1, orthonormal.

    Returns
    -------
    array of shape (kept, length), float64
    """
    frequency = np.arange(kept)[:, None]
    place = np.arange(length)[None, :]
    basis = np.cos(pi * (2 * place + 1) * frequency / (2 * length)) * sqrt(2 / length)
    basis[0] = sqrt(1 / length)
    return np.asarray(np.rint(np.ldexp(basis, bits)))


def zigzag(height: int, width: int, keep: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the vertical and horizontal frequencies of the first `keep` in zigzag order.

    By diagonals u + v, each walked in the direction opposite to the last (ITU-T T.81, figure 5).
    """
    u, v = np.divmod(np.arange(height * width), width)
    diagonal = u + v
    along = np.where(diagonal % 2 == 0, -u, u)
    order = np.lexsort((along, diagonal))[:keep]
    return u[order], v[order]
