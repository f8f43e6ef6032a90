"""What `fit` refuses: a typed error that names the argument and the way out, nothing spent."""

import itertools
import re

import numpy as np
import pytest
from scipy import sparse

import cloister
from cloister import Budget, DPGaussianMixture, DPKMeans
from cloister.errors import CloisterError, InvalidInput, InvalidType

N, D = 60, 4
rng = np.random.default_rng(7)
ROWS = rng.normal(size=(N, D))
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
LABELS = np.arange(N) % 2


def with_entry(value, dtype=np.float64):
    rows = ROWS.astype(dtype)
    rows[17, 2] = value
    return rows


class FailsToConvert:
    shape = (N, D)

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("this array lies on another device")


@pytest.fixture
def budget(tmp_path):
    return Budget(tmp_path / "spent.ledger", "rows", epsilon=20.0, delta=1e-5)


def assert_refused(budget, estimator, X, y, error, argument, way_out):
    with pytest.raises(error) as caught:
        estimator.set_params(budget=budget).fit(X, y)
    assert isinstance(caught.value, CloisterError)
    assert re.search(argument, str(caught.value))
    assert re.search(way_out, str(caught.value))
    assert budget.mu_squared_spent == 0
    assert all(fit.rounds == 0 for fit in budget.fits())


def table(cases):
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


ARRAYS = [
    ("None", None, InvalidType, "^X must be an array", "numpy array"),
    ("text", "rows.npy", InvalidInput, "^X: there is no file 'rows.npy'", "check its spelling"),
    ("bytes", b"\0" * 32, InvalidType, "^X must be an array", "numpy array"),
    ("dict", {"a": [1.0]}, InvalidType, "^X must be an array", "numpy array"),
    ("set", {1.0, 2.0}, InvalidType, "^X must be an array", "numpy array"),
    ("iterator", (row for row in ROWS), InvalidType, "^X cannot be read", "numpy array"),
    ("object", object(), InvalidType, "^X cannot be read", "numpy array"),
    ("fails to convert", FailsToConvert(), InvalidType, "^X cannot.*device", "numpy array"),
    ("ragged", [[1.0, 2.0], [3.0]], InvalidType, "^X cannot be read", "all rows of one length"),
    ("beyond float64", [[10**400] * D], InvalidType, "^X cannot be read", "numpy array"),
    ("number", 3.0, InvalidInput, "^X: expected a 2D array", r"X\.reshape\(1, -1\)"),
    ("1-d", ROWS[0], InvalidInput, "^X: expected a 2D array", r"X\.reshape\(1, -1\)"),
    ("3-d", ROWS[None], InvalidInput, "^X: .* 3D .*image", r"X\.reshape\(len\(X\), -1\)"),
    ("empty list", [], InvalidInput, "^X: expected a 2D array", "reshape"),
    ("no rows", ROWS[:0], InvalidInput, r"^X: found 0 sample", "at least one row"),
    ("no features", ROWS[:, :0], InvalidInput, r"^X: found 0 feature", "at least one column"),
    ("65,537 features", np.zeros((2, 2**16 + 1), "i1"), InvalidInput, "^X has shape", "smaller"),
    ("NaN", with_entry(np.nan), InvalidInput, "^X has 1 of 60 .*row 17", 'on_invalid="drop"'),
    ("infinity", with_entry(np.inf), InvalidInput, "^X has 1 of 60 .*row 17", "on_invalid="),
    ("-infinity", with_entry(-np.inf), InvalidInput, "^X has 1 of 60 .*row 17", "on_invalid="),
    ("beyond float32", with_entry(1e39), InvalidInput, "^X has 1 .*row 17", "on_invalid="),
    ("float16 NaN", with_entry(np.nan, "f2"), InvalidInput, "^X has 1 .*row 17", "on_invalid="),
    (
        "longdouble beyond float64",
        with_entry(np.longdouble("1e400"), np.longdouble),
        *(InvalidInput, "^X has 1 .*row 17", "on_invalid="),
    ),
    ("None in a row", [[None, 1.0]], InvalidInput, "^X has 1 of 1 .*row 0", "on_invalid="),
    ("words", [["a", "b"]], InvalidType, "^X has dtype <U1", "real number a feature"),
    ("numbers in text", [["1", "2"]], InvalidType, "^X has dtype <U1", r"X\.astype\('float32'\)"),
    ("object words", np.array([["a", 1]], "O"), InvalidType, "^X cannot be read", "numpy array"),
    ("complex", ROWS + 1j, InvalidInput, "^X: Complex data not supported", "parts as features"),
    ("datetime", ROWS.astype("M8[s]"), InvalidType, "^X has dtype datetime64", "real number"),
    ("timedelta", ROWS.astype("m8[s]"), InvalidType, "^X has dtype timedelta64", "real number"),
    ("structured", np.zeros((3, 2), "f4,f4"), InvalidType, "^X has dtype .*f4", "real number"),
    ("masked", np.ma.masked_less(ROWS, -0.5), InvalidType, "^X has masked", r"X\.filled"),
    ("sparse matrix", sparse.csr_matrix(ROWS), InvalidType, "^X is a sparse", r"X\.toarray\(\)"),
    ("sparse array", sparse.coo_array(ROWS), InvalidType, "^X is a sparse", r"X\.toarray\(\)"),
]


@pytest.mark.parametrize("estimator", [DPKMeans(2), DPGaussianMixture()], ids=["k-means", "mix"])
@pytest.mark.parametrize(("X", "error", "argument", "way_out"), table(ARRAYS))
def test_rows(budget, estimator, X, error, argument, way_out):
    assert_refused(budget, estimator, X, None, error, argument, way_out)


def test_memory_map_whose_file_was_cut(budget, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, ROWS)
    mapped = np.load(path, mmap_mode="r")
    with open(path, "r+b") as file:
        file.truncate(1000)
    for rows in (mapped, mapped[3:9, ::2], np.asarray(mapped)):
        assert_refused(budget, DPKMeans(2), rows, None, InvalidInput, "^X maps", "map it anew")


@pytest.mark.parametrize("kind", ["gradient", "bfloat16 gradient", "sparse"])
def test_tensors_that_numpy_cannot_hold(budget, kind):
    torch = pytest.importorskip("torch")
    tensor = {
        "gradient": lambda: torch.tensor(ROWS, requires_grad=True),
        "bfloat16 gradient": lambda: torch.tensor(ROWS).bfloat16().requires_grad_(),
        "sparse": lambda: torch.tensor(ROWS).to_sparse(),
    }[kind]()
    assert_refused(budget, DPKMeans(2), tensor, None, InvalidType, "^X cannot", "numpy array")


AS_LABELS = (InvalidType, "^y ", "integers or (all )?strings")
IN_CLASSES = (InvalidInput, r"^y has \d+ label.* outside classes", "add it to classes")
TWO = [0, 1]
LABEL_CASES = [
    ("too few", LABELS[1:], TWO, InvalidInput, "^y has 59 .* 60 rows", "must agree"),
    ("too many", [*LABELS, 0], TWO, InvalidInput, "^y has 61 .* 60 rows", "must agree"),
    ("2-d", np.eye(2)[LABELS], TWO, InvalidInput, "^y must have shape", "one label a row"),
    ("rows", ROWS, TWO, InvalidInput, "^y must have shape", "one label a row"),
    ("0-d", 1, TWO, InvalidInput, "^y must have shape", "one label a row"),
    ("NaN", [np.nan, *LABELS[1:]], TWO, InvalidInput, "^y .*NaN", "integers or strings"),
    ("infinity", [np.inf, *LABELS[1:]], None, InvalidInput, "^y ", "integers or strings"),
    ("halves", LABELS / 2, None, InvalidInput, "^y .*whole number", "integers or strings"),
    ("None inside", [None, *LABELS[1:]], TWO, *AS_LABELS),
    ("None among words", [None, *"a" * (N - 1)], None, *AS_LABELS),
    ("NaN among words", [np.nan, *"a" * (N - 1)], None, *AS_LABELS),
    ("mixed", [1, *"a" * (N - 1)], None, *AS_LABELS),
    ("beyond int64", [10**30] * N, None, *AS_LABELS),
    ("ragged", [[0], [1, 2]] * (N // 2), None, *AS_LABELS),
    ("bytes", np.array([b"a"] * N), None, *AS_LABELS),
    ("complex", LABELS + 1j, None, *AS_LABELS),
    ("dates", LABELS.astype("M8[D]"), None, *AS_LABELS),
    ("structured", np.zeros(N, "i4,i4"), None, *AS_LABELS),
    ("sparse", sparse.csr_array(LABELS[None]), None, *AS_LABELS),
    ("dict", dict.fromkeys(range(N), 0), None, *AS_LABELS),
    ("masked", np.ma.masked_equal(LABELS, 1), TWO, InvalidType, "^y has masked", r"y\.filled"),
    ("outside classes", LABELS + 1, TWO, *IN_CLASSES),
    ("outside words", ["a", "c"] * (N // 2), ["a", "b"], *IN_CLASSES),
    ("words for numbers", ["0", "1"] * (N // 2), TWO, InvalidType, "^y .*classes", "same type"),
    ("numbers for words", LABELS, ["0", "1"], InvalidType, "^y .*classes", "same type"),
    ("classes without y", None, TWO, InvalidInput, "^y is None.*classes", "pass the labels as y"),
    ("classes repeat", LABELS, [0, 1, 1], InvalidInput, "^classes repeats", "each class once"),
    ("no classes", LABELS, [], InvalidInput, "^classes must list", "at least 1"),
    ("classes 0-d", LABELS, 2, InvalidInput, "^classes must list", "at least 1"),
    ("classes in text", LABELS, "01", InvalidInput, "^classes must list", "at least 1"),
    ("classes 2-d", LABELS, [[0, 1]], InvalidInput, "^classes must list", "at least 1"),
    ("classes a set", LABELS, {0, 1}, InvalidType, "^classes .*got set", "in a list"),
    ("classes ragged", LABELS, [[0], [1, 2]], InvalidType, "^classes ", "integers or strings"),
    ("classes with None", LABELS, [0, None], InvalidType, "^classes mixes", "all integers"),
    ("classes with NaN", LABELS, [0, np.nan], InvalidInput, "^classes .*NaN", "integers or str"),
    ("classes of bytes", LABELS, [b"0", b"1"], InvalidType, "^classes ", "integers or strings"),
]


@pytest.mark.filterwarnings("ignore::cloister.errors.PublicClassesWarning")
@pytest.mark.parametrize(("y", "classes", "error", "argument", "way_out"), table(LABEL_CASES))
def test_labels(budget, y, classes, error, argument, way_out):
    estimator = DPGaussianMixture(classes=classes)
    assert_refused(budget, estimator, ROWS, y, error, argument, way_out)


NO_NUMBER = [None, True, "1", [1.0], np.array([1.0, 2.0]), 1 + 0j]
NO_INTEGER = [True, "1", 1.5, np.nan, [1], np.array([1, 2])]
OUT_OF_RANGE = {
    "epsilon": [0, -1, np.nan, -np.inf, 1e-9, 1e12, 10**400, 10**5000],
    "delta": [0, 1, -1e-5, np.nan, np.inf, 0.6],
    "clip_norm": [0, -1, np.nan, np.inf, 1e-11, 1e11],
    "n_clusters": [0, -3, 2**21, 10**5000],
    "n_components": [0, -1, 2**17, "1"],
    "n_rounds": [0, -1, 10**6],
    "n_hint": [0, -5, 2**33],
    "random_state": [-1, 2**64],
    "unsafe_noise_seed": [-1, 2**64],
    "fit_name": ["", " padded", "two\nlines", "\ud800", "a" * 256],
    "encoder_id": ["", "\0", "a" * 256],
    "row_purity": ["certain", "", True, ["strict"]],
    "on_invalid": ["ignore", None, True, ["drop"]],
    "metric": ["cos", "Cosine", None, 3],
    "covariance_type": ["full_rank", "Tied", None, 3],
    "init": [
        *("k-means++", ""),
        *(ROWS[:1], ROWS[:2, :3], ROWS[0], np.full((2, D), np.nan), np.full((2, D), 1e39)),
    ],
}
WRONG_TYPE = {
    "epsilon": NO_NUMBER,
    "delta": NO_NUMBER,
    "clip_norm": NO_NUMBER,
    "n_clusters": [None, *NO_INTEGER],
    "n_components": [None, *(value for value in NO_INTEGER if not isinstance(value, str))],
    "n_rounds": NO_INTEGER,
    "n_hint": NO_INTEGER,
    "random_state": NO_INTEGER,
    "unsafe_noise_seed": NO_INTEGER,
    "fit_name": [3, b"fit", ["fit"]],
    "encoder_id": [3, b"encoder"],
    "compute_labels": [None, 1, "no"],
    "init": [None, sparse.csr_array(ROWS[:2]), [["a"] * D] * 2, [[1.0], [1.0, 2.0]]],
}
WAY_OUT = {
    "epsilon": r"try 1\.0|epsilon=1\.0",
    "delta": "such as 1e-5",
    "clip_norm": r"1\.0 suits",
    "n_clusters": "how many clusters",
    "n_components": "1 suits|choose one of",
    "n_rounds": "or None",
    "n_hint": "or None",
    "random_state": "None draws a seed",
    "unsafe_noise_seed": "None draws private noise",
    "fit_name": "must be|must have",
    "encoder_id": "must be|must have",
    "compute_labels": "True or False",
    "row_purity": "choose one of",
    "on_invalid": r"choose one of",
    "metric": r"choose one of",
    "covariance_type": r"choose one of",
    "init": "choose one of|pass|leave such rows out|array of shape",
}


def parameter_cases():
    for error, cases in ((InvalidInput, OUT_OF_RANGE), (InvalidType, WRONG_TYPE)):
        for name, values in cases.items():
            for number, value in enumerate(values):
                yield pytest.param(name, value, error, id=f"{name}-{error.__name__}-{number}")


@pytest.mark.parametrize(("name", "value", "error"), list(parameter_cases()))
def test_parameters(budget, name, value, error):
    refused = 0
    for estimator in (DPKMeans(2), DPGaussianMixture(classes=[0])):
        if name in estimator.get_params():
            estimator.set_params(**{name: value})
            assert_refused(budget, estimator, ROWS, None, error, f"^{name}", WAY_OUT[name])
            refused += 1
    assert refused


@pytest.mark.parametrize("budget_like", ["spent.ledger", Budget, {"epsilon": 1.0}])
@pytest.mark.parametrize("estimator", [DPKMeans(2), DPGaussianMixture()], ids=["k-means", "mix"])
def test_no_budget(estimator, budget_like):
    with pytest.raises(InvalidType, match=r"^budget must be .*open one with Budget\("):
        estimator.set_params(budget=budget_like).fit(ROWS)
    assert not hasattr(estimator, "privacy_")


@pytest.mark.parametrize(
    ("estimator", "d", "argument"),
    [
        (DPKMeans(2**20), 64, "^n_clusters=1048576 and 64 features"),
        (DPGaussianMixture(), 12_000, "'tied' with 1 class.* and 12000 features"),
        (DPGaussianMixture(2, "diag"), 12_000, "^n_components=2 and covariance_type='diag'"),
        (DPGaussianMixture(50, "full"), 2_000, "^n_components=50 and covariance_type='full'"),
    ],
    ids=itertools.count(),
)
def test_releases_larger_than_a_ledger_holds(budget, estimator, d, argument):
    rows = np.zeros((2, d), np.int8)
    assert_refused(budget, estimator, rows, None, InvalidInput, argument, "smaller embedding")


@pytest.mark.parametrize(
    ("threads", "error"),
    [(0, InvalidInput), (-3, InvalidInput), (10**6, InvalidInput)]
    + [(value, InvalidType) for value in ("2", "two", 2.5, np.nan, np.inf, True, [2])],
)
def test_number_of_threads(threads, error):
    before = cloister.num_threads()
    with pytest.raises(error, match=r"^threads.*None takes all"):
        cloister.set_num_threads(threads)
    assert cloister.num_threads() == before


@pytest.mark.parametrize("setting", ["0", "-1", "two", "1.5", "\u00b2"])
def test_number_of_threads_in_the_environment(setting, monkeypatch):
    monkeypatch.setenv("CLOISTER_NUM_THREADS", setting)
    with pytest.raises(InvalidInput, match=r"^CLOISTER_NUM_THREADS=.*unset it"):
        cloister.num_threads()
