"""DPKMeans(init="histogram"): nested public grids, what they keep, and when "auto" takes them."""

from math import inf

import numpy as np
import pytest

from cloister import DPKMeans
from cloister.codes import CodeGrid
from cloister.dp_kmeans_histogram import (
    BINS,
    FEW_AXES_BINS,
    Cells,
    Pyramid,
    release_cells,
)
from cloister.dp_kmeans_plan import chosen_init
from cloister.engines import LocalEngine
from cloister.errors import InvalidInput
from cloister.privacy.release import Release
from cloister.seeding import Overview
from cloister.sources import as_source, encode_labels
from untouchable import untouchable


def overview_of(rows):
    values, axes = np.linalg.eigh(np.cov(rows.T, ddof=0).reshape(rows.shape[1], -1))
    mean = rows.mean(axis=0)
    return Overview(mean, float(len(rows)), float(values.sum()), np.maximum(values, 1e-6), axes)


def pyramid_of(rows):
    return Pyramid.of(CodeGrid(rows.shape[1], 1.0), overview_of(rows))


def release_of(rows, seed=0):
    grid = CodeGrid(rows.shape[1], 1.0)
    engine = LocalEngine(as_source(rows), grid, encode_labels(None, len(rows)))
    return Release(engine, mu_limit=inf, unsafe_noise_seed=seed)


def separated(n, d, k, width, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-1, 1, size=(8 * k, d))
    centres = 0.9 * centres[np.linalg.norm(centres, axis=1) < 1][:k]
    return centres[rng.integers(k, size=n)] + width * rng.standard_normal((n, d)), centres


@pytest.mark.parametrize("d", [1, 2, 3, 5, 8, 12])
def test_grids_are_nested_and_finite(d, rng):
    rows = rng.standard_normal((2_000, d)) * np.geomspace(0.2, 0.01, d) / np.sqrt(d)
    pyramid = pyramid_of(rows)
    most = FEW_AXES_BINS if len(pyramid.first) <= 3 else BINS
    last = pyramid.grid(pyramid.levels - 1)
    assert most / 4 < np.prod(last.cells) <= most
    points = rows @ pyramid.directions.T / pyramid.step
    for level in range(1, pyramid.levels):
        coarse, fine = pyramid.grid(level - 1), pyramid.grid(level)
        assert (fine.cells == 2 * coarse.cells).all()
        assert (2 * fine.widths == coarse.widths).all()
        inside = ((points - fine.origins) // fine.widths).astype(int)
        assert (inside // 2 == (points - coarse.origins) // coarse.widths).all()
        middles = pyramid.centres(inside, level) / pyramid.step
        assert np.abs(points - middles).max() <= fine.widths[0] / 2 * (1 + 1e-9) + (d > 8) * 1e9


def test_without_noise_the_cells_are_the_histogram():
    rows, _ = separated(4_000, 2, 30, 0.01)
    pyramid = pyramid_of(rows)
    cells = release_cells(release_of(rows), pyramid, inf)
    assert cells.noisy_counts.sum() == len(rows)
    squared = ((rows[:, None] - (cells.points @ pyramid.directions)[None]) ** 2).sum(axis=2)
    assert np.sqrt(squared.min(axis=1).max()) < pyramid.width_of(pyramid.levels - 1) * pyramid.step


def test_cells_stand_out_of_the_noise_and_account_for_the_rows():
    rows, centres = separated(50_000, 2, 40, 0.004)
    pyramid = pyramid_of(rows)
    cells = release_cells(release_of(rows), pyramid, 0.2)
    assert cells.noisy_counts.sum() == pytest.approx(len(rows), rel=0.05)
    points = cells.points @ pyramid.directions
    nearest = np.sqrt(((points[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1))
    assert (cells.noisy_counts * (nearest > 0.05)).sum() < 0.01 * len(rows)
    assert 40 <= len(points) < 1_000
    found = np.sqrt(((points[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=0))
    assert (found < 0.03).all()


def test_noise_alone_fills_hardly_a_cell():
    rows = np.zeros((1, 3))
    overview = Overview(np.zeros(3), 1.0, 0.5, np.full(3, 0.5 / 3), None)
    pyramid = Pyramid.of(CodeGrid(3, 1.0), overview)
    found = [len(release_cells(release_of(rows, s), pyramid, 0.1).points) for s in range(5)]
    assert sum(found) <= 5  # of 5 * 4096 bins, one in 30,000 is beyond four deviations


def test_cells_are_made_as_many_as_there_are_centres(rng):
    cells = Cells(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([1e6, 1.0]), np.array([0.1, 0.1]))
    more = cells.at_least(9, rng)
    assert len(np.unique(more.points, axis=0)) == 9
    assert np.abs(more.points[2:] - cells.points[0]).max() <= 0.05
    assert cells.at_least(2, rng) is cells


def test_many_small_clusters_in_few_dimensions_are_found():
    rows, centres = separated(100_000, 3, 200, 0.006)
    squared = ((rows[:, None] - centres[None]) ** 2).sum(axis=2)
    true = squared.min(axis=1).mean()
    repeatable = {"delta": 1e-6, "random_state": 0, "unsafe_noise_seed": 0}
    losses = {
        init: -DPKMeans(200, 0.25, init=init, **repeatable).fit(rows).score(rows)
        for init in ("histogram", "gaussian")
    }
    assert losses["histogram"] < 6 * true
    assert losses["histogram"] < losses["gaussian"] / 2


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_rows_that_fill_no_bin_are_no_worse_than_their_gaussian(epsilon, rng):
    rows = rng.standard_normal((2_000, 5)) / 5
    one_mean = rows.var(axis=0).sum()
    model = DPKMeans(10, epsilon, init="histogram", random_state=0, unsafe_noise_seed=1).fit(rows)
    assert -model.score(rows) < 1.02 * one_mean


def test_auto_follows_a_public_rule():
    assert chosen_init(100_000, 2, 1_000, 0.24) == "histogram"
    assert chosen_init(100_000, 5, 1_000, 0.24) == "histogram"
    assert chosen_init(100_000, 8, 1_000, 0.24) == "gaussian"
    assert chosen_init(100_000, 2, 50, 0.24) == "gaussian"
    assert chosen_init(100_000, 2, 1_000, 0.02) == "gaussian"
    assert chosen_init(1_000, 2, 8, 0.24) == "gaussian"
    assert chosen_init(None, 2, 1_000, 0.24) == "gaussian"
    assert chosen_init(100_000, None, 1_000, 0.24) == "gaussian"
    assert chosen_init(100_000, 2, 1_000, inf) == "gaussian"


def test_auto_is_what_it_chooses():
    rows, _ = separated(3_000, 2, 40, 0.01)
    options = {"n_hint": 3_000, "random_state": 0, "unsafe_noise_seed": 0}
    model = DPKMeans(40, 1.5, **options)
    assert "histogram" in model.shares(2)
    assert "votes" in model.shares()
    fixed = DPKMeans(40, 1.5, init="histogram", **options).fit(rows)
    assert (model.fit(rows).cluster_centers_ == fixed.cluster_centers_).all()
    assert model.plan_ == fixed.plan_ == model.plan(3_000, 2)


def test_the_rows_vote_on_public_candidates():
    rows, centres = separated(30_000, 4, 6, 0.02)
    far = 0.9 * np.eye(4)[[0, 1, 2, 3, 0, 1]] * [[1], [1], [1], [1], [-1], [-1]]
    candidates = np.concatenate([far, centres + 0.03, far * 0.97])
    model = DPKMeans(6, 1.0, init=candidates, random_state=0, unsafe_noise_seed=0).fit(rows)
    assert [event.name for event in model.privacy_.events][:3] == ["mean", "scatter", "votes"]
    true = ((rows[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1).mean()
    assert -model.score(rows) < 1.05 * true
    assert sum(model.shares().values()) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(3, 4), (9, 3), (9,), (9, 4, 1)])
def test_candidates_of_another_shape_are_refused(shape):
    with pytest.raises(InvalidInput, match=r"init"):
        DPKMeans(4, init=np.ones(shape)).fit(untouchable(np.ones((50, 4))))
