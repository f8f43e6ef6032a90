"""How like real images synthetic ones are, in an encoder's space.

Computed from real rows: of private ones every figure is owner-side, and no guarantee covers it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svdvals

from cloister.errors import InvalidInput
from cloister.neural.row_distances import finite_rows, neighbour_radii, squared_distances
from cloister.parameters import check_integer


def frechet_distance(first: Any, second: Any) -> float:
    """Squared Fréchet distance of the Gaussians with the means and covariances of two sets.

    Parameters
    ----------
    first, second : array-like of shape (n, d) and (m, d)
        Embeddings of one encoder; at least 2 each.

    Returns
    -------
    float
        |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), in squared units of the embeddings; of
        embeddings of an Inception network this is the FID. With few rows it is too large: compare
        at equal n.

    Raises
    ------
    InvalidInput
        Naming the argument.

    Notes
    -----
    tr (C1 C2)^(1/2) is the sum of the singular values of C1^(1/2) C2^(1/2), by symmetric
    eigenvalues: real also for singular covariances, unlike the square root of the product.

    References
    ----------
    Dowson, Landau (1982); Heusel et al. (2017), "GANs Trained by a Two Time-Scale Update Rule".
    """
    a = finite_rows(first, "first")
    b = finite_rows(second, "second", a.shape[1])
    for name, rows in (("first", a), ("second", b)):
        if len(rows) < 2:
            raise InvalidInput(f"{name} has {len(rows)} row, but a covariance needs 2")
    covariances = [np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (a, b)]
    roots = [_square_root(covariance) for covariance in covariances]
    shift = a.mean(axis=0) - b.mean(axis=0)
    traces = sum(float(np.trace(covariance)) for covariance in covariances)
    overlap = float(svdvals(roots[0] @ roots[1]).sum())
    return max(0.0, float(shift @ shift) + traces - 2 * overlap)


def _square_root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


@dataclass(frozen=True)
class Manifolds:
    """How two sets cover each other, by balls that reach to each row's k-th neighbour.

    Attributes
    ----------
    precision : float
        Share of synthetic rows inside the ball of any real row: are samples plausible?
    recall : float
        Share of real rows inside the ball of any synthetic row: is their variety there?
    density : float
        Real balls that hold a synthetic row, in the mean, by k; above 1 where samples crowd.
    coverage : float
        Share of real balls that hold a synthetic row.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_metrics(real: Any, synthetic: Any, k: int = 5) -> Manifolds:
    """Improved precision and recall, density and coverage.

    Parameters
    ----------
    real, synthetic : array-like of shape (n, d) and (m, d)
        Embeddings of one encoder; more than k each. Compare at equal n and m only.
    k : int
        A ball reaches to the k-th nearest other row of its own set.

    Raises
    ------
    InvalidInput, InvalidType
        Naming the argument.

    Notes
    -----
    Takes n m d operations, and memory linear in n and m.

    References
    ----------
    Kynkäänniemi et al. (2019), "Improved Precision and Recall Metric for Assessing Generative
    Models"; Naeem et al. (2020), "Reliable Fidelity and Diversity Metrics for Generative Models".
    """
    a = finite_rows(real, "real")
    b = finite_rows(synthetic, "synthetic", a.shape[1])
    most = min(len(a), len(b)) - 1
    k = check_integer(
        "k", k, 1, max(1, most), way_out="below the number of rows of either set; 5 is usual"
    )
    if most < 1:
        raise InvalidInput(f"real has {len(a)} rows and synthetic {len(b)}; give at least 2 each")
    real_radii, synthetic_radii = neighbour_radii(a, k), neighbour_radii(b, k)
    inside = np.zeros(len(b), dtype=np.int64)
    recalled, covered = (np.zeros(len(a), dtype=bool) for _ in range(2))
    for first, block in squared_distances(a, b):
        mine = slice(first, first + len(block))
        in_real = block <= real_radii[mine, None]
        inside += in_real.sum(axis=0)
        covered[mine] = in_real.any(axis=1)
        recalled[mine] = (block <= synthetic_radii).any(axis=1)
    return Manifolds(
        precision=float((inside > 0).mean()),
        recall=float(recalled.mean()),
        density=float(inside.mean() / k),
        coverage=float(covered.mean()),
    )
