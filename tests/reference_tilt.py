"""The slow obvious twin of the tilted mixture's course: float64 numpy on the rows, no noise."""

import numpy as np
from scipy.special import softmax

from cloister.mixture_plan import GRADIENT_STEPS as N_STEPS
from cloister.mixture_plan import RESIDUAL_RADIUS
from cloister.mixture_tilt import (
    LARGEST_FLOOR,
    MOMENTUM,
    RARITY,
    RATE,
    RATE_DECAY,
    SAMPLING_FLOOR,
)


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def within(U, priors, T):
    """S of S + S U diag(priors) U^T S = T, by its closed form with matrix roots."""
    half = root(T)
    D = half @ U @ np.diag(priors) @ U.T @ half
    # H + H D H = I has H = 2 (I + (I + 4 D)^(1/2))^-1.
    return half @ (2 * np.linalg.inv(np.eye(len(T)) + root(np.eye(len(T)) + 4 * D))) @ half


def tilted(X, y, classes, radius):
    """Weights of the classes, means and covariance of the mixture of rows within `radius`."""
    n, d = X.shape
    priors = np.bincount(y, minlength=classes) / n
    centre = X.mean(axis=0)
    a = (X - centre) / radius
    assert np.linalg.norm(a, axis=1).max() <= 1
    moment = a.T @ a / n
    values, vectors = np.linalg.eigh(moment)
    floor = min(SAMPLING_FLOOR / n, LARGEST_FLOOR) * values.sum()
    steps = np.diag((priors.max() / priors) ** RARITY)
    # Not symmetric, but with the eigenvalues of the symmetric form.
    spread = np.linalg.eigvals(steps @ (np.diag(priors) - np.outer(priors, priors))).real.max()
    P = RATE / spread * (vectors / np.maximum(values, floor)) @ vectors.T
    W, velocity = np.zeros((d, classes)), np.zeros((d, classes))
    # Class sums pay for the gradient at zero weights, a step more.
    for t in (0, *range(N_STEPS)):
        U = W - (W @ priors)[:, None]
        quadratic = np.diag(U.T @ within(U, priors, moment) @ U)
        r = softmax(a @ W + np.log(priors) - quadratic / 2, axis=1) - np.eye(classes)[y]
        r *= np.minimum(1, RESIDUAL_RADIUS / np.linalg.norm(r, axis=1))[:, None]
        gradient = a.T @ r / n
        gradient -= gradient.mean(axis=1, keepdims=True)
        velocity = MOMENTUM * velocity + P @ gradient @ steps
        W = W - (1 - RATE_DECAY * t / N_STEPS) * velocity
    U = (W - (W @ priors)[:, None]) / radius
    S = within(U, priors, moment * radius**2)
    return priors, centre + (S @ U).T, S
