"""Covariances of mixture components: eigenvectors for some directions, variances for the rest.

Post-processing of public numbers only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Covariances:
    """One or several covariance matrices of one shape.

    Matrix f is `sum_t (variances[f, t] - rest[f]) v_t v_t^T + diag(rest[f])` over the orthonormal
    rows v_t of `directions[f]`; with d directions, `rest` is not used. With 0 < rank < d, `rest[f]`
    is constant.

    Attributes
    ----------
    directions : array of shape (covariances, rank, d)
    variances : array of shape (covariances, rank)
        Positive.
    rest : array of shape (covariances, d)
        Positive.
    """

    directions: NDArray[np.float64]
    variances: NDArray[np.float64]
    rest: NDArray[np.float64]

    @property
    def rank(self) -> int:
        """Number of directions with a variance of their own."""
        return int(self.directions.shape[1])

    @property
    def is_full_rank(self) -> bool:
        """Whether the directions span the space."""
        return bool(self.rank == self.directions.shape[2])

    def matrices(self) -> NDArray[np.float64]:
        """Return the dense matrices, shape (covariances, d, d)."""
        _, _, d = self.directions.shape
        rest = np.zeros_like(self.rest) if self.is_full_rank else self.rest
        excess = self.variances if self.is_full_rank else self.variances - self.rest[:, :1]
        matrices = (self.directions * excess[:, :, None]).transpose(0, 2, 1) @ self.directions
        matrices[:, np.arange(d), np.arange(d)] += rest
        return np.asarray(matrices)

    def log_determinants(self) -> NDArray[np.float64]:
        """Return log|Sigma|, shape (covariances,)."""
        logs = np.log(self.variances).sum(axis=1)
        if not self.is_full_rank:
            logs = logs + np.log(self.rest[:, self.rank :]).sum(axis=1)
        return np.asarray(logs)

    def whiten(self, rows: NDArray[np.float64], f: int) -> NDArray[np.float64]:
        """Map rows of shape (n, d) so that distances become Mahalanobis distances under matrix f.

        For 0 < rank < d the map is the symmetric root of the inverse; else the shortest one.
        """
        if self.rank == 0:
            return np.asarray(rows / np.sqrt(self.rest[f]))
        inside = rows @ self.directions[f].T
        if self.is_full_rank:
            return np.asarray(inside / np.sqrt(self.variances[f]))
        scale = 1 / np.sqrt(self.rest[f, 0])
        stretched = inside * (1 / np.sqrt(self.variances[f]) - scale)
        return np.asarray(rows * scale + stretched @ self.directions[f])

    def sampling_factors(
        self, temperature: float = 1.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return (factors, scales) such that `z @ factors + scales * z'` has these covariances.

        Times `temperature`.
        """
        root = np.sqrt(temperature)
        if self.is_full_rank:
            roots = self.directions * (root * np.sqrt(self.variances))[:, :, None]
            # Roots of a covariance differ by a rotation; the kernel skips a triangle's zeros.
            return np.asarray(np.linalg.qr(roots, mode="r")).astype(np.float32, order="C"), None
        excess = np.maximum(self.variances - self.rest[:, :1], 0)
        factors = self.directions * (root * np.sqrt(excess))[:, :, None]
        scales = root * np.sqrt(self.rest)
        return factors.astype(np.float32, order="C"), scales.astype(np.float32)
