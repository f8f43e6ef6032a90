"""The scikit-learn contract of the private estimators.

Each is checked twice. As users have it, it may fail only what asks for private labels on the
fitted object or for noise that repeats itself. With owner-side labels and a repeatable noise it
must pass everything: so nothing else hides behind the expected failures.
"""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from cloister import DPGaussianMixture, DPKMeans

# The checks make up labels, of which no list can be public beforehand.
pytestmark = pytest.mark.filterwarnings("ignore::cloister.errors.PublicClassesWarning")

PRIVATE_LABELS = "reads labels_, which are exact and therefore only set with compute_labels=True"
FRESH_NOISE = "compares two fits, whose noise differs: random_state never seeds it"
EXPECTED_FAILURES = {
    "DPKMeans": {
        "check_clustering": PRIVATE_LABELS,
        "check_clusterer_compute_labels_predict": FRESH_NOISE,
        "check_fit_idempotent": FRESH_NOISE,
    },
    "DPGaussianMixture": {"check_fit_idempotent": FRESH_NOISE},
}


def expected_failures(estimator):
    return EXPECTED_FAILURES[type(estimator).__name__]


# Not strict: two noisy models may happen to label a few rows alike.
@parametrize_with_checks(
    [DPKMeans(n_clusters=3), DPGaussianMixture()],
    expected_failed_checks=expected_failures,
    xfail_strict=False,
)
def test_as_users_have_it(estimator, check):
    check(estimator)


# The labels of 50 rows are only as good as a check demands where noise does not drown them.
REPEATABLE = {"epsilon": 1000.0, "unsafe_noise_seed": 0, "random_state": 0}


@parametrize_with_checks(
    [
        DPKMeans(n_clusters=3, compute_labels=True, clip_norm=3.0, **REPEATABLE),
        DPGaussianMixture(**REPEATABLE),
    ]
)
def test_everything_with_labels_and_repeatable_noise(estimator, check):
    check(estimator)
