"""The nearest kernel against its twin, on every instruction set, bit for bit."""

import signal
from fractions import Fraction

import numpy as np
import pytest

import reference_nearest as reference
from cloister import _backend
from cloister.errors import InvalidInput, InvalidType

WIDTHS = {"generic": 4, "avx2": 8, "avx512": 16, "emulated": 32}


def run_nearest(rows, centres, shift=None, sum_scale=1.0, **options):
    (n, d), k = rows.shape, len(centres)
    outputs = {
        "labels": np.full(n, -1, np.int32),
        "distances": np.full(n, -1.0),
        "sums": np.zeros((k, d), np.int64),
        "counts": np.zeros(k, np.int64),
    }
    _backend.nearest(rows, centres, shift=shift, sum_scale=sum_scale, **outputs, **options)
    return outputs


def run_both_screens(rows, centres, shift=None, sum_scale=1.0, **options):
    """By float32 products and, on whatever target, by int8 products: the results are the same."""
    found = run_nearest(rows, centres, shift, sum_scale, **options)
    codes = _backend.screen_rows(rows, shift)
    assert_same_bits(run_nearest(rows, centres, shift, sum_scale, screened=codes, **options), found)
    return found


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def make_problem(n, k, d, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, d), dtype=np.float32) * np.float32(3)
    centres = rng.standard_normal((k, d), dtype=np.float32)
    return rows, centres, rng.standard_normal(d, dtype=np.float32)


def sizes(width):
    return [1, 3, 7, width - 1, width, width + 1, 3 * width, 8 * width + 2]


def test_the_reference_rounds_a_fused_multiply_add_once():
    rng = np.random.default_rng(1)
    a, b, c = rng.integers(-(2**24), 2**24, (3, 3000)) * 2.0 ** rng.integers(-30, 0, (3, 3000))
    a, b, c = (v.astype(np.float32) for v in (a, b, c))
    c[:1000] = -(a * b)[:1000]  # cancellation, where two roundings differ most
    found = reference.fused_multiply_add(a, b, c)
    for a_i, b_i, c_i, found_i in zip(a, b, c, found, strict=True):
        exact = Fraction(float(a_i)) * Fraction(float(b_i)) + Fraction(float(c_i))
        below, above = np.nextafter(found_i, np.float32([-np.inf, np.inf]))
        error = abs(exact - Fraction(float(found_i)))
        assert error <= min(abs(exact - Fraction(float(v))) for v in (below, above))


@pytest.mark.parametrize("varied", ["n", "k", "d"])
def test_equals_the_reference_at_awkward_sizes(target, varied):
    for size in sizes(WIDTHS[target]):
        shape = {"n": 5, "k": 4, "d": 6, varied: size}
        rows, centres, shift = make_problem(**shape, seed=size)
        found = run_both_screens(rows, centres, shift, 2.0**30)
        assert_same_bits(found, reference.nearest(rows, centres, shift, sum_scale=2.0**30))


@pytest.mark.parametrize(
    ("n", "k", "d"), [(67, 61, 5), (40, 13, 255), (40, 7, 257), (33, 11, 700), (9, 130, 33)]
)
def test_equals_the_reference_over_several_blocks_and_chains(target, n, k, d):
    rows, centres, shift = make_problem(n, k, d)
    found = run_both_screens(rows, centres, shift, 2.0**20)
    assert_same_bits(found, reference.nearest(rows, centres, shift, sum_scale=2.0**20))


@pytest.mark.parametrize("varied", ["n", "k", "d"])
def test_all_distances_equal_the_reference(target, varied):
    for size in [*sizes(WIDTHS[target]), 256, 257, 512]:
        shape = {"n": 5, "k": 4, "d": 6, varied: size}
        rows, centres, shift = make_problem(**shape, seed=size)
        found = np.full((shape["n"], shape["k"]), -1, np.float32)
        _backend.all_distances(rows, centres, found, shift=shift)
        np.testing.assert_array_equal(found, reference.all_distances(rows, centres, shift))


def test_weights_equal_the_reference(target):
    rows, centres, shift = make_problem(300, 9, 40)
    weights = np.random.default_rng(5).exponential(size=300)
    weights[:20] = 0
    options = {"weights": weights, "sum_scale": 2.0**30, "count_scale": 2.0**20}
    found = run_both_screens(rows, centres, shift, **options)
    assert_same_bits(found, reference.nearest(rows, centres, shift, **options))


def test_updates_move_rows_from_sum_to_sum_exactly(target):
    rows, centres, shift = make_problem(900, 13, 70)
    weights = np.random.default_rng(5).exponential(size=900)
    options = {"weights": weights, "sum_scale": 2.0**30, "count_scale": 2.0**20}
    outputs = run_nearest(rows, centres, shift, **options)
    before = outputs["labels"].copy()
    for step in range(1, 4):
        centres = centres + np.float32(0.3) * make_problem(1, 13, 70, seed=step)[1]
        changes = _backend.nearest(rows, centres, shift=shift, updates=True, **options, **outputs)
        assert changes.moved == (outputs["labels"] != before).sum() > 0
        assert_same_bits(outputs, run_nearest(rows, centres, shift, **options))
        before = outputs["labels"].copy()


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_threads_and_targets_give_the_same_bits(target, threads, restore_threads):
    rows, centres, shift = make_problem(200 if target == "emulated" else 3000, 37, 130)
    if target == "emulated":
        expected = reference.nearest(rows, centres, shift, sum_scale=2.0**25)
    else:
        _backend.set_num_threads(3)
        with _backend.use_target("generic"):
            expected = run_nearest(rows, centres, shift, 2.0**25)
    _backend.set_num_threads(threads)
    assert_same_bits(run_nearest(rows, centres, shift, 2.0**25), expected)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_a_row_does_not_depend_on_its_batch(chunk):
    rows, centres, shift = make_problem(1500, 20, 90)
    whole = run_nearest(rows, centres, shift)
    sums = np.zeros_like(whole["sums"])
    for start in range(0, len(rows), chunk):
        part = run_nearest(rows[start : start + chunk], centres, shift)
        for name in ("labels", "distances"):
            np.testing.assert_array_equal(part[name], whole[name][start : start + chunk])
        sums += part["sums"]
    np.testing.assert_array_equal(sums, whole["sums"])


def test_ties_go_to_the_first_centre(target):
    rng = np.random.default_rng(3)
    rows = rng.integers(-3, 4, (500, 3)).astype(np.float32)
    centres = rng.integers(-3, 4, (90, 3)).astype(np.float32)
    centres[50:] = centres[:40]  # whatever block they fall in
    exact = ((rows[:, None] - centres[None]) ** 2).sum(axis=2)
    found = run_both_screens(rows, centres)
    np.testing.assert_array_equal(found["labels"], exact.argmin(axis=1))
    distances = np.empty((500, 90), np.float32)
    _backend.all_distances(rows, centres, distances)
    np.testing.assert_array_equal(distances, exact)


def test_duplicate_rows_share_label_and_distance(target):
    rows, centres, shift = make_problem(1, 70, 300)
    found = run_both_screens(np.repeat(rows, 517, axis=0), centres, shift)
    assert len(np.unique(found["labels"])) == len(np.unique(found["distances"])) == 1
    assert found["counts"].max() == 517


@pytest.mark.parametrize("wanted", ["labels", "distances", "sums", "counts"])
def test_every_output_may_be_alone(target, wanted):
    rows, centres, shift = make_problem(130, 7, 9)
    found = run_nearest(rows, centres, shift, 2.0**20)[wanted]
    alone = np.zeros_like(found)
    changes = _backend.nearest(rows, centres, shift=shift, sum_scale=2.0**20, **{wanted: alone})
    np.testing.assert_array_equal(alone, found)
    assert changes.moved == (130 if wanted in ("sums", "counts") else 0)


def test_more_centres_than_16_bits_count(target):
    rng = np.random.default_rng(4)
    centres = rng.standard_normal((2**16 + 3, 2)).astype(np.float32)
    rows = centres[[0, 2**16 + 2, 40_000]]
    centres[2**16 + 1] = centres[40_000]
    assert_same_bits(run_nearest(rows, centres), reference.nearest(rows, centres))


def test_updates_with_weights_and_large_sums_wrap_as_integers_do(target):
    """What is taken off is what was added, whatever the sums were."""
    rows, centres, shift = make_problem(200, 5, 3)
    outputs = {
        "labels": np.zeros(200, np.int32),
        "sums": np.full((5, 3), 2**63 - 1, np.int64),
        "counts": np.zeros(5, np.int64),
    }
    options = {"shift": shift, "sum_scale": 2.0**40, "updates": True, **outputs}
    moved = _backend.nearest(rows, centres, **options).moved
    assert moved == (outputs["labels"] != 0).sum()
    assert outputs["counts"].sum() == 0
    assert outputs["counts"][0] == -moved
    changed = outputs["sums"].view(np.uint64) - np.uint64(2**63 - 1)
    assert (changed.sum(axis=0, dtype=np.uint64) == 0).all()


def test_sums_are_exact_up_to_the_documented_bound(target):
    rows = np.array([[1.0], [-1.0], [2.0**-50], [0.5 + 2.0**-20], [1.0]], np.float32)
    sums, counts = np.zeros((1, 1), np.int64), np.zeros(1, np.int64)
    centre = np.zeros((1, 1), np.float32)
    _backend.nearest(rows, centre, sums=sums, counts=counts, sum_scale=2.0**50)
    assert sums[0, 0] == 2**50 + 1 + 2**49 + 2**30
    assert counts[0] == 5


def test_sums_round_ties_to_even_and_add_to_what_is_there(target):
    rows = np.array([[0.5], [1.5], [-0.5], [-1.5], [2.5]], np.float32)
    sums = np.full((1, 1), 100, np.int64)
    _backend.nearest(rows, np.zeros((1, 1), np.float32), sums=sums)
    assert sums[0, 0] == 100 + (0 + 2 - 0 - 2 + 2)


def test_tables_shared_by_threads_give_the_same_sums(restore_threads):
    k, d = 16000, 1100  # two tables of 8 k d bytes would already be more than the kernel allows
    rows, centres, _ = make_problem(600, 40, d)
    many = np.full((k, d), 1e3, np.float32)
    many[:: k // 40] = centres
    sums, counts = np.zeros((k, d), np.int64), np.zeros(k, np.int64)
    _backend.set_num_threads(8)
    _backend.nearest(rows, many, sums=sums, counts=counts, sum_scale=2.0**20)
    few = run_nearest(rows, centres, sum_scale=2.0**20)
    np.testing.assert_array_equal(sums[:: k // 40], few["sums"])
    np.testing.assert_array_equal(counts[:: k // 40], few["counts"])


def test_a_signal_interrupts_a_long_call(restore_threads):
    rows, centres, _ = make_problem(100_000, 20_000, 64)
    _backend.set_num_threads(1)  # at least a second of products

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    labels = np.full(len(rows), -1, np.int32)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(TimeoutError):
            _backend.nearest(rows, centres, labels=labels)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert labels[-1] == -1  # it did not get there


def test_no_rows_change_nothing():
    sums = np.full((2, 3), 7, np.int64)
    _backend.nearest(np.empty((0, 3), np.float32), np.zeros((2, 3), np.float32), sums=sums)
    assert (sums == 7).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rows": np.zeros((4, 3))}, InvalidType, "rows must have dtype float32, got float64"),
        (
            {"rows": np.zeros((3, 4), np.float32).T},
            InvalidInput,
            "rows must be C-contiguous",
        ),
        ({"centres": np.zeros((2, 4), np.float32)}, InvalidInput, "centres must have shape"),
        ({"centres": np.zeros((0, 3), np.float32)}, InvalidInput, "centres must have between"),
        ({"shift": np.zeros(4, np.float32)}, InvalidInput, r"shift must have shape \(3,\)"),
        ({"labels": np.zeros(4, np.int64)}, InvalidType, "labels must have dtype int32"),
        ({"distances": [0.0] * 4}, InvalidType, "distances must be a numpy array"),
        ({"counts": np.zeros(3, np.int64)}, InvalidInput, r"counts must have shape \(2,\)"),
        ({"sum_scale": 3.0}, InvalidInput, "sum_scale must be a power of two, got 3.0"),
        ({"sum_scale": np.inf}, InvalidInput, "sum_scale must be a power of two"),
        ({"count_scale": 0.3}, InvalidInput, "count_scale must be a power of two"),
        ({"weights": np.ones(3)}, InvalidInput, r"weights must have shape \(4,\)"),
        ({"updates": True}, InvalidInput, "updates needs the labels"),
        (
            {"updates": True, "labels": np.full(4, 2, np.int32)},
            InvalidInput,
            r"updates needs labels in \[0, 2\), got \[2, 2\]",
        ),
    ],
)
def test_bad_arrays_are_refused(change, error, message):
    arguments = {"rows": np.zeros((4, 3), np.float32), "centres": np.zeros((2, 3), np.float32)}
    with pytest.raises(error, match=message):
        _backend.nearest(**(arguments | change))


def test_a_read_only_output_is_refused():
    labels = np.zeros(4, np.int32)
    labels.flags.writeable = False
    with pytest.raises(InvalidInput, match="labels is written to, but is read-only"):
        _backend.nearest(np.zeros((4, 3), np.float32), np.zeros((2, 3), np.float32), labels=labels)
