"""k-means on int16 codes of rows that are not resident, against float32 rows that are."""

import numpy as np
import pytest

from cloister import KMeans
from cloister.centred_rows import CentredRows
from cloister.code_rows import CodeRows
from cloister.code_seeding import plus_plus_codes
from cloister.errors import InvalidInput, InvalidType
from cloister.kmeans_plusplus import plus_plus
from cloister.sources import as_source
from source_files import SOURCES, Batches, write_all

N, D, K = 420, 9, 5
rng = np.random.default_rng(4)
PLACE = rng.integers(K, size=N)
ROWS = (3e3 + 4 * rng.normal(size=(K, D))[PLACE] + rng.normal(size=(N, D))).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codes")
    write_all(folder, ROWS, PLACE)
    return folder


@pytest.mark.parametrize(("cache", "metric"), [(0, "euclidean"), (1, "euclidean"), (0, "cosine")])
@pytest.mark.parametrize("name", [name for name in SOURCES if "once" not in name])
def test_every_source_gives_the_same_model(folder, name, cache, metric):
    def make():
        return SOURCES[name](folder, ROWS, PLACE)

    options = {"n_init": 2, "max_iter": 4, "metric": metric, "random_state": 0}
    model = KMeans(K, cache=bool(cache), **options).fit(make())
    expected = KMeans(K, **options).fit(folder / "rows.npy")
    for value in ("cluster_centers_", "labels_", "inertia_", "n_iter_", "n_features_in_"):
        np.testing.assert_array_equal(getattr(model, value), getattr(expected, value))
    for rows in (make(), ROWS):
        np.testing.assert_array_equal(model.predict(rows), model.labels_)
        np.testing.assert_array_equal(model.transform(rows), expected.transform(ROWS))
    assert model.score(make()) == -model.inertia_
    assert model.inertia_ == pytest.approx(-model.score(ROWS), rel=1e-12)


@pytest.mark.parametrize("init", ["k-means++", "random", "array"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_codes_cluster_as_the_rows_do(init, metric):
    shift = np.float32(3e3 if metric == "cosine" else 0)  # directions are codes about the origin
    init = ROWS[:K] - shift if init == "array" else init
    options = {"init": init, "n_init": 1, "metric": metric, "random_state": 3}
    codes = KMeans(K, **options).fit([ROWS - shift])
    rows = KMeans(K, **options).fit(ROWS - shift)
    assert (codes.labels_ == rows.labels_).mean() > 0.99
    assert codes.inertia_ == pytest.approx(rows.inertia_, rel=1e-3)


def slow_points(scale, shift):
    """Points as the definition has them: rows about their mean, rounded to the grid."""
    return np.rint((ROWS.astype(np.float64) - shift) * scale) / scale


@pytest.mark.parametrize("cache", [True, False])
def test_interface_is_that_of_resident_rows(cache):
    codes = CodeRows(as_source(Batches(ROWS, 64)), on_sphere=False, cache=cache)
    assert (len(codes), codes.d) == (N, D)
    points = slow_points(codes.sum_scale, codes.shift)
    np.testing.assert_allclose(codes.shift, ROWS.mean(axis=0, dtype=np.float64), rtol=1e-6)
    steps = np.abs(codes.take(np.arange(N)) - points).max() * codes.sum_scale
    assert steps < 1.01  # a row in the middle between two codes may go to either
    assert np.mean(np.abs(codes.take(np.arange(N)) - points) * codes.sum_scale > 0.5) < 0.01
    some = np.array([5, 0, 209, 5])
    np.testing.assert_array_equal(codes.take(some), codes.take(np.arange(N))[some])

    exact = codes.take(np.arange(N))
    centres = exact[:K] + np.float32(0.01)
    resident = CentredRows(exact, None, float(np.abs(exact).max()))
    expected = {name: np.zeros(N, dtype) for name, dtype in (("labels", "i4"), ("distances", "f8"))}
    found = {name: np.zeros_like(output) for name, output in expected.items()}
    resident.nearest(centres, **expected)
    codes.nearest(centres, **found)
    np.testing.assert_array_equal(found["labels"], expected["labels"])
    np.testing.assert_allclose(found["distances"], expected["distances"], rtol=1e-4, atol=1e-4)
    all_distances = np.zeros((N, K), np.float32)
    resident.all_distances(centres, all_distances)
    for here, part in codes.measured(centres):
        np.testing.assert_allclose(part, all_distances[here], rtol=1e-4, atol=1e-4)
    assert codes.mean_distance(centres) == pytest.approx(expected["distances"].mean(), rel=1e-5)


@pytest.mark.parametrize("cache", [True, False])
def test_sums_are_exact_integers_of_the_nearest_centre_of_the_grid(cache):
    codes = CodeRows(as_source(Batches(ROWS, 64)), on_sphere=False, cache=cache)
    whole = np.rint(codes.take(np.arange(N)).astype(np.float64) * codes.sum_scale).astype(np.int64)
    centres = codes.take(np.array([1, 20, 200])).astype(np.float32)
    on_grid = np.rint(centres.astype(np.float64) * codes.sum_scale).astype(np.int64)
    expected = ((whole[:, None] - on_grid) ** 2).sum(axis=2).argmin(axis=1)
    labels = np.empty(N, np.int32)
    sums, counts = np.ones((3, D), np.int64), np.ones(3, np.int64)
    codes.nearest(centres, labels=labels, sums=sums, counts=counts)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(counts, 1 + np.bincount(expected, minlength=3))
    for j in range(3):
        np.testing.assert_array_equal(sums[j], 1 + whole[expected == j].sum(axis=0))


def test_nothing_is_clipped_however_the_first_rows_lie():
    rows = np.sort(ROWS, axis=0)
    rows[-1] += 1e4
    codes = CodeRows(as_source(Batches(rows, 10)), on_sphere=False, cache=True)
    np.testing.assert_allclose(
        codes.take(np.arange(N)), rows - codes.shift, atol=1 / codes.sum_scale
    )


def test_equal_rows_are_their_own_centre(tmp_path):
    np.save(tmp_path / "equal.npy", np.full((20, 3), 7.5, np.float32))
    with pytest.warns(UserWarning, match="distinct clusters"):
        model = KMeans(2, random_state=0).fit(tmp_path / "equal.npy")
    np.testing.assert_array_equal(model.cluster_centers_, np.full((2, 3), 7.5))
    assert model.inertia_ == 0


@pytest.mark.parametrize(
    ("rows", "error", "problem"),
    [
        (ROWS[:3], InvalidInput, "n_samples=3 should be >= n_clusters=5"),
        (np.where(np.arange(N)[:, None] == 8, np.nan, ROWS), InvalidInput, "NaN.* row 8"),
        (ROWS * np.float32(1e20), InvalidInput, "away from the mean.*rescale"),
        ((ROWS - 3e3).astype(np.float64) * 1e-25, InvalidInput, "standard deviation of .*rescale"),
    ],
)
def test_refused(tmp_path, rows, error, problem):
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(error, match=problem):
        KMeans(K).fit(tmp_path / "rows.npy")


def test_zero_rows_have_no_direction(tmp_path):
    rows = ROWS.copy()
    rows[200] = 0
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(InvalidInput, match=r"row .* is zero: it has no direction"):
        KMeans(K, metric="cosine").fit(tmp_path / "rows.npy")


def test_other_features_and_flags(folder, tmp_path):
    np.save(tmp_path / "wide.npy", np.ones((4, D + 1)))
    model = KMeans(K, random_state=0).fit(folder / "rows.npy")
    for method in (model.predict, model.transform, model.score):
        with pytest.raises(InvalidInput, match="X has 10 features, but KMeans is expecting 9"):
            method(tmp_path / "wide.npy")
    with pytest.raises(InvalidType, match="cache must be True or False"):
        KMeans(K, cache=1).fit(ROWS)


def test_seeding_is_greedy_k_means_plus_plus(monkeypatch):
    """Against the obvious one, which keeps all distances; draws in blocks of any size."""
    codes = CodeRows(as_source([ROWS]), on_sphere=False, cache=True)
    exact = codes.take(np.arange(N))
    expected = exact[plus_plus(CentredRows(exact, None, 1.0), 12, np.random.RandomState(5))]
    for block in (1, 7, 64, 1000):
        monkeypatch.setattr("cloister.code_seeding._BLOCK", block)
        found = plus_plus_codes(codes, 12, np.random.RandomState(5))
        np.testing.assert_array_equal(found, expected)
