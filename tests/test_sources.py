"""Where rows come from changes nothing: the same exact integers, the same released values."""

import numpy as np
import pytest
from sklearn.base import clone

from cloister import DPGaussianMixture, DPKMeans, KMeans
from cloister._backend import Grid, SoftmaxRegression
from cloister.codes import CodeGrid
from cloister.engines import LocalEngine, StreamedEngine
from cloister.errors import InvalidInput
from cloister.sources import ClassLabels, as_source, encode_labels, find_labels
from source_files import SOURCES, Batches, table, write_all

pa = pytest.importorskip("pyarrow")

N, D, CLASSES = 400, 6, 3
rng = np.random.default_rng(11)
LABELS = rng.integers(CLASSES, size=N)
ROWS = (rng.normal(size=(CLASSES, D))[LABELS] + rng.normal(size=(N, D))).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
REPEATABLE = {"unsafe_noise_seed": 1, "random_state": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    write_all(folder, ROWS, LABELS)
    return folder


@pytest.fixture(params=SOURCES)
def make(request, folder):
    return lambda: SOURCES[request.param](folder, ROWS, LABELS)


@pytest.mark.parametrize("chunk", [None, 1, 7, 30, 1000])
def test_chunks_are_the_rows_as_many_as_asked_for(make, chunk):
    source = as_source(make())
    starts, parts = zip(*((i, part.copy()) for i, part in source.chunks(chunk)), strict=True)
    np.testing.assert_array_equal(np.concatenate(parts), ROWS)
    assert (source.d, source.n or N) == (D, N)
    assert list(starts) == np.cumsum([0, *map(len, parts[:-1])]).tolist()
    if chunk is not None:
        assert [len(part) for part in parts[:-1]] == [chunk] * (len(parts) - 1)


def answers(engine):
    """Exact integers of every kind of question."""
    grid = engine.grid
    centres = grid.round_centres(np.random.default_rng(0).normal(size=(engine.n_classes, 4, D)))
    tally = engine.exact_tally(centres, None)
    residuals = engine.exact_tally(centres, grid.residual_clip(0.5))
    group = np.arange(centres.shape[0] * 4) % 2
    moments = engine.exact_moments(centres, grid.residual_clip(0.5, 2**11), group, "full")
    one = np.ones(1, np.int64)
    bins = engine.exact_bins(Grid(centres[0, :1], -(2**20) * one, 2**18 * one, 64 * one))
    weights = np.random.default_rng(1).normal(size=(engine.n_classes, D))
    model = SoftmaxRegression.on_grid(
        grid, centres[0, 0], weights, np.zeros(engine.n_classes), radius=0.5
    )
    return [
        tally.exact_counts, tally.exact_sums, residuals.exact_counts, residuals.exact_sums,
        moments, bins, engine.exact_gradient(model),
    ]  # fmt: skip


def one_class():
    return ClassLabels(np.array([0]), None, from_data=False)


@pytest.mark.parametrize("labels", [None, LABELS], ids=["one class", "classes"])
@pytest.mark.parametrize("engine", [LocalEngine, StreamedEngine])
def test_exact_answers_are_the_same_integers(make, engine, labels):
    classes = one_class() if labels is None else encode_labels(labels, N)
    expected = answers(LocalEngine(as_source(ROWS), CodeGrid(D, 1.0), classes))
    assert expected[0].sum() == N
    source = as_source(make())
    if engine is StreamedEngine and not source.rereadable:
        with pytest.raises(InvalidInput, match=r"can be read 1 time, but 2 .* leave cache=True"):
            engine(source, CodeGrid(D, 1.0), classes)
        return
    found = answers(engine(source, CodeGrid(D, 1.0), classes, chunk_rows=37))
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("labels", [None, LABELS], ids=["one class", "classes"])
@pytest.mark.parametrize("chunk", [1, 13, 400])
@pytest.mark.parametrize("engine", [LocalEngine, StreamedEngine])
@pytest.mark.parametrize("unknown", [False, True], ids=["n known", "n unknown"])
def test_dropped_rows_leave_no_trace(engine, chunk, labels, unknown):
    rows, kept = ROWS.copy(), np.random.default_rng(chunk).random(N) < 0.6
    rows[~kept, 3] = np.nan
    classes = [
        one_class() if labels is None else encode_labels(part, None, range(CLASSES))
        for part in (LABELS, LABELS[kept])
    ]
    grid, source = CodeGrid(D, 1.0), as_source(Batches(rows, 19) if unknown else rows)
    expected = answers(LocalEngine(as_source(ROWS[kept]), grid, classes[1]))
    found = answers(engine(source, grid, classes[0], on_invalid="drop", chunk_rows=chunk))
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_array_equal(here, there)
    with pytest.raises(InvalidInput, match=rf"^X has {(~kept).sum()} of {N} rows .* row "):
        engine(source, grid, classes[0], chunk_rows=chunk)


def test_streamed_engine_reads_each_byte_once_a_question():
    batches = Batches(ROWS, 50)
    source = as_source(batches)
    engine = StreamedEngine(source, CodeGrid(D, 1.0), one_class())
    assert batches.passes == 2  # one for the first batch, one to look for invalid rows
    answers(engine)
    assert batches.passes == 2 + 5


@pytest.mark.parametrize("cache", [True, False])
def test_private_fits_are_the_same_bits(make, cache):
    rereadable = as_source(make()).rereadable
    if not cache and not rereadable:
        pytest.skip("refused: see test_exact_answers_are_the_same_integers")
    clusters = DPKMeans(3, n_rounds=2, cache=cache, **REPEATABLE)
    expected = DPKMeans(3, n_rounds=2, **REPEATABLE).fit(ROWS)
    np.testing.assert_array_equal(clusters.fit(make()).cluster_centers_, expected.cluster_centers_)
    np.testing.assert_array_equal(clusters.predict(make()), expected.predict(ROWS))
    assert clusters.score(make()) == expected.score(ROWS)
    mixture = DPGaussianMixture(2, classes=range(CLASSES), cache=cache, **REPEATABLE)
    expected = DPGaussianMixture(2, classes=range(CLASSES), **REPEATABLE).fit(ROWS, LABELS)
    np.testing.assert_array_equal(mixture.fit(make(), LABELS).means_, expected.means_)
    np.testing.assert_array_equal(mixture.covariances_.matrices(), expected.covariances_.matrices())
    np.testing.assert_array_equal(mixture.score_samples(make()), expected.score_samples(ROWS))
    assert mixture.n_features_in_ == D


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", ">f4", "bool"])
@pytest.mark.parametrize("source", [name for name in SOURCES if "once" not in name])
def test_dtypes(tmp_path, dtype, source):
    whole = np.rint(ROWS * 4).astype(dtype) if dtype != "bool" else ROWS > 0
    if dtype == ">f4" and ("arrow" in source or "parquet" in source or "kinds" in source):
        pytest.skip("Arrow has no big-endian numbers")
    native = whole.astype(whole.dtype.newbyteorder("="))
    write_all(tmp_path, native, LABELS)
    np.save(tmp_path / "rows.npy", whole)
    source = as_source(SOURCES[source](tmp_path, native, LABELS))
    found = np.concatenate([part.astype(np.float64) for _, part in source.chunks(33)])
    np.testing.assert_array_equal(found, whole.astype(np.float64))


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ("rows.npz", "y"),
        ("rows.safetensors", "label"),
        ("rows.parquet", "label"),
        ("lists.pq:embedding", "label"),
        ("rows.arrow", "label"),
        ("many/*.parquet", "label"),
        ("rows.npy", "{}/labels.npy"),
        ("rows.npy", "{}/rows.npz"),
        ("rows.npy", "{}/rows.npz:y"),
        ("rows.npy", "{}/rows.safetensors:label"),
        ("rows.npy", "{}/many/*.parquet:label"),
        ("rows.npy", "{}/rows.arrow:label"),
    ],
)
def test_labels_by_name(folder, rows, name, cache):
    model = DPGaussianMixture(classes=range(CLASSES), cache=cache, **REPEATABLE)
    model.fit(f"{folder}/{rows}", name.format(folder))
    expected = DPGaussianMixture(classes=range(CLASSES), **REPEATABLE).fit(ROWS, LABELS)
    np.testing.assert_array_equal(model.means_, expected.means_)


@pytest.mark.parametrize("names", [np.array(["cat", "dog", "eel"]), np.array([5, -3, 2**40])])
def test_labels_of_every_type_of_column(names):
    here = names[LABELS]
    columns = [pa.array(here), pa.array(here).dictionary_encode(), pa.array(here.tolist())]
    for column in columns:
        rows = as_source(table(ROWS, column))
        found = encode_labels(find_labels("label", rows), N)
        expected = encode_labels(here, N)
        np.testing.assert_array_equal(found.classes, expected.classes)
        np.testing.assert_array_equal(found.exact_index, expected.exact_index)
        assert found.exact_index.dtype == np.uint8


@pytest.mark.parametrize("classes", [2, 256, 257, 70_000])
def test_index_of_labels_is_small_and_right(classes):
    labels = np.random.default_rng(0).permutation(classes).repeat(4)
    index = encode_labels(labels, len(labels), np.arange(classes)[::-1]).exact_index
    np.testing.assert_array_equal(classes - 1 - index.astype(np.int64), labels)
    assert index.itemsize == (1 if classes <= 256 else 2 if classes <= 65_536 else 4)


# --- tensors ----------------------------------------------------------------------------------


class DLPackOnly:
    """What a library offers that knows DLPack and nothing of numpy."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_tensors_share_their_memory():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(ROWS)
    for rows in (tensor, DLPackOnly(ROWS)):
        (_, chunk), *rest = as_source(rows).chunks()
        assert not rest
        np.testing.assert_array_equal(chunk, ROWS)
        owner = tensor.numpy() if rows is tensor else ROWS
        assert np.shares_memory(chunk, owner)


def test_bfloat16_tensors_are_widened_chunk_by_chunk():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(ROWS).bfloat16()
    for rows, expected in ((tensor, tensor.float()), (tensor.T, tensor.T.float())):
        chunks = [chunk for _, chunk in as_source(rows).chunks(5)]
        assert all(chunk.dtype == np.float32 and chunk.flags.c_contiguous for chunk in chunks)
        np.testing.assert_array_equal(np.concatenate(chunks), expected.numpy())
    for model in (DPKMeans(3, n_rounds=1, **REPEATABLE), KMeans(3, random_state=0)):
        narrow, wide = (clone(model).fit(rows) for rows in (tensor, tensor.float()))
        np.testing.assert_array_equal(narrow.cluster_centers_, wide.cluster_centers_)
        np.testing.assert_array_equal(narrow.predict(tensor), wide.predict(tensor.float()))


def test_bfloat16_safetensors(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file  # noqa: PLC0415

    tensor = torch.tensor(ROWS).bfloat16()
    save_file({"embedding": tensor}, tmp_path / "rows.safetensors")
    chunks = [chunk.copy() for _, chunk in as_source(tmp_path / "rows.safetensors").chunks(7)]
    np.testing.assert_array_equal(np.concatenate(chunks), tensor.float().numpy())


def test_pages_of_a_writable_map_keep_what_was_written(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    for mode in ("c", "r+"):
        rows = np.load(tmp_path / "rows.npy", mmap_mode=mode)
        rows[5] = 0.25
        for _ in range(2):
            parts = [chunk.copy() for _, chunk in as_source(rows).chunks(7)]
            assert (np.concatenate(parts)[5] == 0.25).all()


def test_kmeans_of_an_iterator_is_that_of_the_array():
    found = KMeans(3, random_state=0).fit(batch for batch in Batches(ROWS, 9))
    expected = KMeans(3, random_state=0).fit(ROWS)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
