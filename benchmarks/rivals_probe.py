"""Differentially private linear classifiers, trained on the rows themselves.

Research code: noise is NumPy's float Gaussian, sums are floats, so the guarantee holds on paper
only. The accounting is exact Gaussian DP (`cloister.privacy.accounting`), as for cloister, with
add/remove of one row; the number of rows is taken as public, in the rivals' favour. Constants were
chosen by `quality_tune.py` on rows of Fashion-MNIST held out of its training set.
"""

import math

import numpy as np
from scipy.linalg import solve
from scipy.special import softmax

from cloister.privacy.accounting import mu_from_epsilon, sigma_for
from cloister.transforms import apply_transform

# Share of μ² of the counts, next to the class sums.
COUNTS = 0.02


class Noise:
    """Gaussian noise for shares of μ² of one budget."""

    def __init__(self, epsilon, delta, seed):
        self.mu = mu_from_epsilon(epsilon, delta)
        self.rng = np.random.default_rng(seed)

    def sigma(self, sensitivity, share):
        return sigma_for(sensitivity, self.mu * math.sqrt(share))

    def add(self, exact, sensitivity, share):
        return exact + self.sigma(sensitivity, share) * self.rng.standard_normal(exact.shape)

    def add_symmetric(self, exact, sensitivity, share):
        """Noise the upper triangle, with 1/√2 of the deviation off the diagonal.

        The Frobenius norm counts what lies off it twice, so that this is the same μ.
        """
        upper = np.triu(self.rng.standard_normal(exact.shape))
        noise = (upper + upper.T) / math.sqrt(2)
        np.fill_diagonal(noise, np.diag(upper))
        return exact + self.sigma(sensitivity, share) * noise


def class_sums(rows, labels, n_classes):
    return np.stack([rows[labels == c].sum(0, dtype=np.float64) for c in range(n_classes)])


def nearest_class_mean(data, epsilon, delta, seed, *, transform=None):
    """Return a rule that takes the class whose noisy mean is nearest."""
    noise = Noise(epsilon, delta, seed)
    rows = apply_transform(transform, data.rows)
    sums = noise.add(class_sums(rows, data.labels, data.n_classes), 1.0, 1 - COUNTS)
    counts = np.bincount(data.labels, minlength=data.n_classes)
    means = sums / np.maximum(noise.add(counts, 1.0, COUNTS), 1)[:, None]
    return Linear(means.T, -0.5 * (means**2).sum(1), transform)


def least_squares(data, epsilon, delta, seed, *, transform="root", share=0.7, ridge=0.1):
    """Return ridge regression on one-hot labels from noisy sufficient statistics.

    AdaSSP (Wang 2018, arXiv 1803.02596) without its release of the smallest eigenvalue: the ridge
    is `ridge` times the noise's own spectral norm, σ√(2d), as fits a second moment of rank below d.
    `share` of μ² goes to the second moment, the rest to the class sums. A constant feature stands
    for the intercept: rows are (x, 1)/√2, of norm 1.
    """
    noise = Noise(epsilon, delta, seed)
    rows = apply_transform(transform, data.rows)
    rows = np.hstack([rows, np.ones((len(rows), 1), np.float32)]) / np.float32(math.sqrt(2))
    d = rows.shape[1]
    moment = noise.add_symmetric((rows.T @ rows).astype(np.float64), 1.0, share)
    sums = noise.add(class_sums(rows, data.labels, data.n_classes), 1.0, 1 - share)
    moment = positive(moment)
    floor = 1e-6 * np.trace(moment) / d  # without noise
    strength = max(ridge * noise.sigma(1.0, share) * math.sqrt(2 * d), floor)
    weights = solve(moment + strength * np.eye(d), sums.T, assume_a="pos") / math.sqrt(2)
    return Linear(weights[:-1], weights[-1], transform)


def positive(moment):
    """Return the nearest positive semi-definite matrix: a ridge must not meet a pole."""
    values, vectors = np.linalg.eigh(moment)
    return (vectors * np.maximum(values, 0)) @ vectors.T


def gradient_descent(
    data,
    epsilon,
    delta,
    seed,
    *,
    transform="root",
    steps=None,
    rate=None,
    noise_step=0.45,
    momentum=0.9,
    clip=0.5,
    mean_share=0.03,
):
    """Return a linear softmax classifier from full-batch noisy gradients (Abadi et al. 2016).

    `mean_share` of μ² releases the mean, from which rows take their direction (0: rows as they
    are). Rows then have norm 1, so a row's gradient is as long as its residual, clipped to `clip`.
    By default there are 80 steps of rate 32, from ε = 4 on twice both. The rate falls where the
    noise of one step, σ√d rate / n long for a class, would exceed `noise_step`: one rate for all n
    and ε costs up to 4 points where noise dominates.
    """
    steps = steps or (80 if epsilon < 4 else 160)
    rate = rate or (32.0 if epsilon < 4 else 64.0)
    noise = Noise(epsilon, delta, seed)
    rows = apply_transform(transform, data.rows)
    n, d = rows.shape
    centre = np.zeros(d)
    if mean_share:
        centre = noise.add(rows.sum(0, dtype=np.float64), 1.0, mean_share) / n
        rows = directions(rows, centre)
    share = (1 - mean_share) / steps
    sigma = noise.sigma(clip, share)
    if sigma > 0:
        rate = min(rate, noise_step * n / (sigma * math.sqrt(d)))
    targets = np.eye(data.n_classes, dtype=np.float32)[data.labels]
    weights = np.zeros((d, data.n_classes), np.float32)
    velocity = np.zeros_like(weights)
    for _ in range(steps):
        residuals = softmax(rows @ weights, axis=1) - targets
        norms = np.linalg.norm(residuals, axis=1, keepdims=True)
        residuals *= np.minimum(1, clip / np.maximum(norms, 1e-12))
        gradient = noise.add(rows.T @ residuals, clip, share) / n
        velocity = momentum * velocity - rate * gradient.astype(np.float32)
        weights += velocity
    return Linear(weights, np.zeros(data.n_classes), transform, centre if mean_share else None)


def directions(rows, centre):
    rows = rows - centre.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


class Linear:
    """A linear rule on rows that are first transformed and, with a centre, seen from it."""

    def __init__(self, weights, intercepts, transform, centre=None):
        self.weights, self.intercepts = weights, intercepts
        self.transform, self.centre = transform, centre

    def predict(self, rows):
        rows = apply_transform(self.transform, rows)
        if self.centre is not None:
            rows = directions(rows, self.centre)
        return (rows @ self.weights + self.intercepts).argmax(1)
