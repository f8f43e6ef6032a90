"""Mixtures of overlapping classes, fitted without noise, that probes are trained on in tests."""

import numpy as np

from cloister import DPGaussianMixture

SMALL = {"hidden": 32, "max_epochs": 3, "dropout": 0.0}
NAMES = np.array(["mole", "ant", "bee", "yak"])


def fitted(cls=DPGaussianMixture, n_classes=4, d=10, spread=0.25, names=None, **parameters):
    """Return a mixture of overlapping classes, without noise unless `epsilon` is given."""
    rng = np.random.default_rng(7)
    y = rng.integers(n_classes, size=4000)
    means = rng.normal(size=(n_classes, d))
    means *= 0.5 / np.linalg.norm(means, axis=1, keepdims=True)
    X = means[y] + spread * rng.normal(size=(4000, d)) * np.linspace(0.3, 1.2, d)
    names = np.arange(n_classes) if names is None else names
    parameters = {"epsilon": float("inf"), "clip_norm": 2.0, "random_state": 0} | parameters
    return cls(classes=names[:n_classes], **parameters).fit(X, names[y])


def same(probe, other):
    """Whether two probes have the same weights."""
    pairs = zip(probe.coefs_ + probe.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)
