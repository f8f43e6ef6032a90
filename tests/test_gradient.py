"""gradient: equal to its slow twin, the same bits everywhere, a sum of a function of each row."""

from dataclasses import replace
from itertools import pairwise
from math import exp, inf, log, nan

import numpy as np
import pytest

import reference_gradient as reference
from cloister import _backend
from cloister._backend import MAX_LOGIT, SoftmaxRegression
from cloister.codes import CODE_BOUND, MOMENT_BOUND, Clip, CodeGrid
from cloister.errors import InvalidInput, InvalidType
from conftest import sha256
from test_tally import random_codes


def gradient(codes, offsets, model):
    out = np.zeros(model.weights.shape, dtype=np.int64)
    _backend.gradient(np.ascontiguousarray(codes), np.asarray(offsets), model, out)
    return out


def regression(rng, d, classes, radius=0.5, size=3.0, **options):
    return SoftmaxRegression.on_grid(
        CodeGrid(d, 1.0),
        random_codes(rng, 1, d, norm=0.3)[0],
        size * rng.normal(size=(classes, d)),
        rng.normal(size=classes),
        radius=radius,
        **options,
    )


def ends(rng, n, classes):
    """Offsets of random classes, some perhaps empty, among n rows that are not all in one."""
    return np.sort(rng.integers(0, n + 1, size=classes + 1))


@pytest.mark.parametrize("d", [1, 2, 7, 16, 31, 32, 33, 70])
@pytest.mark.parametrize("classes", [1, 2, 3, 8, 9, 12, 13, 30])
def test_equals_reference(target, rng, d, classes):
    codes = random_codes(rng, 45, d)
    for options in ({"radius": 0.5}, {"radius": 1e-9, "residual_radius": 0.1}, {"size": 100.0}):
        model = regression(rng, d, classes, **options)
        offsets = ends(rng, 45, classes)
        found = gradient(codes, offsets, model)
        assert (found == reference.gradient(codes, offsets, model)).all()
        assert classes == 1 or found.any()


@pytest.mark.parametrize("bounds", [(1, 1), (2, 3), (5, 2), (40, 7)])
def test_residuals_that_rounding_takes_out_of_the_ball_step_back(target, rng, bounds):
    codes = random_codes(rng, 300, 6)
    model = replace(
        regression(rng, 6, 9),
        row_clip=Clip(500.0, float(bounds[0]), bounds[0]),
        residual_clip=Clip(0.3, float(bounds[1]), bounds[1]),
    )
    offsets = np.linspace(0, 300, 10).astype(np.int64)
    assert (gradient(codes, offsets, model) == reference.gradient(codes, offsets, model)).all()


# More rows than a tile has; tables that stay in a cache and that do not; tiles cut to fewer rows.
SHAPES = [(3001, 40, 5), (1203, 900, 80), (2500, 3, 2), (700, 1, 1000), (64, 4096, 30)]
SHAPES += [(500, 20_000, 4)]


def in_batches(codes, offsets, model, size):
    parts = np.zeros(model.weights.shape, dtype=np.int64)
    for first in range(0, len(codes), size):
        batch = codes[first : first + size]
        parts += gradient(batch, np.clip(offsets - first, 0, len(batch)), model)
    return parts


@pytest.mark.parametrize(("n", "d", "classes"), SHAPES)
def test_hash_is_the_same_for_threads_orders_and_targets(rng, restore_threads, n, d, classes):
    codes, model = random_codes(rng, n, d), regression(rng, d, classes)
    offsets = np.linspace(1, n - 1, classes + 1).astype(np.int64)
    within = [offsets[0] + np.arange(offsets[-1] - offsets[0])]
    within += [np.concatenate([rng.permutation(np.arange(*pair)) for pair in pairwise(offsets)])]
    hashes = {sha256(in_batches(codes, offsets, model, n // 9))}
    for name in _backend.supported_targets():
        for threads in (1, 2, 3, 4):
            _backend.set_num_threads(threads)
            with _backend.use_target(name):
                for order in within:
                    shuffled = codes.copy()
                    shuffled[offsets[0] : offsets[-1]] = codes[order]
                    hashes.add(sha256(gradient(shuffled, offsets, model)))
    assert len(hashes) == 1


def test_what_a_row_adds_depends_on_that_row_alone(target, rng):
    n, d, classes = 130 if target == "emulated" else 1300, 33, 7
    codes, model = random_codes(rng, n, d), regression(rng, d, classes)
    offsets = np.linspace(0, n, classes + 1).astype(np.int64)
    together = gradient(codes, offsets, model)
    for size in (1, 7, 64, 509):
        assert (in_batches(codes, offsets, model, size) == together).all()
    for gone in rng.integers(0, n, size=20):
        left = gradient(np.delete(codes, gone, axis=0), offsets - (offsets > gone), model)
        label = np.searchsorted(offsets, gone, side="right") - 1
        a, q = reference.factors(codes[gone], label, model)
        assert (together - left == np.outer(q, a)).all()


def test_rows_outside_all_classes_contribute_nothing(target, rng):
    codes, model = random_codes(rng, 60, 5), regression(rng, 5, 2)
    among = gradient(codes, [10, 25, 40], model)
    assert (among == gradient(codes[10:40], [0, 15, 30], model)).all()
    assert not gradient(codes, [60, 60, 60], model).any()
    assert not gradient(codes[:0], [0, 0, 0], model).any()


def test_it_is_the_gradient_of_the_log_loss(rng):
    """Without clipping: against numpy in float64, up to the grids of rows and residuals."""
    n, d, classes = 3000, 20, 4
    grid, labels = CodeGrid(d, 1.0), np.repeat(np.arange(4), 750)
    codes = random_codes(rng, n, d, norm=0.5)
    weights, bias = rng.normal(size=(classes, d)), rng.normal(size=classes)
    centre = np.zeros(d, dtype=np.int16)
    model = SoftmaxRegression.on_grid(grid, centre, weights, bias, radius=1.0, residual_radius=1.5)
    X = grid.decode(codes)
    p = np.exp(X @ weights.T + bias)
    p /= p.sum(axis=1, keepdims=True)
    expected = (p - np.eye(classes)[labels]).T @ X
    unit = model.residual_clip.step / model.row_clip.target
    found = unit * gradient(codes, np.arange(5) * 750, model)
    # Rounding errors of up to half a step, independent: 10 standard deviations.
    assert np.abs(found - expected).max() < 10 * 1.5 / MOMENT_BOUND * np.sqrt(n / 12)
    assert np.abs(expected).max() > 20  # 170 times that


def test_the_polynomial_is_the_exponential(rng):
    assert reference.exponential(0.0) == 1.0
    for y in -700 * rng.uniform(size=5000) ** 3:
        assert reference.exponential(y) == pytest.approx(exp(y), rel=1e-14)


def one_axis(classes, bias, scale=0.0, **clips):
    """A model of one feature whose logits are the bias plus, with a scale, the feature's sign."""
    weights = np.zeros((classes, 1), dtype=np.int16)
    weights[0] = CODE_BOUND
    to_sphere = Clip(1.0, float(MOMENT_BOUND), MOMENT_BOUND)
    clips = {"residual_clip": Clip(1e-3, float(MOMENT_BOUND), MOMENT_BOUND), **clips}
    zero = np.zeros(1, dtype=np.int16)
    return SoftmaxRegression(zero, to_sphere, weights, scale, np.asarray(bias, float), **clips)


def test_the_largest_products_do_not_overflow(target):
    """Thousands of rows of norm 2^11, and residuals as near to it on one class as they come."""
    n, classes = 500 if target == "emulated" else 5000, 2000
    codes, offsets = np.full((n, 1), 99, np.int16), np.full(classes + 1, n)
    offsets[0] = 0  # all in class 0, which is ruled out: r = (-1, 1/1999, 1/1999, ..)
    found = gradient(codes, offsets, one_axis(classes, [-800.0] + [0.0] * (classes - 1)))
    assert found[:, 0].tolist() == [-2047 * 2048 * n] + [2048 * n] * (classes - 1)


@pytest.mark.parametrize("gap", [699.0, 701.0, 1e6, 1e299])
def test_saturated_logits(target, gap):
    codes = np.repeat(np.array([[5], [-5], [0]], dtype=np.int16), 20, axis=0)
    model = one_axis(2, [0.0, 0.0], scale=gap / (CODE_BOUND * MOMENT_BOUND))
    # The sign decides: probabilities are 0 and 1, or nearly. First right, then all wrong.
    assert not gradient(codes, [0, 20, 40], model).any()
    q = round(MOMENT_BOUND / 2**0.5)  # of the residual (-1, 1)
    added = 20 * q * MOMENT_BOUND
    assert gradient(codes, [20, 60, 60], model).tolist() == [[added], [-added]]
    assert gradient(codes, [0, 0, 20], model).tolist() == [[added], [-added]]


def test_rows_on_the_centre_add_nothing(target, rng):
    model = regression(rng, 9, 3, radius=1e-9)
    codes = np.tile(model.centre, (50, 1))
    assert not gradient(codes, [0, 50, 50, 50], model).any()


def test_one_class_has_no_gradient(target, rng):
    assert not gradient(random_codes(rng, 50, 4), [0, 50], regression(rng, 4, 1)).any()


def test_weights_are_rounded_to_the_grid(rng):
    grid, weights, centre = CodeGrid(50, 2.0), rng.normal(size=(6, 50)), np.zeros(50, np.int16)
    for size in (1e-12, 1.0, 1e12):
        model = SoftmaxRegression.on_grid(grid, centre, size * weights, np.zeros(6), radius=0.25)
        assert model.row_clip == grid.residual_clip(0.25, MOMENT_BOUND)
        logit = model.scale * model.row_clip.target  # of a unit of a row of norm 1
        error = np.abs(logit * model.weights - size * weights)
        assert error.max() <= 0.501 * logit
        assert logit == pytest.approx(
            size * np.linalg.norm(weights, axis=1).max() / 2**14, rel=1e-3
        )
    model = SoftmaxRegression.on_grid(grid, centre, 0 * weights, [log(2)] * 6, radius=0.25)
    assert (model.scale, model.weights.any()) == (0.0, False)


GOOD = one_axis(3, [0.0, 1.0, 2.0])
BAD_MODELS = {
    "row bound": ({"row_clip": Clip(1.0, 1.0, MOMENT_BOUND + 1)}, r"row_clip .*\[1, 2048\]"),
    "residual bound": ({"residual_clip": Clip(1.0, 1.0, 0)}, r"residual_clip .*\[1, 2048\]"),
    "target": ({"residual_clip": Clip(1.0, 9.5, 9)}, r"target in \(0, bound\], .*target 9\.5"),
    "radius": ({"row_clip": Clip(inf, 9.0, 9)}, "row_clip needs a finite positive radius, got inf"),
    "tiny radius": ({"row_clip": Clip(1e-310, 9.0, 9)}, "finite positive radius, got 1e-310"),
    "centre": (
        {"centre": np.array([16385], np.int16)},
        "centre must have norms .*16384, got 16385",
    ),
    "weights": ({"weights": np.full((3, 1), 20000, np.int16)}, "weights must .*got 20000"),
    "bias": ({"bias": np.array([0, nan, 0])}, "bias must be finite"),
    "scale": ({"scale": nan}, "scale=nan"),
    "logits": ({"scale": 1e299}, f"logits of .*{MAX_LOGIT:.0e}".replace("+", r"\+")),
}


@pytest.mark.parametrize(("change", "message"), BAD_MODELS.values(), ids=BAD_MODELS)
def test_models_that_the_kernel_could_not_hold_are_refused(change, message):
    with pytest.raises(InvalidInput, match=message):
        replace(GOOD, **change)


def test_weights_that_are_not_finite_are_refused():
    for bad in (nan, inf):
        with pytest.raises(InvalidInput, match="weights must be finite"):
            SoftmaxRegression.on_grid(
                CodeGrid(1, 1.0), GOOD.centre, np.array([[bad], [0.0]]), np.zeros(2), radius=1.0
            )


def test_arrays_that_do_not_fit_are_refused():
    codes, out = np.zeros((4, 1), np.int16), np.zeros((3, 1), np.int64)
    thirds = np.array([0, 1, 2, 4])
    for arguments, error, message in [
        ((codes, thirds + 1, GOOD, out), InvalidInput, "offsets must rise from 0 to n=4"),
        ((codes, thirds[1:], GOOD, out), InvalidInput, r"weights must have shape \(2, 1\)"),
        ((codes, thirds, GOOD, out.T.copy()), InvalidInput, r"out must have shape \(3, 1\)"),
        ((codes.astype(np.int32), thirds, GOOD, out), InvalidType, "codes must have dtype int16"),
        ((np.zeros((4, 2), np.int16), thirds, GOOD, out), InvalidInput, r"centre .*shape \(2,\)"),
    ]:
        with pytest.raises(error, match=message):
            _backend.gradient(*arguments)
