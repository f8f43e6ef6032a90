"""An auditor of fits: is every exact answer covered by the noise that its event claims?"""

from math import sqrt
from unittest import mock

import numpy as np
from scipy.stats import chi2

from cloister.privacy.release import Release

FALSE_POSITIVE_RATE = 1e-8
"""That an event with the right noise is reported."""


def uncovered_events(estimator, X, y=None):
    """Fit, and name the events whose noise is not of the size that they claim.

    Noise left out is always found; noise of a wrong size where the event has enough values.
    """
    found = []
    original = Release._release

    def audited(self, event, question, size, exact_answer, noise):
        noisy = original(self, event, question, size, exact_answer, noise)
        exact = exact_answer().ravel()
        scales = _scales(question, self._engine.grid.d, size)
        kinds = [(noisy - exact)[scales == scale] / (event.sigma * scale) for scale in set(scales)]
        if not all(_like_standard_normals(values) for values in kinds):
            found.append(event.name)
        return noisy

    with mock.patch.object(Release, "_release", audited):
        estimator.fit(X, y)
    return found


def _like_standard_normals(values):
    tail = FALSE_POSITIVE_RATE / 4  # two tails, at most two kinds of values an event
    return chi2.ppf(tail, len(values)) <= values @ values <= chi2.isf(tail, len(values))


def _scales(question, d, size):
    """Noise of each value, relative to sigma: entries off a diagonal stand for two."""
    if question[0] != "moments" or question[-1] != "full":
        return np.ones(size)
    rows, columns = np.triu_indices(d)
    triangle = np.where(rows == columns, 1.0, 1 / sqrt(2))
    return np.tile(triangle, size // len(triangle))
