"""Input that looks odd and changes nothing: the same released values, bit for bit."""

from fractions import Fraction

import numpy as np
import pytest

from cloister import DPGaussianMixture, DPKMeans

N, D = 80, 5
rng = np.random.default_rng(3)
ROWS = rng.normal(size=(N, D))
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
LABELS = np.arange(N) % 2
REPEATABLE = {"unsafe_noise_seed": 1, "random_state": 2}


def k_means(rows, **parameters):
    return DPKMeans(3, n_rounds=2, **REPEATABLE, **parameters).fit(rows)


def mixture(rows, y=LABELS, **parameters):
    parameters = {"classes": [0, 1], **REPEATABLE, **parameters}
    return DPGaussianMixture(**parameters).fit(rows, y)


def assert_same(model, expected):
    values = ("cluster_centers_", "noisy_counts_", "weights_", "means_")
    compared = [name for name in values if hasattr(expected, name)]
    assert len(compared) == 2
    for name in compared:
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
    if hasattr(expected, "covariances_"):
        np.testing.assert_array_equal(
            model.covariances_.matrices(), expected.covariances_.matrices()
        )


def unaligned(rows):
    buffer = bytearray(1) + bytearray(rows.tobytes())
    array = np.frombuffer(buffer, rows.dtype, offset=1).reshape(rows.shape)
    assert not array.flags.aligned
    return array


def field(rows):
    """Rows a stride apart that is no multiple of their item size."""
    table = np.zeros(len(rows), [("id", "i1"), ("embedding", "f8", rows.shape[1])])
    table["embedding"] = rows
    return table["embedding"]


def spread_out(rows):
    wide = np.full((2 * len(rows), 3 * rows.shape[1]), np.nan)
    wide[::2, ::3] = rows
    return wide[::2, ::3]


def read_only(rows):
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


def objects(rows):
    return rows.astype(object)


LAYOUTS = {
    "big-endian": lambda rows: rows.astype(">f8"),
    "Fortran order": np.asfortranarray,
    "rows backwards": lambda rows: rows[::-1].copy()[::-1],
    "features backwards": lambda rows: rows[:, ::-1].copy()[:, ::-1],
    "strided": spread_out,
    "unaligned": unaligned,
    "field of records": field,
    "read-only": read_only,
    "objects": objects,
    "numbers in objects of text": lambda rows: np.array([[str(v) for v in r] for r in rows], "O"),
    "lists": lambda rows: rows.tolist(),
    "tuples": lambda rows: tuple(map(tuple, rows)),
    "list of arrays": list,
    "matrix": lambda rows: rows.view(np.matrix),
    "nothing masked": np.ma.masked_invalid,
    "longdouble": lambda rows: rows.astype(np.longdouble),
    "Fortran big-endian": lambda rows: np.asfortranarray(rows, ">f8"),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_nothing(layout):
    rows = LAYOUTS[layout](ROWS)
    expected = k_means(ROWS)
    model = k_means(rows)
    assert_same(model, expected)
    np.testing.assert_array_equal(model.predict(rows), expected.predict(ROWS))
    assert model.score(rows) == expected.score(ROWS)
    expected = mixture(ROWS)
    model = mixture(rows)
    assert_same(model, expected)
    np.testing.assert_array_equal(model.predict(rows), expected.predict(ROWS))


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_map_changes_nothing(tmp_path, dtype, order):
    path = tmp_path / "rows.npy"
    np.save(path, np.asarray(ROWS, dtype, order=order))
    mapped = np.load(path, mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert_same(k_means(mapped[3:]), k_means(ROWS[3:].astype(dtype)))


@pytest.mark.parametrize(
    "dtype", ["i1", "i2", "i4", "i8", ">i4", "u1", "u2", "u4", "u8", "?", "f2", "f4", ">f4"]
)
def test_dtype_changes_nothing_for_numbers_that_it_holds(dtype):
    whole = rng.integers(0, 2, size=(N, D))
    assert_same(k_means(whole.astype(dtype)), k_means(whole.astype(np.float64)))
    assert_same(mixture(whole.astype(dtype)), mixture(whole.astype(np.float64)))


def test_tensors_and_data_frames_change_nothing():
    torch = pytest.importorskip("torch")
    assert_same(k_means(torch.tensor(ROWS)), k_means(ROWS))
    assert_same(k_means(torch.tensor(ROWS.T.copy()).T), k_means(ROWS))
    assert_same(mixture(torch.tensor(ROWS), torch.tensor(LABELS)), mixture(ROWS))


def test_data_frames_change_nothing():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=[f"f{i}" for i in range(D)])
    model = mixture(frame, pandas.Series(LABELS))
    assert_same(model, mixture(ROWS))
    assert list(model.feature_names_in_) == list(frame.columns)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (LABELS.tolist(), [0, 1]),
        (tuple(LABELS), (0, 1)),
        (LABELS[:, None], range(2)),
        (LABELS.astype(object), np.array([0, 1], object)),
        (LABELS.astype("i1"), np.array([0, 1], "u8")),
        (LABELS.astype(">i4"), [0.0, 1.0]),
        (LABELS.astype(float), [0, 1]),
        (LABELS.astype(bool), [False, True]),
        (np.repeat(LABELS, 3)[::3], [0, 1]),
        (np.array(["a", "b"])[LABELS], ["a", "b"]),
        (np.array(["a", "b"], object)[LABELS], np.array(["a", "b"])),
        ([np.str_("ab"[label]) for label in LABELS], ["a", "b"]),
    ],
)
def test_form_of_labels_changes_nothing(y, classes):
    model = mixture(ROWS, y, classes=classes)
    assert_same(model, mixture(ROWS))
    assert model.classes_.tolist() == np.asarray(classes).tolist()


def test_order_of_classes_is_the_callers():
    model, expected = mixture(ROWS, classes=[1, 0]), mixture(ROWS, 1 - LABELS)
    assert_same(model, expected)
    assert model.classes_.tolist() == [1, 0]


@pytest.mark.parametrize("one", [1, np.float32(1), np.int8(1), Fraction(1)])
def test_type_of_numbers_changes_nothing(one, tmp_path):
    model = k_means(ROWS, epsilon=one, clip_norm=one, n_hint=np.int64(N))
    assert_same(model, k_means(ROWS, n_hint=N))
    model.save(tmp_path / "model", allow_unsafe=True)
    assert DPKMeans.load(tmp_path / "model").epsilon == 1


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("form", [np.asarray, list, np.ndarray.tolist, np.asmatrix])
def test_form_of_public_centres_changes_nothing(form, tmp_path):
    model = k_means(ROWS, init=form(ROWS[:3]))
    assert_same(model, k_means(ROWS, init=ROWS[:3]))
    model.save(tmp_path / "model", allow_unsafe=True)
    assert DPKMeans.load(tmp_path / "model").init == ROWS[:3].tolist()


@pytest.mark.parametrize("exponent", [-30, 30])
@pytest.mark.parametrize("init", ["gaussian", "histogram", "random"])
def test_unit_of_rows_changes_nothing(exponent, init):
    scale = 2.0**exponent
    model = k_means(ROWS * scale, init=init, clip_norm=scale)
    expected = k_means(ROWS, init=init)
    np.testing.assert_allclose(model.cluster_centers_, expected.cluster_centers_ * scale, 1e-9)
    np.testing.assert_array_equal(model.predict(ROWS * scale), expected.predict(ROWS))


@pytest.mark.parametrize("n_components", [1, 3])
@pytest.mark.parametrize("covariance_type", ["tied", "full", "diag", "spherical", "low_rank"])
def test_unit_of_rows_changes_nothing_in_mixtures(n_components, covariance_type):
    scale, shape = 2.0**-30, (n_components, covariance_type)
    small, unit = (
        DPGaussianMixture(*shape, classes=[0, 1], clip_norm=s, **REPEATABLE).fit(ROWS * s, LABELS)
        for s in (scale, 1.0)
    )
    np.testing.assert_allclose(small.means_, unit.means_ * scale, 1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_dropped_rows_contribute_nothing(bad):
    rows, kept = ROWS.copy(), np.arange(N) % 7 != 3
    rows[~kept, 2] = bad
    dropped = {"on_invalid": "drop"}
    assert_same(k_means(rows, **dropped), k_means(ROWS[kept]))
    assert_same(mixture(rows, **dropped), mixture(ROWS[kept], LABELS[kept]))


def test_labels_of_dropped_rows_are_minus_one():
    rows, kept = ROWS.copy(), np.arange(N) % 7 != 3
    rows[~kept] = np.nan
    model = k_means(rows, on_invalid="drop", compute_labels=True)
    assert (model.labels_[~kept] == -1).all()
    np.testing.assert_array_equal(model.labels_[kept], model.predict(ROWS[kept]))
    np.testing.assert_array_equal(model.fit_predict(rows), model.labels_)


@pytest.mark.parametrize("rows", [np.full((4, D), np.nan), np.zeros((1, D)), np.zeros((9, 1))])
@pytest.mark.parametrize("init", ["gaussian", "histogram", "random"])
def test_few_equal_or_no_valid_rows_are_rows_like_others(rows, init):
    # No branch on an exact number of rows, nor an error that would tell of it after the spend.
    for epsilon in (1.0, np.inf):
        model = DPKMeans(3, epsilon=epsilon, init=init, n_rounds=2, on_invalid="drop").fit(rows)
        assert np.isfinite(model.cluster_centers_).all()


def test_far_rows_go_to_the_centre_in_their_direction():
    model = k_means(ROWS, init=np.eye(D)[:3], epsilon=np.inf)
    rows = model.cluster_centers_ / np.linalg.norm(model.cluster_centers_, axis=1, keepdims=True)
    for distance in (1.0, 1e6, 1e20, 1e38):
        far = rows * distance
        nearest = (far @ model.cluster_centers_.T).argmax(axis=1)
        np.testing.assert_array_equal(model.predict(far), nearest)
