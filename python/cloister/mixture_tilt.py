"""The private course of a tilted mixture: noisy gradient steps of a softmax regression.

Counts, mean, scatter, class means and the second moment of all rows come first, for a few per cent
of the budget each. The moment preconditions the descent, whose every step is a release; what it
learns is then written into the means of a mixture. All but the releases is post-processing, and
the radii of clips follow from public numbers and earlier releases, never from the rows.

Constants were chosen on Fashion-MNIST embeddings and pixels and on MNIST pixels.
"""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cloister._backend import Grid, SoftmaxRegression
from cloister.codes import CodeGrid
from cloister.covariance import Covariances
from cloister.mixture_fit import MixtureCourse, scaled_covariance, without
from cloister.mixture_numbers import MixtureNumbers
from cloister.mixture_plan import MixturePlan
from cloister.mixture_rules import MixtureRules
from cloister.privacy.answers import NoisyTally
from cloister.privacy.release import Release
from cloister.seeding import MAX_SPECTRUM_FEATURES, Overview
from cloister.shrinkage import james_stein, project_to_ball, safe_counts
from cloister.tilted_mixture import mixture_bias, tilted_mixture

RATE = 1.4  # of Newton's step where all probabilities are the priors; 3 is the most, see there
RATE_DECAY = 0.5  # the part of the rate that the last step lacks
MOMENTUM = 0.5
# Curvature is not trusted below this many times d / n average eigenvalues: where rows are few, that
# is all of it, and where n is large nothing.
SAMPLING_FLOOR = 16.0
# No eigenvalue of rows exceeds the trace, and few a third of it: a larger floor only slows down.
LARGEST_FLOOR = 1 / 3
# Newton's step would be as many times longer for a class as it is rarer, and so would be its noise:
# measured, with the root a class of 1 % is learnt, and with the whole factor lost in noise.
RARITY = 0.5


def fit_tilted_mixture(
    release: Release, grid: CodeGrid, rules: MixtureRules
) -> tuple[MixtureNumbers, MixtureNumbers, MixturePlan]:
    """Run the planned releases and turn them into two mixtures of one component a class.

    Parameters
    ----------
    release : Release
        Of the session at hand.
    grid : CodeGrid
        The public grid.
    rules : MixtureRules
        What is public of the fit, which has 2 classes at least.

    Returns
    -------
    tilted : MixtureNumbers
        Its Bayes rule is the softmax regression that was learnt.
    untilted : MixtureNumbers
        Means of the classes and the covariance within them, as they were released.
    plan : MixturePlan
        The plan that was followed.
    """
    # One thread: sums in another order would make a resumed fit ask another question.
    with threadpool_limits(1):
        course = _TiltedCourse(release, grid, rules)
        counts = course.class_counts()
        n = float(counts.sum())
        priors = counts / n
        overview = course.overview(n)
        sums = course.class_sums(overview)
        shifts = course.class_shifts(sums, counts)
        covariances, noise = course.second_moment(overview)
        within = without(covariances, (shifts * priors[:, None]).T @ shifts)
        weights = course.descend(overview, priors, covariances, noise, sums.noisy_sums[:, 0])
        untilted = MixtureNumbers(
            priors,
            project_to_ball(overview.mean + shifts, grid.clip_norm),
            within,
            np.zeros(rules.n_classes, dtype=np.int64),
        )
        tilted = tilted_mixture(weights, priors, overview.mean, covariances)
        return tilted, untilted, course.plan


class _TiltedCourse(MixtureCourse):
    """The releases of one fit about the overall mean, and what they leave."""

    def class_counts(self) -> NDArray[np.float64]:
        """Counts of the classes, fit to divide by: sensitivity 1, sharper than those of sums."""
        one = np.ones(1, dtype=np.int64)
        whole = Grid(np.zeros((1, self._grid.d), dtype=np.int16), 0 * one, one, one)
        noisy, noise = self._release.histogram("class counts", whole, self._mus["class counts"])
        return safe_counts(noisy[:, 0], noise)

    def class_sums(self, overview: Overview) -> NoisyTally:
        """Sums of the rows of each class about the overall mean."""
        mu = self._mus["class means"]
        radius = self._radius(self.plan.mean_radius, overview.scatter)
        return self._release.tally("class means", self._on_grid(overview.mean), mu, radius=radius)

    def class_shifts(self, sums: NoisyTally, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Class means less the overall mean, shape (classes, d), shrunk by their noise."""
        noise_variance = (sums.sum_noise / counts) ** 2
        return james_stein(sums.noisy_sums[:, 0] / counts[:, None], noise_variance)

    def second_moment(self, overview: Overview) -> tuple[Covariances, float]:
        """Second moment of all rows about the mean, de-noised, in d directions.

        Returns
        -------
        covariances : Covariances
            Of trace `overview.scatter`.
        noise : float
            Largest eigenvalue that noise alone makes, as a part of the trace.
        """
        mu, d, n = self._mus["second moments"], self._grid.d, overview.noisy_n
        full = d <= MAX_SPECTRUM_FEATURES
        radius = self._radius(self.plan.moment_radius, overview.scatter)
        released = self._release.moments(
            "second moments",
            self._on_grid(overview.mean),
            np.zeros(self._rules.n_classes, dtype=np.int64),
            mu,
            radius=radius,
            moment="full" if full else "diagonal",
        )
        noise = released.noise / n
        directions, variances, rest = scaled_covariance(
            released.noisy_values[0] / n, noise, overview.scatter
        )
        if not full:
            directions, variances = np.eye(d), rest
        # A clip shortens rows to the radius, and the trace with them.
        relative = noise / min(radius**2, overview.scatter)
        edge = relative * (np.sqrt(2 * d) if full else np.sqrt(2 * np.log(d)))
        return Covariances(directions[None], variances[None], rest[None]), float(edge)

    def descend(
        self,
        overview: Overview,
        priors: NDArray[np.float64],
        covariances: Covariances,
        noise: float,
        class_sums: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Preconditioned noisy gradient steps of a softmax regression about the mean.

        From zero weights, where the gradient follows from the class sums: that step is free.
        Biases are those of the mixture that the weights make. The preconditioner is Newton's where
        probabilities are the priors.

        Returns
        -------
        array of shape (classes, d)
            Logits a unit of (row - mean).
        """
        steps = self.plan.gradient_steps
        mu = self._mus["gradients"] / float(np.sqrt(steps))
        n = overview.noisy_n
        radius = self._radius(self.plan.row_radius, overview.scatter)
        length = max(radius, float(np.sqrt(overview.scatter)))  # of what becomes 1
        precondition = _preconditioner(covariances, noise, n, length)
        of_class = _class_steps(priors)[:, None]
        centre = np.ascontiguousarray(self._on_grid(overview.mean)[0, 0])
        first = _gradient_at_zero(priors, class_sums / (n * length), self.plan.residual_radius)
        velocity = of_class * (first @ precondition)
        weights = -velocity
        for step in range(steps):
            bias = mixture_bias(weights / length, priors, covariances)
            model = SoftmaxRegression.on_grid(
                self._grid,
                centre,
                weights,
                bias,
                radius=radius,
                residual_radius=self.plan.residual_radius,
            )
            released = self._release.gradient(f"gradient {step + 1}", model, mu)
            gradient = released.noisy_gradient / n
            gradient -= gradient.mean(axis=0)  # residuals of a row sum to zero, but for rounding
            velocity = MOMENTUM * velocity + of_class * (gradient @ precondition)
            weights = weights - (1 - RATE_DECAY * step / steps) * velocity
        return np.asarray(weights / length)


def _gradient_at_zero(
    priors: NDArray[np.float64], class_sums: NDArray[np.float64], residual_radius: float
) -> NDArray[np.float64]:
    """Gradient at zero weights, shape (classes, d): all rows of a class have one residual there."""
    residuals = priors - np.eye(len(priors))
    norms = np.linalg.norm(residuals, axis=1, keepdims=True)
    residuals *= np.minimum(1.0, residual_radius / norms)
    return np.asarray(residuals.T @ class_sums)


def _preconditioner(
    covariances: Covariances, noise: float, n: float, length: float
) -> NDArray[np.float64]:
    """Inverse of the second moment of rows / length, floored, times the rate, shape (d, d).

    With p the probabilities and a the rows, the curvature of the log loss is
    E[(diag p - p p^T) (x) a a^T]. Where E[p] are the priors q, its first factor is largest if p = q
    everywhere (Jensen), and `_class_steps` makes that 1: steps with momentum m converge up to a
    rate of 2 (1 + m) (Polyak 1964).
    """
    variances, directions = covariances.variances[0], covariances.directions[0]
    floor = variances.sum() * min(np.hypot(noise, SAMPLING_FLOOR / n), LARGEST_FLOOR)
    inverse = RATE * length**2 / np.maximum(variances, floor)
    return np.asarray((directions.T * inverse) @ directions)


def _class_steps(priors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lengths of the steps of classes, shape (classes,): longer for rare ones.

    Such that S^(1/2) (diag q - q q^T) S^(1/2) has largest eigenvalue 1, with S of these lengths.
    """
    steps = (priors.max() / priors) ** RARITY
    roots = np.sqrt(steps)
    curvature = roots[:, None] * (np.diag(priors) - np.outer(priors, priors)) * roots
    return np.asarray(steps / np.linalg.eigvalsh(curvature)[-1])
