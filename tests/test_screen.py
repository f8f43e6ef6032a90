"""The screens of the nearest kernel rule out no centre wrongly, whatever the rows are like."""

import numpy as np
import pytest

import reference_nearest as reference
from cloister import _backend
from test_nearest import make_problem, run_nearest


def assert_labels_right(rows, centres, shift=None):
    """By both screens, against the distances that decide."""
    points = rows if shift is None else rows - shift
    expected = reference.lane_distance(points, centres).argmin(axis=1)
    codes = _backend.screen_rows(rows, shift)
    for screened in (None, codes):
        found = run_nearest(rows, centres, shift, screened=screened)["labels"]
        np.testing.assert_array_equal(found, expected)


def near_ties(rng, n, k, d, gap):
    """Centres so close together that only float32 can tell which is nearest."""
    centre = rng.standard_normal(d).astype(np.float32)
    centres = centre + np.float32(gap) * rng.standard_normal((k, d)).astype(np.float32)
    return rng.standard_normal((n, d)).astype(np.float32), centres


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize(("n", "k", "d"), [(60, 20, 64), (30, 90, 130)])
def test_near_ties(target, gap, n, k, d):
    assert_labels_right(*near_ties(np.random.default_rng(int(-np.log10(gap))), n, k, d, gap))


@pytest.mark.parametrize("d", [1, 31, 32, 33, 63, 64, 65, 1000, 4096])
def test_features(target, d):
    rows, centres, shift = make_problem(37, 15, d, seed=d)
    assert_labels_right(rows, centres, shift)


@pytest.mark.parametrize("k", [1, 2, 7, 8, 9, 12, 13, 100, 1001])
def test_centres(target, k):
    rows, centres, shift = make_problem(35, k, 40, seed=k)
    assert_labels_right(rows, centres, shift)


def spoil(name, rows, centres, rng):
    """Make the codes as poor as that kind of data makes them."""
    if name == "heavy tails":
        rows[:] = rng.standard_cauchy(rows.shape)
        centres[:] = rng.standard_cauchy(centres.shape)
    elif name == "one coordinate":
        rows[:, 3] *= 1e5
        centres[::2, 5] *= 1e5
    elif name == "zeros":
        rows[::3] = 0
        centres[::4] = 0
    elif name == "far rows":
        rows[::2] *= 1e6
    elif name == "tiny rows":
        rows[::2] *= 1e-12
    elif name == "far centres":
        centres[::2] *= 1e7
    elif name == "tiny centres":
        centres *= 1e-9
    elif name == "far from the origin":
        rows += 1e4
        centres += 1e4
    elif name == "smallest":
        rows *= 1e-15
        centres *= 1e-15
    elif name == "largest":
        rows *= 1e14
        centres *= 1e14
    elif name == "rows are centres":
        rows[: len(centres)] = centres
    elif name == "few values":
        rows[:] = np.sign(rows)
        centres[:] = np.sign(centres)
    return rows, centres


SPOILED = [
    "heavy tails",
    "one coordinate",
    "zeros",
    "far rows",
    "tiny rows",
    "far centres",
    "tiny centres",
    "far from the origin",
    "smallest",
    "largest",
    "rows are centres",
    "few values",
]


@pytest.mark.parametrize("name", SPOILED)
def test_poor_codes(target, name):
    for seed in range(4):
        rows, centres, _ = make_problem(70, 33, 45, seed=seed)
        assert_labels_right(*spoil(name, rows, centres, np.random.default_rng(seed)))


@pytest.mark.parametrize("size", [1e-19, 1e-21, 1e-22])
def test_rows_and_centres_whose_squares_vanish(target, size):
    rows, centres, _ = make_problem(70, 33, 45)
    assert_labels_right(rows * np.float32(size), centres * np.float32(size))


def test_codes_do_not_overflow_with_very_many_features(target):
    """Where all codes are the largest, 140,000 products of two do not fit int32."""
    centres = np.sign(np.random.default_rng(0).standard_normal((8, 140_000), dtype=np.float32))
    rows = centres[[3, 1, 4, 1, 5, 7, 2, 6]]
    found = run_nearest(rows, centres)["labels"]
    np.testing.assert_array_equal(found, [3, 1, 4, 1, 5, 7, 2, 6])
    assert not _backend.screens_by_codes(140_000, 8)


def test_a_thousand_equal_centres_go_to_the_first(target):
    """More candidates than the kernel keeps for a row, and for a tile."""
    rows, centres, _ = make_problem(40 if target == "emulated" else 300, 3, 64)
    many = np.repeat(centres, 1000, axis=0)
    few = run_nearest(rows, centres)["labels"]
    for screened in (None, _backend.screen_rows(rows, None)):
        found = run_nearest(rows, many, screened=screened)["labels"]
        np.testing.assert_array_equal(found, few * 1000)


def test_the_screen_decides_by_the_codes_it_is_given(target):
    """Codes of other rows give other labels: the tests above are about them. Not on a device."""
    rows, centres, _ = make_problem(200, 30, 64)
    wrong = run_nearest(rows, centres, screened=_backend.screen_rows(-rows, None))["labels"]
    share = (wrong != run_nearest(rows, centres)["labels"]).mean()
    assert share == 0 if target == "emulated" else share > 0.5


@pytest.mark.parametrize("dtype_max", [False, True])
def test_codes_and_what_is_said_of_them(target, dtype_max):
    rows, _, shift = make_problem(50, 1, 77)
    if dtype_max:
        rows[::5] *= 1e12
    points = (rows - shift).astype(np.float64)
    codes = _backend.screen_rows(rows, shift)
    assert (codes.codes[:, 77:] == 128).all()
    near = codes.scales[:, None].astype(np.float64) * (codes.codes[:, :77].astype(np.int64) - 128)
    error = np.linalg.norm(points - near, axis=1)
    assert (codes.errors >= error).all()
    assert (codes.errors <= error * 1.001).all()
    norm = np.linalg.norm(points, axis=1)
    assert (codes.norms >= norm).all()
    assert (codes.norms <= norm * 1.001).all()


def test_column_ranges(target):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3001, 19), dtype=np.float32) * 100
    ranges = _backend.column_ranges(rows)
    np.testing.assert_allclose(ranges.mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_array_equal(ranges.lowest, rows.min(axis=0))
    np.testing.assert_array_equal(ranges.highest, rows.max(axis=0))
    for bad in (np.nan, np.inf, -np.inf):
        spoiled = rows.copy()
        spoiled[2000, 7] = bad
        assert _backend.column_ranges(spoiled) is None


@pytest.mark.parametrize(("n", "d"), [(1, 3), (1023, 1), (1024, 33), (1025, 257), (5000, 2)])
def test_column_means_are_sums_of_blocks_in_order(target, n, d):
    rows = np.random.default_rng(n).lognormal(sigma=3, size=(n, d)).astype(np.float32)
    rows[::2] *= -1
    blocks = [rows[i : i + 1024].astype(np.float64).cumsum(axis=0)[-1] for i in range(0, n, 1024)]
    ranges = _backend.column_ranges(rows)
    np.testing.assert_array_equal(ranges.mean, np.array(blocks).sum(axis=0) / n)
    np.testing.assert_array_equal(ranges.lowest, rows.min(axis=0))
    np.testing.assert_array_equal(ranges.highest, rows.max(axis=0))


def test_column_means_are_the_same_for_any_number_of_threads(target, restore_threads):
    rows = np.random.default_rng(1).standard_normal((9000, 5), dtype=np.float32)
    _backend.set_num_threads(1)
    expected = _backend.column_ranges(rows).mean
    _backend.set_num_threads(7)
    np.testing.assert_array_equal(_backend.column_ranges(rows).mean, expected)
