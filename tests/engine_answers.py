"""Every question that an engine can be asked, and the digest of its answers."""

import numpy as np

from cloister._backend import Grid, SoftmaxRegression
from cloister.codes import CODE_BOUND, MOMENT_BOUND, CodeGrid
from conftest import sha256


def answers(engine, k=3, seed=7):
    """Return the exact answers to one question of each kind, by name."""
    rng = np.random.default_rng(seed)
    grid, classes, d = engine.grid, engine.n_classes, engine.grid.d
    centres = grid.round_centres(rng.normal(size=(classes * k, d)) / d**0.5)
    centres = centres.reshape(classes, k, d)
    clip = grid.residual_clip(0.5, MOMENT_BOUND)
    group = np.arange(classes * k) % 2
    projections = np.rint(rng.normal(size=(2, d)) * CODE_BOUND / 4 / d**0.5).astype(np.int16)
    bins = Grid(
        projections, np.full(2, -(2**22)), np.full(2, 2**20), np.array([7, 9], dtype=np.int64)
    )
    model = SoftmaxRegression.on_grid(
        grid, centres[0, 0], rng.normal(size=(classes, d)), rng.normal(size=classes), radius=0.7
    )
    plain, residuals = engine.exact_tally(centres, None), engine.exact_tally(centres, clip)
    return {
        "tally": (plain.exact_counts, plain.exact_sums),
        "residual tally": (residuals.exact_counts, residuals.exact_sums),
        **{
            f"{moment} moments": (engine.exact_moments(centres, clip, group, moment),)
            for moment in ("full", "diagonal", "trace")
        },
        "bins": (engine.exact_bins(bins),),
        "gradient": (engine.exact_gradient(model),),
    }


def digests(engine):
    """Return the SHA-256 of each answer."""
    return {name: sha256(*arrays) for name, arrays in answers(engine).items()}


def grid_of(d):
    return CodeGrid(d, 1.0)
