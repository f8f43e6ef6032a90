"""The plan of a mixture: from public numbers, followed, changed by hand, stored and restored."""

from dataclasses import asdict, replace
from math import inf

import numpy as np
import pytest

from cloister import DPGaussianMixture
from cloister.errors import InvalidInput, InvalidType, ModelFileError
from cloister.mixture_plan import GRADIENT_STEPS
from cloister.mixture_rules import MixtureRules
from cloister.model_file import read_model, write_model
from untouchable import untouchable

SHAPES = [
    (1, "tied", 3, True),
    (1, "tied", 3, False),
    (1, "low_rank", 3, False),
    (1, "full", 3, False),
    (1, "diag", 1, False),
    (1, "spherical", 2, False),
    (2, "tied", 2, False),
]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=3_000)
    X = rng.normal(size=(3, 10))[y] + 0.5 * rng.normal(size=(3_000, 10))
    return X / np.linalg.norm(X, axis=1, keepdims=True), y


def mixture(shape=SHAPES[0], **parameters):
    n_components, covariance_type, classes, tilt = shape
    listed = {"classes": range(classes), "tilt": tilt, "random_state": 0}
    return DPGaussianMixture(n_components, covariance_type, **listed, **parameters)


@pytest.mark.parametrize("epsilon", [0.5, 50.0, inf])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_plan_is_public_followed_and_saved(rows, tmp_path, shape, epsilon):
    X, y = rows
    model = mixture(shape, n_hint=3_000, epsilon=epsilon, delta=1e-6)
    planned = model.plan(3_000, 10)
    model.fit(X, y % shape[2])
    assert model.plan_ == planned
    assert planned.tilted is (model.untilted_ is not None)
    assert planned.shares == model.shares()
    assert planned == mixture(shape, epsilon=epsilon, delta=1e-6).plan(3_000, 10, shape[2])
    path = tmp_path / "m.safetensors"
    model.save(path, allow_unsafe=True)
    assert DPGaussianMixture.load(path).plan_ == planned


def test_without_a_hint_the_plan_follows_noisy_counts(rows):
    model = mixture(SHAPES[1], epsilon=20.0).fit(*rows)
    exact = mixture(SHAPES[1], epsilon=20.0).plan(3_000, 10)
    assert model.plan_ != exact  # of noisy numbers of rows
    assert asdict(model.plan_) == {
        **asdict(exact),
        "mean_radius": pytest.approx(exact.mean_radius, rel=0.05),
        "moment_radius": pytest.approx(exact.moment_radius, rel=0.05),
        "added_loss": pytest.approx(exact.added_loss, rel=0.2),
        "eigenvalue_noise": pytest.approx(exact.eigenvalue_noise, rel=0.2),
    }


def test_a_hint_changes_no_estimate_where_clips_do_not_open(rows):
    X, y = rows
    plain, hinted = (
        mixture(epsilon=0.5, unsafe_noise_seed=1, n_hint=hint).fit(X, y)
        for hint in (None, 2 * len(X))
    )
    unpredicted = {"added_loss": 0.0, "eigenvalue_noise": 0.0}
    assert replace(plain.plan_, **unpredicted) == replace(hinted.plan_, **unpredicted)
    assert (plain.means_ == hinted.means_).all()
    assert (plain.weights_ == hinted.weights_).all()


def test_clips_open_where_noise_is_small_and_close_where_it_is_not():
    def radii(n, mu, kind="tied", d=16, classes=4):
        plan = MixtureRules(d, classes, 1, kind, tilted=False, mu=mu).plan(n)
        return plan.mean_radius, plan.moment_radius

    assert radii(1_000, 0.1) == (0.9, 0.7)
    assert radii(1_000, inf) == (16.0, 16.0)
    mean, moment = radii(10_000, 1.0)
    assert mean == pytest.approx(0.005 * 0.35**0.5 * 1e4 / (4 * 16**0.5))
    assert moment == pytest.approx((0.02 * 0.60**0.5 * 1e4 / (2**0.5 * 64)) ** 0.5)
    diagonal, trace = radii(10_000, 1.0, "diag"), radii(10_000, 1.0, "spherical")
    assert diagonal[1] == pytest.approx((0.02 * 0.33**0.5 * 2500 / 16) ** 0.5)  # 2500 rows each
    assert trace[1] == pytest.approx((0.02 * 0.33**0.5 * 2500) ** 0.5)
    wide = replace(MixtureRules(3_000, 2, 1, "tied", tilted=True, mu=1.0), n_hint=10**6)
    assert wide.plan(1).moment_radius > radii(10**6, 1.0, d=3_000)[1]  # variances alone


def test_each_number_of_the_plan_may_be_fixed(rows):
    X, y = rows
    fixed = {
        "shares": {"class means": 0.10, "gradients": 0.82},
        "gradient_steps": 3,
        "mean_radius": 0.8,
        "moment_radius": 0.6,
        "row_radius": 0.7,
        "residual_radius": 0.4,
    }
    model = mixture(plan_overrides=fixed).fit(X, y)
    assert {**asdict(model.plan_), "shares": 0} == {
        **asdict(mixture().plan(3_000, 10)),
        **fixed,
        "shares": 0,
        "added_loss": model.plan_.added_loss,
        "eigenvalue_noise": model.plan_.eigenvalue_noise,
    }
    events = {event.name: event for event in model.privacy_.events}
    assert [name for name in events if "gradient" in name] == [f"gradient {i}" for i in (1, 2, 3)]
    mu = {name: event.mu**2 for name, event in events.items()}
    assert mu["class means"] / mu["mean"] == pytest.approx(10, rel=1e-9)
    assert mu["gradient 1"] / mu["mean"] == pytest.approx(82 / 3, rel=1e-9)


@pytest.mark.parametrize("name", ["mean_radius", "moment_radius", "row_radius", "residual_radius"])
def test_each_radius_is_the_one_that_clips(rows, name):
    X, y = rows
    usual, tight = (
        mixture(epsilon=inf, plan_overrides=fixed).fit(X, y) for fixed in ({}, {name: 1e-3})
    )
    numbers = (usual.untilted_, tight.untilted_) if name == "mean_radius" else (usual, tight)
    means = [n.means if name == "mean_radius" else n.means_ for n in numbers]
    assert np.abs(means[0] - means[1]).max() > 1e-3


def test_the_clip_of_rounds_is_the_plans(rows):
    X, y = rows
    shape = SHAPES[-1]
    few = {"epsilon": 50.0, "unsafe_noise_seed": 1}
    tight = mixture(shape, plan_overrides={"round_radius": 1e-6}, **few).fit(X, y % 2)
    usual = mixture(shape, **few).fit(X, y % 2)
    assert np.abs(tight.means_ - usual.means_).max() > 1e-3
    assert tight.plan_.round_radius == 1e-6


@pytest.mark.parametrize(
    ("shape", "overrides", "message"),
    [
        (0, {"gradient_step": 3}, "names 'gradient_step', but a plan has shares, mean_radius"),
        (0, {"gradient_steps": 0}, "outside"),
        (0, {"gradient_steps": 2.5}, "whole number"),
        (0, {"residual_radius": 2.0}, "outside"),
        (0, {"mean_radius": "wide"}, "must be a number"),
        (0, {"shares": {"mean": 0.5}}, "brings the sum"),
        (0, {"shares": {"components 1": 0.2}}, "releases of a tilted mixture are class counts"),
        (0, {"shares": 0.5}, "must be a mapping"),
        (0, [("mean_radius", 1.0)], "must be a mapping or None"),
        (1, {"shares": {"gradients": 0.2}}, "releases of an untilted mixture are mean"),
        (1, {"gradient_steps": 3}, "is not tilted"),
        (1, {"row_radius": 1.0}, "is not tilted"),
        (0, {"round_radius": 1.0}, "has none to find"),
    ],
)
def test_impossible_plans_are_refused_before_the_rows_are_read(shape, overrides, message):
    model = mixture(SHAPES[shape], plan_overrides=overrides)
    with pytest.raises((InvalidInput, InvalidType), match=message):
        model.fit(untouchable(np.ones((50, 10))), np.arange(50) % 3)
    with pytest.raises((InvalidInput, InvalidType), match=message):
        model.plan(50, 10)


def test_impossible_sizes_are_refused():
    for sizes, message in [((0, 8), "n_hint=0"), ((9, 0), "d=0"), ((9, 8, 0), "n_classes=0")]:
        with pytest.raises(InvalidInput, match=message):
            DPGaussianMixture().plan(*sizes)
    with pytest.raises(InvalidInput, match="n_hint=0"):
        DPGaussianMixture(n_hint=0).fit(untouchable(np.ones((50, 10))))


def test_classes_and_features_decide_on_tilting():
    assert DPGaussianMixture().plan(1_000, 8).gradient_steps == GRADIENT_STEPS
    assert DPGaussianMixture().plan(1_000, 8, 3).tilted
    for sizes in [(1_000, 7), (1_000, 8, 1)]:
        plan = DPGaussianMixture().plan(*sizes)
        assert (plan.gradient_steps, plan.row_radius, plan.residual_radius) == (0, 0.0, 0.0)
    assert not DPGaussianMixture(classes=["a"]).plan(1_000, 8).tilted


def test_a_plan_of_another_version_or_hand(rows, tmp_path):
    path = tmp_path / "m.safetensors"
    mixture().fit(*rows).save(path)
    _, arrays, header = read_model(path)
    for damage in (
        {"gradient_steps": 20.5},
        {"mean_radius": -1.0},
        {"step": 3},
        {"shares": [1]},
        {"shares": {"mean": 1.5}},
    ):
        write_model(path, "mixture", arrays, header | {"plan": header["plan"] | damage})
        with pytest.raises(ModelFileError, match="write the model again"):
            DPGaussianMixture.load(path)
    del header["plan"]  # as earlier versions wrote it
    for name in ("plan_overrides", "n_hint"):
        del header["parameters"][name]
    write_model(path, "mixture", arrays, header)
    loaded = DPGaussianMixture.load(path)
    assert loaded.plan_ is None
    loaded.save(path)
    assert DPGaussianMixture.load(path).plan_ is None
