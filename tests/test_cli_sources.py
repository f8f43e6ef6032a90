"""`cloister fit` of files in every format, by patterns, larger than memory."""

import re

import numpy as np
import pytest

from cloister import DPGaussianMixture, DPKMeans
from command_line import run, run_json
from source_files import write_all

pytest.importorskip("pyarrow")

N, D = 400, 6
LABELS = np.random.default_rng(0).integers(2, size=N)
ROWS = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32) + LABELS[:, None]
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli_sources")
    write_all(folder, ROWS, LABELS)
    np.save(folder / "long.npy", 3 * ROWS)
    return folder


@pytest.mark.parametrize("cache", ["", " --no-cache"])
@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        ("{many/*.parquet}", "label"),
        ("{many/*.parquet:embedding}", "{many/*.parquet:label}"),
        ("{rows.parquet}", "{labels.npy}"),
        ("{rows.safetensors}", "label"),
        ("{rows.safetensors:embedding}", "{rows.npz}"),
        ("{rows.arrow}", "{rows.arrow:label}"),
        ("{many/*.npy}", "{labels.npy}"),
        ("{rows.npz}", "y"),
    ],
)
def test_fit_of_files(folder, rows, labels, cache):
    line = f"fit {rows} --labels {labels} --classes 0,1 --out {{model}} --json{cache}"
    found = run_json(line, folder)
    assert found["n_features"] == D
    assert found["privacy"]["epsilon"] == pytest.approx(1.0)
    assert DPGaussianMixture.load(folder / "model").classes_.tolist() == [0, 1]


def test_fit_of_kmeans_with_normalized_rows(folder, monkeypatch):
    fitted = []
    original = DPKMeans.fit

    def fit(self, X, y=None):
        fitted.append(np.concatenate([part.copy() for _, part in X.chunks(7)]))
        return original(self, X, y)

    monkeypatch.setattr(DPKMeans, "fit", fit)
    run_json("fit {long.npy} --model kmeans --n-clusters 2 --normalize --out {c}", folder)
    np.testing.assert_allclose(fitted[0], ROWS, atol=1e-6)


def test_test_rows_may_lie_in_any_file(folder):
    line = "fit {rows.parquet} --labels label --classes 0,1 --epsilon 8 --out {model}"
    found = run_json(f"{line} --test {{many/*.parquet}} --test-labels {{rows.npz:y}}", folder)
    assert found["accuracy"]["mixture"] > 0.8


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit {many/*.txt} --out {never}", "ROWS: 0 files match '.*txt'"),
        ("fit {rows.parquet:label} --out {never}", "ROWS: column 'label' holds int64"),
        ("fit {rows.parquet} --labels lbl --out {never}", "--labels='lbl' is neither"),
        ("fit {rows.parquet} --labels {no.parquet:y} --out {never}", "--labels: there is no file"),
        ("fit {many/*.parquet} --out {many/000.parquet}", "ROWS and --out name the same file"),
    ],
)
def test_refused(folder, line, message):
    result = run(line, folder)
    assert result.exit_code == 2
    assert not (folder / "never").exists()
    assert re.search(message, result.stderr)
