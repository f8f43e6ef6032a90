"""Whether synthetic images are nearer to the images that were fitted than to others like them.

Owner-side: distances to private rows, which no guarantee covers. Never release them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from cloister.errors import InvalidInput
from cloister.neural.row_distances import finite_rows, nearest

NOT_COVERED = (
    "Owner-side: distances to the nearest private row are measured on private rows; the guarantee "
    "does not cover them."
)


@dataclass(frozen=True)
class NearestPrivate:
    """Distances of samples to fitted and to held-out rows, and a test of whether they differ.

    Attributes
    ----------
    to_training, to_held_out : array of shape (samples,), float64
        Distance of each sample to the nearest row; comparable where there are as many rows.
    share_nearer_to_training : float
        Of samples; a tie counts half.
    expected_share : float
        Training rows by all rows: 0.5 where there are as many of each.
    standard_error : float
        Of the share, if training and held-out rows were interchangeable.
    interval : tuple of float
        Share, less and plus so many standard errors that 95 % lie between.
    z : float
        Share above the expected one, in standard errors; large where samples repeat fitted rows.
    p_value : float
        Chance of a share so large or larger, if rows were interchangeable.
    n_training, n_held_out : int
        Rows.
    """

    to_training: NDArray[np.float64]
    to_held_out: NDArray[np.float64]
    share_nearer_to_training: float
    expected_share: float
    standard_error: float
    interval: tuple[float, float]
    z: float
    p_value: float
    n_training: int
    n_held_out: int


def nearest_private(samples: Any, training: Any, held_out: Any) -> NearestPrivate:
    """Compare each sample's nearest training row with its nearest held-out row. Owner-side.

    Parameters
    ----------
    samples : array-like of shape (m, d)
        Embeddings of synthetic images.
    training : array-like of shape (n, d)
        Embeddings of the private images that were fitted.
    held_out : array-like of shape (n', d)
        Embeddings of private images of the same origin that were not.

    Returns
    -------
    NearestPrivate

    Raises
    ------
    InvalidInput
        Naming the argument.

    Notes
    -----
    A sample is nearer to training where its nearest row of all is one of training. If which rows
    were held out is a draw without replacement that the samples know nothing of, the share of such
    samples is sum_j w_j t_j, with w_j the share of samples whose nearest row is j and t_j = 1 for
    training rows, n of N: of mean n/N and variance n (N-n) / (N (N-1)) sum_j (w_j - 1/N)^2
    (Cochran 1977, "Sampling Techniques", theorem 2.2). It takes into account that few rows may be
    nearest to many samples, which a binomial interval does not. The normal approximation needs
    many rows that are nearest to some sample.

    This is a check, and no measure of privacy: DP bounds what any attack can learn.
    """
    return _compared(*_distances(samples, training, held_out))


def nearest_private_by_class(
    samples: Any, labels: Any, training: Any, held_out: Any
) -> dict[Any, NearestPrivate]:
    """Do the same for the samples of each class, against rows of all classes. Owner-side.

    Parameters
    ----------
    samples, training, held_out
        As in `nearest_private`.
    labels : array-like of shape (m,)
        Classes of the samples.
    """
    found = np.asarray(labels)
    distances, places, sizes = _distances(samples, training, held_out)
    if found.shape != (len(distances),):
        raise InvalidInput(
            f"labels has shape {found.shape}, but there are {len(distances)} samples; give one each"
        )
    return {
        name: _compared(distances[found == name], places[found == name], sizes)
        for name in np.unique(found).tolist()
    }


Found = tuple[NDArray[np.float64], NDArray[np.intp], tuple[int, int]]


def _distances(samples: Any, training: Any, held_out: Any) -> Found:
    """Return distances and places of the nearest rows, (m, 2) each, and the number of rows."""
    rows = finite_rows(samples, "samples")
    sets = [
        finite_rows(training, "training", rows.shape[1]),
        finite_rows(held_out, "held_out", rows.shape[1]),
    ]
    pairs = [nearest(rows, others) for others in sets]
    distances, places = (np.stack(columns, axis=1) for columns in zip(*pairs, strict=True))
    return distances, places, (len(sets[0]), len(sets[1]))


def _compared(
    distances: NDArray[np.float64], places: NDArray[np.intp], sizes: tuple[int, int]
) -> NearestPrivate:
    n, total = sizes[0], sum(sizes)
    # How far each sample counts for its nearest row of either set: 1 and 0, or of a tie halves.
    nearer = (np.sign(distances[:, 1] - distances[:, 0]) + 1) / 2
    weights = np.zeros(total)
    np.add.at(weights, places[:, 0], nearer)
    np.add.at(weights, n + places[:, 1], 1 - nearer)
    weights /= len(distances)
    share, expected = float(nearer.mean()), n / total
    variance = n * (total - n) / (total * (total - 1)) * np.square(weights - 1 / total).sum()
    error = float(np.sqrt(variance))
    reach = float(ndtri(0.975)) * error
    z = (share - expected) / error if error > 0 else 0.0
    return NearestPrivate(
        to_training=distances[:, 0],
        to_held_out=distances[:, 1],
        share_nearer_to_training=share,
        expected_share=expected,
        standard_error=error,
        interval=(max(0.0, share - reach), min(1.0, share + reach)),
        z=z,
        p_value=float(ndtr(-z)),
        n_training=n,
        n_held_out=sizes[1],
    )
