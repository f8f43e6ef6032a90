"""DPKMeans: its loss against the true centres and non-private k-means, and what it keeps."""

import numpy as np
import pytest
from sklearn.cluster import KMeans as SklearnKMeans

from cloister import DPKMeans
from cloister.dp_kmeans_plan import (
    INITS,
    affordable_splits,
    residual_rounds,
    round_radius,
    vote_cells,
)
from cloister.errors import InvalidInput, InvalidType, ModelFileError
from cloister.model_file import read_model, write_model
from untouchable import untouchable


def blobs(n, d, k, spread, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-1, 1, size=(k, d))
    centres *= 0.9 / np.linalg.norm(centres, axis=1).max()
    rows = centres[rng.integers(k, size=n)] + spread * rng.normal(size=(n, d))
    return rows, centres


def loss(rows, centres):
    squared = ((rows[:, None] - centres[None]) ** 2).sum(axis=2)
    return squared.min(axis=1).mean()


@pytest.mark.parametrize("init", INITS)
def test_finds_separated_clusters(init):
    rows, centres = blobs(20_000, 2, 6, 0.03)
    losses = [
        loss(
            rows, DPKMeans(6, epsilon=2.0, init=init, random_state=seed).fit(rows).cluster_centers_
        )
        for seed in range(3)
    ]
    one_mean = rows.var(axis=0).sum()
    limit = 0.35 * one_mean if init == "random" else 4 * loss(rows, centres)
    assert np.median(losses) < limit


def test_public_centres_stay_near_where_they_belong():
    rows, centres = blobs(20_000, 10, 8, 0.05)
    model = DPKMeans(8, epsilon=1.0, init=centres).fit(rows)
    assert loss(rows, model.cluster_centers_) < 1.05 * loss(rows, centres)
    assert np.linalg.norm(model.cluster_centers_ - centres, axis=1).max() < 0.05


def test_more_epsilon_is_better_and_infinity_is_k_means():
    rows, _ = blobs(20_000, 20, 10, 0.08, seed=2)
    best = SklearnKMeans(10, n_init=5, random_state=0).fit(rows).inertia_ / len(rows)
    found = {
        epsilon: np.median(
            [
                loss(
                    rows,
                    DPKMeans(10, epsilon=epsilon, random_state=seed).fit(rows).cluster_centers_,
                )
                for seed in range(5)
            ]
        )
        for epsilon in (0.02, 1.0, np.inf)
    }
    assert found[0.02] > 1.2 * found[1.0]
    assert found[1.0] > 0.9 * found[np.inf]  # local optima differ: noise may find a better one
    assert found[np.inf] < 1.25 * best
    assert found[1.0] < 2 * best


def test_noise_differs_and_public_randomness_does_not():
    rows, _ = blobs(2_000, 5, 4, 0.1)
    first, second = (DPKMeans(4, random_state=0).fit(rows) for _ in "ab")
    assert (first.cluster_centers_ != second.cluster_centers_).all(axis=1).any()
    seeded = [DPKMeans(4, random_state=0, unsafe_noise_seed=1).fit(rows) for _ in "ab"]
    assert (seeded[0].cluster_centers_ == seeded[1].cluster_centers_).all()
    assert "NOT differentially private" in seeded[0].privacy_.statement()


def test_counts_and_centres_are_plausible():
    rows, _ = blobs(30_000, 4, 5, 0.05)
    model = DPKMeans(5, epsilon=3.0, clip_norm=1.0).fit(rows)
    assert model.cluster_centers_.shape == (5, 4)
    assert np.linalg.norm(model.cluster_centers_, axis=1).max() <= 1.0 + 1e-9
    assert model.noisy_counts_.sum() == pytest.approx(30_000, rel=0.01)
    assert (model.noisy_counts_ != np.rint(model.noisy_counts_)).any()  # weighted: not the counts


def test_labels_are_the_owners_and_only_on_request():
    rows, centres = blobs(3_000, 3, 4, 0.02)
    model = DPKMeans(4, epsilon=5.0, init=centres)
    assert not hasattr(model.fit(rows), "labels_")
    labels = model.set_params(compute_labels=True).fit_predict(rows)
    nearest = ((rows[:, None] - model.cluster_centers_[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (labels == nearest).mean() > 0.999
    assert model.score(rows) == pytest.approx(-loss(rows, model.cluster_centers_), rel=1e-5)


def test_saved_model_is_the_model(tmp_path):
    rows, centres = blobs(3_000, 3, 4, 0.02)
    model = DPKMeans(4, init=centres, encoder_id="made up", compute_labels=True).fit(rows)
    model.save(tmp_path / "centres.safetensors")
    loaded = DPKMeans.load(tmp_path / "centres.safetensors")
    assert (loaded.predict(rows) == model.predict(rows)).all()
    assert loaded.privacy_ == model.privacy_
    assert not hasattr(loaded, "labels_")


@pytest.mark.parametrize("init", [*INITS, np.zeros((8, 2))])
def test_plan_spends_the_budget_once(init):
    assert sum(DPKMeans(init=init).shares().values()) == pytest.approx(1.0, abs=1e-12)


def test_rules_are_monotone_in_what_noise_allows():
    assert vote_cells(2) == 128
    assert vote_cells(64) == 1024
    assert vote_cells(1000) == 4000
    assert affordable_splits(1e4, 64, 64, 0.1) == 1
    assert affordable_splits(1e6, 64, 64, 0.1) == 2
    assert affordable_splits(1e3, 64, 64, np.inf) == 2
    assert residual_rounds(1e3, 512, 64, 0.1) == 5
    assert residual_rounds(1e6, 64, 8, 1.0) == 10
    assert residual_rounds(1e6, 64, 8, np.inf) == 100
    assert [round_radius(noise) for noise in (1.0, 0.002, 0.0005, 0.0)] == [0.75, 1.0, 2.0, 16.0]


def test_clips_bias_nothing_where_noise_is_small():
    """Rows of one broad Gaussian: without noise 0.0079 is left, clipped to 0.75 of it 0.0163."""
    rows = np.random.default_rng(0).standard_normal((10_000, 2))
    rows = rows * [0.8, 0.6] + [1.0, 0.0]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    model = DPKMeans(16, 8.0, 1e-6, random_state=0, unsafe_noise_seed=0).fit(rows)
    assert -model.score(rows) < 0.0115


def test_the_plan_is_public_followed_and_saved(tmp_path):
    rows, _ = blobs(20_000, 10, 6, 0.02)
    model = DPKMeans(6, epsilon=2.0, n_hint=20_000)
    planned = model.plan(20_000, 10)
    assert model.fit(rows).plan_ == planned
    names = [event.name for event in model.privacy_.events]
    splits = [f"split {i + 1}" for i in range(planned.splits)]
    rounds = [f"round {i + 1}" for i in range(planned.rounds)]
    assert names == ["mean", "scatter", "votes", "lift", *splits, *rounds]
    model.save(tmp_path / "m.safetensors")
    assert DPKMeans.load(tmp_path / "m.safetensors").plan_ == planned


def test_each_number_of_the_plan_may_be_fixed():
    rows, _ = blobs(5_000, 5, 4, 0.1)
    shares = {"mean": 0.05, "scatter": 0.05, "votes": 0.15, "rounds": 0.55}
    fixed = {"shares": shares, "vote_cells": 40, "splits": 0, "rounds": 2, "least_rows": 0.0}
    model = DPKMeans(4, plan_overrides={**fixed, "round_radius": 0.5}).fit(rows)
    assert model.plan_.vote_cells == 40
    assert model.plan_.round_radius == 0.5
    mus = {event.name: event.mu**2 for event in model.privacy_.events}
    assert list(mus) == ["mean", "scatter", "votes", "lift", "round 1", "round 2"]
    assert mus["votes"] / mus["mean"] == pytest.approx(3, rel=1e-9)
    assert DPKMeans(4, plan_overrides={"vote_cells": 0}).fit(rows).plan_.vote_cells == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"round": 3}, "names 'round', but a plan has shares"),
        ({"rounds": 0}, "outside"),
        ({"shares": {"lift": 0.2}}, "brings the sum"),
        ({"shares": {"lifts": 0.2}}, "names 'lifts'"),
        ({"lift_radius": "wide"}, "must be a number"),
        ({"lift_radius": 0.0}, "outside"),
        ({"round_radius": 0}, "outside"),
        ({"vote_cells": 3}, "n_clusters=4 centres"),
        ({"vote_cells": 2**20}, "make 1048576 cells"),
        ({"splits": -1}, "outside"),
    ],
)
def test_impossible_plans_are_refused_before_the_rows_are_read(overrides, message):
    with pytest.raises((InvalidInput, InvalidType), match=message):
        DPKMeans(4, plan_overrides=overrides).fit(untouchable(np.ones((50, 500))))


def test_overrides_that_would_be_ignored_are_refused():
    with pytest.raises(InvalidInput, match=r"init='random' has no votes"):
        DPKMeans(4, init="random", plan_overrides={"splits": 2}).plan(100, 5)
    with pytest.raises(InvalidInput, match="leave one out"):
        DPKMeans(4, n_rounds=3, plan_overrides={"rounds": 4}).plan(100, 5)


def test_shares_that_sum_to_one_but_for_rounding_are_scaled():
    shares = {"mean": 0.03 + 9e-10}
    model = DPKMeans(2, plan_overrides={"shares": shares}, n_rounds=2).fit(np.eye(40)[:, :5])
    assert sum(model.shares().values()) == pytest.approx(1.0, abs=1e-15)


def test_a_plan_of_another_version_or_hand(tmp_path):
    rows, _ = blobs(500, 3, 2, 0.1)
    path = tmp_path / "m.safetensors"
    DPKMeans(2).fit(rows).save(path)
    _, arrays, header = read_model(path)
    for damage in ({"rounds": "ten"}, {"vote_cells": -1}, {"round": 3}):
        write_model(path, "kmeans", arrays, header | {"plan": header["plan"] | damage})
        with pytest.raises(ModelFileError, match="write the model again"):
            DPKMeans.load(path)
    del header["plan"]  # as version 0.1.0 wrote it
    write_model(path, "kmeans", arrays, header)
    assert DPKMeans.load(path).plan_ is None


def test_many_small_clusters_are_all_found():
    """A short version of Synth-64-100 (benchmarks/bench_quality.py has the whole)."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((64, 100))
    centres *= 0.875 / np.linalg.norm(centres, axis=1, keepdims=True)
    rows = centres[rng.integers(64, size=100_000)] + rng.standard_normal((100_000, 100)) / 80
    model = DPKMeans(64, 1.0, 1e-6, random_state=0, unsafe_noise_seed=0).fit(rows)
    assert -model.score(rows) < 0.0165  # the true centres leave 0.0156


def test_hint_and_rounds_are_taken():
    rows, _ = blobs(2_000, 5, 4, 0.1)
    model = DPKMeans(4, n_rounds=3, n_hint=2_000, init="random").fit(rows)
    assert model.n_iter_ == 3
    assert [event.name for event in model.privacy_.events][-3:] == [
        "round 1",
        "round 2",
        "round 3",
    ]


@pytest.mark.data
def test_real_images_at_epsilon_one(real_data):
    rows = real_data("mnist.npz")["x_train"].reshape(60_000, 784).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    model = DPKMeans(10, epsilon=1.0, delta=1e-6, random_state=0).fit(rows)
    assert -model.score(rows) < 0.46  # one mean 0.600, non-private k-means 0.441


def test_a_failed_or_changed_fit_leaves_a_whole_model(tmp_path):
    rows, _ = blobs(2_000, 3, 4, 0.1)
    model = DPKMeans(4).fit(rows)
    wide = np.full((10, 5), np.nan)
    with pytest.raises(InvalidInput, match="NaN"):
        model.fit(wide)
    assert model.predict(rows).shape == (2_000,)
    model.save(tmp_path / "model.safetensors")
    assert DPKMeans.load(tmp_path / "model.safetensors").n_features_in_ == 3
    with pytest.raises(InvalidInput, match="fit again"):
        model.set_params(n_clusters=5).save(tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()
