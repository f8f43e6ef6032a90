"""Sources that cannot be used: a typed error with both numbers and the way out, nothing spent."""

import json
import os
import re
import sys

import numpy as np
import pytest

from cloister import Budget, DPGaussianMixture, DPKMeans, KMeans
from cloister.errors import CloisterError, InvalidInput, InvalidType, MissingDependency
from cloister.sources import as_source, find_labels
from source_files import Batches, lists, table, write_all, write_arrow

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

N, D = 60, 4
ROWS = np.random.default_rng(7).normal(size=(N, D)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
LABELS = np.arange(N) % 2


def nulls(*places):
    return [None if i in places else row.tolist() for i, row in enumerate(ROWS)]


def one_null_number():
    return [[*row[:-1].tolist(), None] if i == 7 else row.tolist() for i, row in enumerate(ROWS)]


def ragged(lengths):
    return [row[: lengths.get(i, D)].tolist() for i, row in enumerate(ROWS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    write_all(folder, ROWS, LABELS)
    cut = (folder / "rows.npy").read_bytes()[:-10]
    (folder / "cut.npy").write_bytes(cut)
    for name in ("safetensors", "parquet", "arrow", "npz"):
        (folder / f"cut.{name}").write_bytes((folder / f"rows.{name}").read_bytes()[:-10])
        (folder / f"noise.{name}").write_bytes(bytes(range(200)) * 9)
        (folder / f"nothing.{name}").write_bytes(b"")
    np.save(folder / "wide.npy", np.ones((3, D + 1)))
    np.save(folder / "empty.npy", np.ones((0, D)))
    np.save(folder / "text.npy", np.array([["a", "b"]]))
    np.save(folder / "complex.npy", np.ones((3, D), complex))
    np.savez(folder / "two.npz", a=ROWS, b=ROWS)
    (folder / "rows.csv").write_text("1,2\n")
    pq.write_table(pa.table({"a": lists(ROWS), "b": lists(ROWS)}), folder / "two.parquet")
    pq.write_table(pa.table({"t": ["a"] * N, "v": LABELS}), folder / "none.parquet")
    pq.write_table(pa.table({"e": [["a"]] * N}), folder / "words.parquet")
    pq.write_table(table(ROWS[:, :3], LABELS), folder / "narrow.parquet")
    pq.write_table(table(ROWS[:0], LABELS[:0]), folder / "empty.parquet")
    for name, values in {
        "null_list": nulls(3, 9),
        "null_number": one_null_number(),
        "ragged": ragged({5: 3}),
        "ragged_evenly": ragged(dict.fromkeys(range(30), 2)),
    }.items():
        whole = pa.table({"e": pa.array(values, pa.list_(pa.float32()))})
        pq.write_table(whole, folder / f"{name}.parquet")
        write_arrow(folder / f"{name}.arrow", whole)
    float8 = {"e": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]}}
    short = {"e": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]}}
    for name, header in {"float8": float8, "short": short}.items():
        text = json.dumps(header).encode()
        (folder / f"{name}.safetensors").write_bytes(
            len(text).to_bytes(8, "little") + text + bytes(16)
        )
    return folder


FILES = [
    ("none.npy", "there is no file", "spelling"),
    ("none/*.npy", "0 files match", "spelling"),
    ("", "is no regular file but a folder", r"name its files: '.*\*\.parquet'"),
    ("rows.csv", r"ends in '\.csv', but .*\.parquet", "convert it"),
    ("cut.npy", r"promises \d+ bytes, but it has \d+: it was cut short", "save it again"),
    ("cut.npz", r"\(\d+ bytes\) cannot be read", "save it again"),
    ("cut.safetensors", r"promises \d+ bytes up to '\w+', but it has \d+", "save it again"),
    ("cut.parquet", "cannot be read as a .parquet file", "write it again"),
    ("cut.arrow", "cannot be read as a .arrow file", "write it again"),
    ("noise.npz", "cannot be read", "save it again"),
    ("noise.safetensors", "header would have", "save it again"),
    ("noise.parquet", "cannot be read", "write it again"),
    ("noise.arrow", "cannot be read", "write it again"),
    ("nothing.safetensors", r"\(0 bytes\)", "save it again"),
    ("nothing.parquet", "cannot be read", "write it again"),
    ("short.safetensors", "'e' needs 16 bytes, but has 12", "save it again"),
    ("float8.safetensors", "stored as F8_E4M3, but .*bfloat16", "save it as one of these"),
    ("empty.npy", r"found 0 sample\(s\)", "at least one row"),
    ("empty.parquet", r"found 0 sample\(s\)", "at least one row"),
    ("labels.npy", "expected a 2D array .* got 1D", "Reshape"),
    ("text.npy", "dtype <U1", "real number"),
    ("complex.npy", "Complex data not supported", "as features"),
    ("rows.npy:x", "holds one array", "leave out ':x'"),
    ("two.npz", r"has 2 array of shape .*\['a', 'b'\].* 1 is needed", "two.npz:KEY"),
    ("two.npz:c", r"has no array 'c'; it has \['a', 'b'\]", "choose one as .*two.npz:KEY"),
    ("rows.safetensors:label", "expected a 2D array .* got 1D", "Reshape"),
    ("rows.parquet:c", r"no column 'c'; it has \['id', 'embedding', 'label'\]", r"\['embedding'\]"),
    ("rows.parquet:label", "column 'label' holds int64", "choose a column"),
    ("two.parquet", r"2 columns of lists of numbers, \['a', 'b'\], and 1", "two.parquet:COLUMN"),
    ("none.parquet", "0 columns of lists.*'t': 'string'", "column_stack"),
    ("words.parquet:e", "column 'e' holds list<.*string>", "choose a column"),
    ("null_list.parquet", r"column 'e' has 2 null\(s\), and 0 are allowed", "leave such rows out"),
    ("null_number.parquet", r"column 'e' has 1 null\(s\)", "fill them"),
    ("ragged.parquet", "239 numbers in 60 rows: its lists differ", "all rows must have one"),
    ("ragged_evenly.parquet", "row 0 is a list of 2 numbers, but a row has 3", "one length"),
    ("null_list.arrow", "row 3 is null", "fill them"),
    ("null_number.arrow", "row 7 is null or holds a null", "fill them"),
    ("ragged.arrow", "row 5 is a list of 3 numbers, but a row has 4", "one length"),
]


@pytest.mark.parametrize("estimator", [DPKMeans(2), DPGaussianMixture(), KMeans(2)])
@pytest.mark.parametrize(("name", "problem", "way_out"), FILES)
def test_files(folder, tmp_path, estimator, name, problem, way_out):
    budget = Budget(tmp_path / "spent.ledger", "rows", epsilon=20.0, delta=1e-5)
    if "budget" in estimator.get_params():
        estimator.set_params(budget=budget)
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        estimator.fit(f"{folder}/{name}")
    assert re.search(rf"^X.*{problem}", str(caught.value))
    assert re.search(way_out, str(caught.value))
    assert budget.mu_squared_spent == 0


def test_files_that_differ(folder):
    for parts in (["rows.npy", "wide.npy"], ["rows.parquet", "narrow.parquet"]):
        names = [folder / part for part in parts]
        with pytest.raises(InvalidInput, match=r"X: '.*' has [35] features a row, but '.*' has 4;"):
            DPKMeans(2).fit(names)
    with pytest.raises(InvalidInput, match=r"X: X\[1\] has 3 features a row, but X\[0\] has 4;"):
        DPKMeans(2).fit([ROWS, ROWS[:, :3]])


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("kind", ["npy", "npz", "parquet", "arrow", "safetensors"])
def test_file_that_changes_after_it_was_opened(tmp_path, kind, cache):
    write_all(tmp_path, ROWS, LABELS)
    path = tmp_path / f"rows.{kind}"
    source = as_source(path)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(InvalidInput, match=r"changed while it was read: it had \d+ .*has \d+ now"):
        DPKMeans(2, cache=cache).fit(source)
    path.unlink()
    with pytest.raises(InvalidInput, match="cannot be read any more"):
        DPKMeans(2, cache=cache).fit(source)


def test_file_that_changes_between_two_questions(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    source = as_source(tmp_path / "rows.npy")
    first_pass = source.chunks(10)
    next(first_pass)
    os.utime(tmp_path / "rows.npy", ns=(1, 1))
    for chunks in (first_pass, source.chunks()):
        with pytest.raises(InvalidInput, match="changed while it was read"):
            list(chunks)


class Shrinking(Batches):
    """Has fewer rows at each pass, as a table that is written to might."""

    def __iter__(self):
        self.rows = self.rows[:-1]
        return super().__iter__()


def test_batches_that_change_between_two_questions():
    for model in (DPKMeans(2, cache=False), KMeans(2), KMeans(2, cache=False)):
        with pytest.raises(InvalidInput, match=r"X (changed|had).*5\d.* rows.* now"):
            model.fit(Shrinking(ROWS, 7))


def failing():
    yield ROWS
    raise OSError("the disk is gone")


BATCHES = [
    ("rows", lambda: iter(ROWS), InvalidType, r"batch 0: .*1D with shape \(4,\)", "numpy array"),
    ("numbers", lambda: iter([1.0, 2.0]), InvalidType, "cannot be read as batches", "numpy array"),
    ("nothing", lambda: iter(()), InvalidInput, "found 0 sample.*minimum of 1", "at least one row"),
    ("words", lambda: iter([[["a"]]]), InvalidType, "batch 0: .*dtype", "numpy array"),
    (
        "widths",
        lambda: iter([ROWS, ROWS[:, :3]]),
        InvalidInput,
        "batch 1 has 3 .* has 4",
        "encoder",
    ),
    ("fails", failing, InvalidInput, "batch 1 could not be had: OSError: the disk", "mend"),
    ("NaN", lambda: iter([ROWS, ROWS * np.nan]), InvalidInput, "60 of 120 .*row 60|row 60", "rows"),
]


@pytest.mark.parametrize("estimator", [DPKMeans(2), DPGaussianMixture(), KMeans(2)])
@pytest.mark.parametrize(
    ("make", "error", "problem", "way_out"), [pytest.param(*b[1:], id=b[0]) for b in BATCHES]
)
def test_batches(tmp_path, estimator, make, error, problem, way_out):
    budget = Budget(tmp_path / "spent.ledger", "rows", epsilon=20.0, delta=1e-5)
    if "budget" in estimator.get_params():
        estimator.set_params(budget=budget)
    with pytest.raises(error, match=problem) as caught:
        estimator.fit(make())
    assert isinstance(caught.value, CloisterError)
    assert re.search(way_out, str(caught.value))
    assert budget.mu_squared_spent == 0


def test_iterators_where_rows_are_read_twice(tmp_path):
    budget = Budget(tmp_path / "spent.ledger", "rows", epsilon=20.0, delta=1e-5)
    for model in (
        DPKMeans(2, cache=False, budget=budget),
        DPKMeans(2, compute_labels=True, budget=budget),
        DPGaussianMixture(cache=False, budget=budget),
        KMeans(2, cache=False),
    ):
        with pytest.raises(InvalidInput, match=r"can be read 1 time, but 2 .* leave c.*__iter__"):
            model.fit(iter([ROWS]))
    with pytest.raises(InvalidInput, match=r"can be read 1 time, but 2 .* call fit alone"):
        DPKMeans(2, budget=budget).fit_predict(iter([ROWS]))
    assert budget.fits() == []
    once = iter([ROWS])
    DPKMeans(2).fit(once)
    with pytest.raises(InvalidInput, match="found 0 sample"):
        DPKMeans(2).fit(once)


LABEL_NAMES = [
    ("rows.parquet", "lbl", r"y='lbl' is neither a file .* \['id', 'label'\]", "name one"),
    ("rows.npy", "label", "y='label' names labels, but X has 0 columns", "in a list"),
    ("rows.npy", "{}/none.npy", "y: there is no file", "spelling"),
    ("rows.npy", "{}/rows.parquet", r"has 2 column of labels\(s\), \['id', 'label'\]", ":KEY"),
    ("rows.npy", "{}/rows.npy", "y must have shape", "one label a row"),
    ("rows.npy", "{}/wide.npy", "y must have shape", "one label a row"),
    ("rows.parquet", "{}/cut.npy", "y: .* cut short", "save it again"),
]


@pytest.mark.parametrize(("rows", "name", "problem", "way_out"), LABEL_NAMES)
def test_names_of_labels(folder, tmp_path, rows, name, problem, way_out):
    budget = Budget(tmp_path / "spent.ledger", "rows", epsilon=20.0, delta=1e-5)
    model = DPGaussianMixture(classes=[0, 1], budget=budget)
    with pytest.raises(InvalidInput, match=problem) as caught:
        model.fit(folder / rows, name.format(folder))
    assert re.search(way_out, str(caught.value))
    assert budget.mu_squared_spent == 0


def test_null_label():
    with_null = table(ROWS, pa.array([None if i == 4 else i % 2 for i in range(N)]))
    with pytest.raises(InvalidInput, match="column 'label' has a null in row 4"):
        DPGaussianMixture(classes=[0, 1]).fit(with_null, "label")


def test_labels_of_another_length():
    for make in (lambda: ROWS, lambda: iter([ROWS]), lambda: table(ROWS, LABELS)):
        for labels in (LABELS[1:], [*LABELS, 1]):
            with pytest.raises(InvalidInput, match=rf"y has {len(labels)} labels, but X has 60"):
                DPGaussianMixture(classes=[0, 1]).fit(make(), labels)


def test_without_pyarrow(folder, monkeypatch):
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("rows.parquet", "rows.arrow", "many/*.parquet"):
        with pytest.raises(MissingDependency, match=r'pip install "cloister\[parquet\]"'):
            DPKMeans(2).fit(f"{folder}/{name}")
    DPKMeans(2, init="random").fit(folder / "rows.npy")


def test_label_file_is_not_opened_for_its_name(tmp_path):
    labels = [1, 0]
    assert find_labels(labels, None) is labels
    assert find_labels(None, None) is None
