"""The private course of a mixture with several components a class.

The mean and the pooled second moment of the classes say where components may lie; votes, lift,
splits and rounds, as in `DPKMeans` but in every class at once, find them; then the rows are asked
for second moments about the components that were found. Rows count for the nearest component
alone, so what overlaps is cut apart: docs/recovery.md shows from which separation on the
parameters of a mixture are recovered.
"""

import numpy as np

from cloister.codes import CodeGrid
from cloister.covariance import Covariances
from cloister.dp_kmeans_fit import KMeansCourse
from cloister.dp_kmeans_plan import plan_of_shares
from cloister.mixture_fit import COMPONENTS_PLAN, MixtureCourse, mixture_of
from cloister.mixture_numbers import MixtureNumbers
from cloister.privacy.release import Release
from cloister.privacy.session import PrivacyParameters
from cloister.seeding import Overview, release_overview
from cloister.shrinkage import safe_counts


def fit_components(
    release: Release,
    grid: CodeGrid,
    parameters: PrivacyParameters,
    n_classes: int,
    n_components: int,
    covariance_type: str,
    seed: int,
) -> MixtureNumbers:
    """Run the releases of `COMPONENTS_PLAN` and turn them into a mixture.

    Parameters
    ----------
    release : Release
        Of the session at hand.
    grid : CodeGrid
        The public grid.
    parameters : PrivacyParameters
        Tell mu.
    n_classes, n_components : int
        Classes, and components of each, at least 2.
    covariance_type : str
        One of `COVARIANCE_TYPES`.
    seed : int
        Of public randomness.
    """
    mus = {name: parameters.mu_of_share(share) for name, share in COMPONENTS_PLAN.items()}
    course = MixtureCourse(release, grid, mus, n_classes)
    overview = release_overview(release, grid, mus["mean"], mus["scatter"], n_classes=n_classes)
    counts, means, within = course.class_means(overview)
    pooled = course.second_moments(
        "second moments", means[:, None], counts[:, None], np.array([within]), "tied"
    )
    around = _gaussian(overview, within, pooled)
    n = float(counts.sum()) / n_classes
    plan = plan_of_shares(COMPONENTS_PLAN, n, grid.d, n_components, parameters.mu)
    rng = np.random.default_rng(seed)
    centres = KMeansCourse(release, grid, parameters, COMPONENTS_PLAN, rng)
    found = centres.centres("gaussian", n_components, around, plan, means)
    counts = safe_counts(found.noisy_counts, found.count_noise)
    scatters = course.scatters(
        "component scatters", found.centres, counts, found.within, covariance_type
    )
    covariances = course.second_moments(
        "component second moments", found.centres, counts, scatters, covariance_type
    )
    components = found.centres.reshape(-1, grid.d)
    return mixture_of(components, counts.ravel(), covariances, covariance_type)


def _gaussian(overview: Overview, within: float, pooled: Covariances) -> Overview:
    """Return the private Gaussian of rows about the means of their classes."""
    variances, axes = pooled.variances[0], pooled.directions[0].T
    return Overview(overview.mean, overview.noisy_n, within, variances, axes)
