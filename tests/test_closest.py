"""The kernel of k-means++ against its twin, on every instruction set, bit for bit."""

import numpy as np
import pytest

import reference_closest as reference
from cloister import _backend
from cloister._backend import ClosestState
from cloister.errors import InvalidInput, InvalidType

ROOM = 9


def make_problem(n, d, *, kind="gaussian", seed=0):
    rng = np.random.default_rng(seed)
    if kind == "gaussian":
        rows = rng.standard_normal((n, d), dtype=np.float32)
    elif kind == "clusters":  # most candidates are far from most rows, and some very near
        middles = 5 * rng.standard_normal((7, d), dtype=np.float32)
        rows = middles[rng.integers(0, 7, n)] + rng.standard_normal((n, d), dtype=np.float32) / 8
    elif kind == "ties":  # duplicates, and many rows as far from a candidate as from a centre
        rows = rng.integers(-1, 2, (n, d)).astype(np.float32)
    else:  # one coordinate dwarfs the rest, whose codes are all zero
        rows = rng.standard_normal((n, d), dtype=np.float32)
        rows[:, 0] *= 1000
    return rows, rng.standard_normal(d, dtype=np.float32), rng.exponential(size=n)


def as_codes(rows, shift, is_screened):
    if not is_screened:
        return {}
    screened = _backend.screen_rows(rows, shift)
    return {"screened": screened, "squares": _backend.code_squares(screened)}


def check_steps(rows, shift, weights, *, is_screened, counts=(1, 5, 5, 7, 2, 9), off=0.0, seed=0):
    """Play a few steps of k-means++ on kernel and twin; the best candidate is accepted.

    Candidates are rows, moved by up to `off` in every coordinate.
    """
    rng = np.random.default_rng(seed)
    x = rows if shift is None else rows - shift
    state = ClosestState.without_centres(len(rows), ROOM)
    options = {"shift": shift, "weights": weights, **as_codes(rows, shift, is_screened)}
    nearest, accepted = np.full(len(rows), np.inf, np.float32), -1
    for count in counts:
        candidates = x[rng.choice(len(rows), count)]
        candidates += rng.uniform(-off, off, candidates.shape).astype(np.float32)
        found = _backend.closest(rows, candidates, state, accepted=accepted, **options)
        np.testing.assert_array_equal(state.closest, nearest)
        measured, is_closer, sums = reference.closest(x, candidates, nearest, weights)
        np.testing.assert_array_equal(state.improved, is_closer @ (1 << np.arange(count)))
        np.testing.assert_array_equal(
            state.distances[:, :count][is_closer], measured[is_closer], strict=True
        )
        np.testing.assert_array_equal(found, sums, strict=True)
        accepted = int(sums.sum(axis=0).argmin())
        nearest = np.where(is_closer[:, accepted], measured[:, accepted], nearest)
        np.testing.assert_array_equal(state.accepted(slice(None), accepted), nearest)


@pytest.mark.parametrize("is_screened", [False, True])
@pytest.mark.parametrize("kind", ["gaussian", "clusters", "ties", "dwarfed"])
@pytest.mark.parametrize("d", [1, 8, 31, 32, 33, 100, 513])
def test_equals_the_reference(target, d, kind, is_screened):
    rows, shift, _ = make_problem(150, d, kind=kind)
    check_steps(rows, shift if kind != "ties" else None, None, is_screened=is_screened)


@pytest.mark.parametrize("is_screened", [False, True])
@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 1023, 1024, 1025, 3000])
def test_equals_the_reference_over_blocks_and_weights(target, n, is_screened):
    rows, shift, weights = make_problem(n, 37, kind="clusters", seed=n)
    weights[::3] = 0
    check_steps(rows, shift, weights, is_screened=is_screened)


def test_as_many_candidates_as_there_may_be(target):
    rows, shift, _ = make_problem(70, 40)
    state = ClosestState.without_centres(70, 32)
    x = rows - shift
    found = _backend.closest(rows, x[:32], state, shift=shift, **as_codes(rows, shift, True))
    np.testing.assert_array_equal(
        found, reference.closest(x, x[:32], np.full(70, np.inf, np.float32))[2]
    )
    assert (state.improved == 2**32 - 1).all()


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_threads_give_the_same_bits(threads, restore_threads):
    rows, shift, weights = make_problem(20_000, 64, kind="clusters")
    codes = as_codes(rows, shift, True)
    outputs = []
    for number in (3, threads):
        _backend.set_num_threads(number)
        state = ClosestState.without_centres(len(rows), 4)
        options = {"shift": shift, "weights": weights, **codes}
        _backend.closest(rows, rows[:1] - shift, state, **options)
        sums = _backend.closest(rows, rows[1:5] - shift, state, accepted=0, **options)
        outputs.append((sums, state.improved, state.closest))
    for expected, found in zip(*outputs, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_screen_allows_for_what_codes_of_candidates_leave_out(target, d):
    rows = np.random.default_rng(d).integers(-127, 128, (2000, d)).astype(np.float32)
    rows[:, 0] = 127  # codes of such rows leave out nothing
    assert _backend.screen_rows(rows, None).errors.max() == 0
    check_steps(rows, None, None, is_screened=True, off=0.9)


@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_the_screen_holds_at_both_ends_of_the_range(target, scale):
    rows, _, _ = make_problem(300, 96, kind="clusters")
    check_steps(rows * np.float32(scale), None, None, is_screened=True)


def test_squares_of_codes(target):
    codes = np.random.default_rng(0).integers(1, 256, (21, 128)).astype(np.uint8)
    codes[0], codes[1] = 255, 1
    numbers = np.zeros(21, np.float32)
    screened = _backend.ScreenedRows(codes, numbers, numbers, numbers)
    expected = ((codes.astype(np.int64) - 128) ** 2).sum(axis=1)
    np.testing.assert_array_equal(_backend.code_squares(screened), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rows": np.zeros((4, 3))}, InvalidType, "rows must have dtype float32"),
        ({"candidates": np.zeros((1, 4), np.float32)}, InvalidInput, "candidates must have shape"),
        ({"candidates": np.zeros((3, 3), np.float32)}, InvalidInput, "between 1 and 2 rows"),
        ({"candidates": np.zeros((0, 3), np.float32)}, InvalidInput, "between 1 and 2 rows"),
        ({"accepted": 2}, InvalidInput, "accepted=2 is no candidate: pass -1 to 1"),
        ({"weights": np.zeros(4, np.float32)}, InvalidType, "weights must have dtype float64"),
        ({"squares": np.zeros(4, np.int32)}, InvalidInput, "both screened and squares"),
        (
            {"state": ClosestState.without_centres(5, 2)},
            InvalidInput,
            r"closest must have shape \(4,\)",
        ),
    ],
)
def test_bad_arrays_are_refused(change, error, message):
    arguments = {
        "rows": np.zeros((4, 3), np.float32),
        "candidates": np.zeros((1, 3), np.float32),
        "state": ClosestState.without_centres(4, 2),
    }
    with pytest.raises(error, match=message):
        _backend.closest(**(arguments | change))
