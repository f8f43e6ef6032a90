"""What `bench_plan.py` measures: noise beside its prediction, and losses of k-means by plan."""

import math
import warnings

import numpy as np

from cloister import DPKMeans
from cloister.codes import CodeGrid
from cloister.engines import LocalEngine
from cloister.predictions import added_loss, eigenvalue_noise
from cloister.privacy.accounting import mu_from_epsilon
from cloister.privacy.release import Release
from cloister.shrinkage import safe_counts
from cloister.sources import array_source, encode_labels

DELTA = 1e-6
KINDS = ("clusters", "broad")
CLIP = 0.25  # of the residuals whose noise is measured


def rows_of(kind, n, d, k, seed=0):
    """Return float32 rows of norm at most 1.

    "clusters": k equal Gaussians of norm 0.2 about points of norm 0.75, as the many small clusters
    that votes and splits are for. "broad": unit rows about one mean, their variances falling as
    1 / i, as embeddings are: k-means has no right answer there.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, d), dtype=np.float32)
    if kind == "clusters":
        centres = rng.standard_normal((k, d), dtype=np.float32)
        centres *= 0.75 / np.linalg.norm(centres, axis=1, keepdims=True)
        rows = noise * np.float32(0.2 / math.sqrt(d)) + centres[np.arange(n) % k]
        return rows / np.maximum(1, np.linalg.norm(rows, axis=1, keepdims=True))
    scales = np.sqrt(1 / np.arange(1, d + 1))
    rows = noise * (scales / np.linalg.norm(scales)).astype(np.float32)
    rows[:, 0] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def releases_of(rows, seed):
    """Return two releases about the same rows: both take a mu of their own, only one draws."""
    n, d = rows.shape
    grid = CodeGrid(d, 1.0)
    labels = encode_labels(None, n)
    engine = LocalEngine(array_source(rows, "rows"), grid, labels, on_invalid="error")
    exact, noisy = (Release(engine, mu_limit=math.inf, unsafe_noise_seed=seed) for _ in range(2))
    return grid, exact, noisy


def loss_ratio(n, d, k, epsilon, seed):
    """Return measured over predicted loss that one release with half the budget adds.

    The means are those of sums and counts, both noisy, as fits take them but for shrinkage.
    """
    rows = rows_of("clusters", n, d, k, seed)
    mu = mu_from_epsilon(epsilon, DELTA) * math.sqrt(0.5)
    grid, exact, noisy = releases_of(rows, seed)
    centres = grid.round_centres(np.stack([rows[j::k].mean(axis=0) for j in range(k)]))[None]
    before = exact.tally("means", centres, math.inf, radius=CLIP)
    after = noisy.tally("means", centres, mu, radius=CLIP)
    counts = np.maximum(before.noisy_counts[0], 1)
    moved = after.noisy_sums[0] / safe_counts(after.noisy_counts, after.count_noise)[0][:, None]
    moved -= before.noisy_sums[0] / counts[:, None]
    measured = float(counts @ (moved**2).sum(axis=1)) / n
    return measured / added_loss(n, d, k, mu, CLIP)


def eigenvalue_ratio(n, d, epsilon, seed):
    """Return measured over predicted largest eigenvalue of a second moment's noise."""
    mu = mu_from_epsilon(epsilon, DELTA) * math.sqrt(0.5)
    _, exact, noisy = releases_of(rows_of("broad", n, d, 1, seed), seed)
    centre, group = np.zeros((1, 1, d), np.int16), np.zeros(1, np.int64)
    before, after = (
        release.moments("second moment", centre, group, cost, radius=CLIP, moment="full")
        for release, cost in ((exact, math.inf), (noisy, mu))
    )
    noise = (after.noisy_values[0] - before.noisy_values[0]) / n
    return float(np.linalg.eigvalsh(noise)[-1]) / eigenvalue_noise(n, d, mu, CLIP)


def fit_loss(rows, k, epsilon, seed, overrides):
    """Return the mean squared distance that a fit leaves, and its plan.

    Noise repeats itself, so that plans are compared on the same first centres.
    """
    settings = {"random_state": seed, "unsafe_noise_seed": seed, "plan_overrides": overrides}
    settings["n_hint"] = len(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that k-means of few samples may not converge is known
        model = DPKMeans(k, epsilon, DELTA, **settings).fit(rows)
    return -model.score(rows), model.plan_
