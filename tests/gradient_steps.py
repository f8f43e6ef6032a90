"""The smallest fit that releases gradients: descent from zero weights, every step released."""

from math import inf, sqrt
from types import SimpleNamespace

import numpy as np

from cloister._backend import SoftmaxRegression
from cloister.codes import CodeGrid
from cloister.engines import LocalEngine
from cloister.privacy.release import Release
from cloister.sources import as_source, encode_labels


class GradientSteps:
    """A softmax regression about the origin; `mu` is the cost of all steps together."""

    def __init__(self, mu=1.0, n_steps=3, learning_rate=8.0):
        self.mu = mu
        self.n_steps = n_steps
        self.learning_rate = learning_rate

    def __str__(self):
        return f"GradientSteps(mu={self.mu})"

    def fit(self, X, y, **options):
        classes = encode_labels(y, len(X))
        grid = CodeGrid(X.shape[1], 1.0)
        release = Release(
            LocalEngine(as_source(X), grid, classes),
            mu_limit=self.mu * (1 + 1e-12),
            **options,
        )
        self.coef_ = np.zeros((len(classes.classes), grid.d))
        centre, bias = np.zeros(grid.d, np.int16), np.zeros(len(classes.classes))
        for step in range(self.n_steps):
            model = SoftmaxRegression.on_grid(grid, centre, self.coef_, bias, radius=1e-9)
            mu = self.mu / sqrt(self.n_steps) if self.mu < inf else inf
            answer = release.gradient(f"step {step}", model, mu)
            self.coef_ = self.coef_ - self.learning_rate / len(X) * answer.noisy_gradient
        self.last_answer_ = answer
        self.privacy_ = SimpleNamespace(events=release.events)
        return self

    def predict(self, X):
        return np.argmax(X @ self.coef_.T, axis=1)
