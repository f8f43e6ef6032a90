"""A Gaussian mixture whose Bayes rule is a given linear one: post-processing of public numbers."""

import numpy as np
from numpy.typing import NDArray

from cloister.covariance import Covariances
from cloister.mixture_numbers import MixtureNumbers

LEAST_VARIANCE = 1e-6  # of the average


def mixture_bias(
    weights: NDArray[np.float64], priors: NDArray[np.float64], second_moment: Covariances
) -> NDArray[np.float64]:
    """Return log(priors) - |u_c|_S^2 / 2, shape (classes,): see `tilted_mixture`."""
    _, singular, right, shrink = _spectrum(weights, priors, second_moment)
    squares = (right.T**2 @ (singular**2 * shrink)) / priors
    return np.asarray(np.log(priors) - squares / 2)


def tilted_mixture(
    weights: NDArray[np.float64],
    priors: NDArray[np.float64],
    centre: NDArray[np.float64],
    second_moment: Covariances,
) -> MixtureNumbers:
    """Return the mixture whose Bayes rule has the differences of these weights.

    With u_c the weights less their average, class means are centre + S u_c, so that they average
    to the centre and S^-1 times their differences are those of the weights. The covariance S
    within classes is such that the second moment of the mixture about the centre is the given one,
    T: S + sum_c prior_c (S u_c)(S u_c)^T = T. The posterior is then
    softmax((x - centre) @ weights.T + mixture_bias(weights)).

    Parameters
    ----------
    weights : array of shape (classes, d)
    priors : array of shape (classes,)
        Positive, summing to 1.
    centre : array of shape (d,)
    second_moment : Covariances
        One matrix T, in d directions.
    """
    directions, variances = second_moment.directions[0], second_moment.variances[0]
    left, _, _, shrink = _spectrum(weights, priors, second_moment)
    roots = np.sqrt(variances)
    inner = np.eye(len(roots)) + (left * (shrink - 1)) @ left.T
    values, turn = np.linalg.eigh(roots[:, None] * inner * roots)
    values = np.maximum(values, LEAST_VARIANCE * variances.mean())
    axes = turn.T @ directions
    offsets = ((weights - priors @ weights) @ axes.T * values) @ axes
    return MixtureNumbers(
        priors,
        centre + offsets,
        Covariances(axes[None], values[None], np.full((1, len(roots)), values.min())),
        np.zeros(len(priors), dtype=np.int64),
    )


def _spectrum(
    weights: NDArray[np.float64], priors: NDArray[np.float64], second_moment: Covariances
) -> tuple[NDArray[np.float64], ...]:
    """Solve S + S U diag(priors) U^T S = T for S, with U the (d, classes) centred weights.

    With G = T^(1/2) U diag(priors)^(1/2) and S = T^(1/2) H T^(1/2): H + H G G^T H = I. In the
    eigenbasis of G G^T, with eigenvalues g, h = (sqrt(1 + 4 g) - 1) / (2 g), and 1 where g = 0.

    Returns
    -------
    left, singular, right
        Of G, in the eigenbasis of T.
    shrink : array of shape (min(d, classes),)
        h.
    """
    centred = (weights - priors @ weights).T
    roots = np.sqrt(second_moment.variances[0])[:, None]
    scaled = roots * (second_moment.directions[0] @ centred) * np.sqrt(priors)
    left, singular, right = np.linalg.svd(scaled, full_matrices=False)
    shrink = 2 / (np.sqrt(1 + 4 * singular**2) + 1)  # h, in a form without cancellation
    return left, singular, right, shrink
