"""Mixtures of known parameters, what a fit makes of them, and what theory and EM say.

All lengths are in standard deviations of a coordinate. Rows lie in the unit ball but for a few that
are shortened to it; nothing else is known of them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.mixture import GaussianMixture

DELTA = 1e-5


@dataclass
class KnownMixture:
    """Rows, and the parameters that they were drawn with, in units of the rows."""

    rows: np.ndarray
    labels: np.ndarray
    means: np.ndarray
    weights: np.ndarray
    covariance: np.ndarray
    deviation: float  # of a coordinate, on average


def known_mixture(n, d, k, separation, seed=0):
    """Draw a mixture whose closest two means are `separation` apart.

    Means are Gaussian, of 100 draws the one whose closest two are least close; weights are drawn
    from Dirichlet(5); the shared covariance has random axes with deviations from 0.6 to 1.3.
    """
    rng = np.random.default_rng(seed)
    draws = [means - means.mean(axis=0) for means in rng.standard_normal((100, k, d))]
    means = max(draws, key=lambda means: closest(means) / np.linalg.norm(means))
    means *= separation / closest(means)
    weights = rng.dirichlet(np.full(k, 5.0))
    deviations = np.linspace(0.6, 1.3, d) if d > 1 else np.ones(1)
    deviations /= np.sqrt((deviations**2).mean())
    roots = np.linalg.qr(rng.standard_normal((d, d)))[0] * deviations
    labels = rng.choice(k, n, p=weights)
    rows = means[labels] + rng.standard_normal((n, d)) @ roots.T
    scale = np.linalg.norm(means, axis=1).max() + np.sqrt(d) + 3
    covariance = roots @ roots.T / scale**2
    return KnownMixture(
        (rows / scale).astype(np.float32), labels, means / scale, weights, covariance, 1 / scale
    )


def closest(means):
    """Return the smallest distance between two means."""
    gaps = np.linalg.norm(means[:, None] - means, axis=2)
    return gaps[~np.eye(len(means), dtype=bool)].min()


def apart(some, others):
    """Return the largest distance between matched points, (k, d) each."""
    gaps = np.linalg.norm(some[:, None] - others, axis=2)
    return float(gaps[linear_sum_assignment(gaps)].max())


def errors(known, means, weights, covariance):
    """Return the errors of a fit, each component matched with the nearest true one.

    The worst mean in deviations, the worst weight, the worst eigenvalue of the pooled covariance
    relative to the true one.
    """
    gaps = np.linalg.norm(known.means[:, None] - means, axis=2)
    true, found = linear_sum_assignment(gaps)
    spectrum = np.linalg.eigvalsh(covariance) / np.linalg.eigvalsh(known.covariance)
    return {
        "mean": float(gaps[true, found].max() / known.deviation),
        "weight": float(np.abs(weights[found] - known.weights[true]).max()),
        "spectrum": float(np.abs(spectrum - 1).max()),
    }


def em_fit(known):
    """Fit by EM without privacy, started at the true parameters: nothing does better."""
    model = GaussianMixture(
        len(known.means),
        covariance_type="tied",
        init_params="random_from_data",  # k-means++ would be run and thrown away
        means_init=known.means,
        weights_init=known.weights,
        precisions_init=np.linalg.inv(known.covariance),
        reg_covar=0.0,
    ).fit(known.rows.astype(np.float64))
    return model.means_, model.weights_, model.covariances_


def theory(known, fit):
    """Return what is predicted of the worst mean, in deviations, from public numbers and the truth.

    `em` is the norm of the error of a mean of n w rows, sqrt(tr S / (n w)). `noise` is the norm of
    the noise of the last round about the smallest component, sqrt(d) r c / (mu_r n w): r its clip,
    mu_r its Gaussian-DP cost, c = sqrt(1 + 1 / sqrt(4 d)) since counts are released with it; plus
    two standard deviations of such a norm.
    """
    n, d = known.rows.shape
    smallest = n * known.weights.min()
    scatter = float(np.trace(known.covariance))
    rounds = [event for event in fit.privacy_.events if event.name.startswith("round")]
    cost = rounds[-1].sensitivity / rounds[-1].sigma if rounds[-1].sigma else np.inf
    radius = fit.plan_.round_radius * np.sqrt(scatter) * np.sqrt(1 + 1 / np.sqrt(4 * d))
    noise = np.sqrt(d) * radius / (cost * smallest) * (1 + 2 / np.sqrt(2 * d))
    return {
        "em": float(np.sqrt(scatter / smallest) / known.deviation),
        "noise": float(noise / known.deviation),
    }
