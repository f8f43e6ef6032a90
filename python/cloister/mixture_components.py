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
from cloister.mixture_fit import MixtureCourse, mixture_of
from cloister.mixture_numbers import MixtureNumbers
from cloister.mixture_plan import MixturePlan
from cloister.mixture_rules import MixtureRules
from cloister.privacy.release import Release
from cloister.seeding import Overview
from cloister.shrinkage import safe_counts


def fit_components(
    release: Release, grid: CodeGrid, rules: MixtureRules, seed: int
) -> tuple[MixtureNumbers, None, MixturePlan]:
    """Run the planned releases of an untilted mixture of several components a class.

    Parameters
    ----------
    release : Release
        Of the session at hand.
    grid : CodeGrid
        The public grid.
    rules : MixtureRules
        What is public of the fit.
    seed : int
        Of public randomness.

    Returns
    -------
    numbers : MixtureNumbers
    untilted : None
        There is but one mixture.
    plan : MixturePlan
        The plan that was followed.
    """
    course = MixtureCourse(release, grid, rules)
    overview = course.overview()
    sizes, means, within = course.class_means(overview)
    pooled = course.second_moments(
        "second moments", means[:, None], sizes[:, None], np.array([within]), "tied"
    )
    around = _gaussian(overview, within, pooled)
    plan, rng = course.plan, np.random.default_rng(seed)
    search = KMeansCourse(release, grid, rules.mu, plan.shares, rng)
    found = search.centres("gaussian", rules.n_components, around, plan.components(), means)
    counts = safe_counts(found.noisy_counts, found.count_noise)
    scatters = course.scatters("component scatters", found.centres, counts, found.within)
    covariances = course.second_moments(
        "component second moments", found.centres, counts, scatters, rules.covariance_type
    )
    components = found.centres.reshape(-1, grid.d)
    return mixture_of(components, counts.ravel(), covariances, rules), None, plan


def _gaussian(overview: Overview, within: float, pooled: Covariances) -> Overview:
    """Return the private Gaussian of rows about the means of their classes."""
    mean, n = overview.mean, overview.noisy_n
    if pooled.rank == 0:  # variances alone, of more than `MAX_SPECTRUM_FEATURES`
        return Overview(mean, n, within, pooled.rest[0], None)
    return Overview(mean, n, within, pooled.variances[0], pooled.directions[0].T)
