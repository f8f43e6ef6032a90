"""The commands of docs/benchmarks.md run on toy shapes, and their judge cannot be fooled."""

import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
TOY = ["--shape", "600", "16", "5", "--data", "mixture", "--repeats", "2"]


@pytest.fixture
def evaluate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("evaluate")


def run(script, *arguments):
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def peers_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    shutil.copy(ROOT / "README.md", folder)
    shutil.copy(ROOT / "docs" / "benchmarks.md", folder)
    files = ["--json", folder / "peers.json"]
    files += ["--readme", folder / "README.md", folder / "benchmarks.md"]
    asked = ["--peers", "cloister", "scikit-learn", "DPKMeans", "--private", "DPKMeans", "google"]
    out = run("bench_peers.py", *TOY, *asked, "--folder", folder / "rows", *files)
    return folder, files, out


def test_peers_give_the_same_centres_and_their_figures(peers_run):
    folder, _, out = peers_run
    (case,) = json.loads((folder / "peers.json").read_text())
    assert (case["data"], case["shape"], case["repeats"]) == ("mixture", [600, 16, 5], 2)
    assert set(case["peers"]) == {"cloister", "scikit-learn", "DPKMeans"}
    ours, theirs = case["peers"]["cloister"], case["peers"]["scikit-learn"]
    for result in (ours, theirs):
        assert result["exact"]
        assert result["wrong_labels"] == 0
        assert result["fit_seconds"] > 0
        assert 1 <= result["n_iter"] <= 10
        assert result["version"]
    assert ours["fit_seconds_ratio"] == 1
    error = theirs["mean_squared_distance"]
    assert ours["mean_squared_distance"] == pytest.approx(error, rel=1e-4)
    assert case["peers"]["DPKMeans"]["mean_squared_distance"] > error
    assert case["private"]["DPKMeans"]["noise_seconds_per_round"] > 0
    assert "cloister 0" in out


def test_a_missing_peer_is_named_with_its_reason_and_has_no_figure(peers_run):
    folder, _, out = peers_run
    (case,) = json.loads((folder / "peers.json").read_text())
    assert set(case["private"]["google"]) == {"missing"}
    assert "google is not available here" in out
    assert "| google | not available here: " in (folder / "benchmarks.md").read_text()


def test_tables_are_rewritten_between_their_markers_only(peers_run):
    folder, files, _ = peers_run
    for name, original in (("README.md", ROOT), ("benchmarks.md", ROOT / "docs")):
        written, before = (folder / name).read_text(), (original / name).read_text()
        start, end = ("<!-- k-means", "<!-- /k-means")
        assert "600 × 16 × 5" in written
        assert written.split(start)[0] == before.split(start)[0]
        assert written.split(end)[1] == before.split(end)[1]
    again = {name: (folder / name).read_text() for name in ("README.md", "benchmarks.md")}
    run("bench_peers.py", "--render", *files)
    assert again == {name: (folder / name).read_text() for name in again}


def test_slopes_are_fitted_on_small_shapes(tmp_path):
    shapes = ["--axis", "n", "--shape", "1000", "8", "5", "--shape", "4000", "8", "5"]
    files = ["--json", tmp_path / "scaling.json", "--folder", tmp_path]
    out = run("bench_scaling.py", *shapes, "--data", "mixture", "--repeats", "1", *files)
    (result,) = json.loads((tmp_path / "scaling.json").read_text())
    assert [point["shape"] for point in result["points"]] == [[1000, 8, 5], [4000, 8, 5]]
    assert np.isfinite(result["fit_seconds_slope"])
    assert "slope" in out


def test_slopes_of_a_power_law(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    sizes = np.array([64, 128, 256])
    slopes = import_module("bench_scaling").slopes
    assert slopes(sizes, 3e-6 * sizes**1.5) == pytest.approx((1.5, 1.5))
    assert slopes(sizes, [1.0, 1.0, 4.0]) == pytest.approx((1.0, 2.0))


def test_the_judge_excuses_rounding_and_nothing_more(evaluate, rng):
    centres = np.array([[0.0, 0.0], [1.0, 0.0]])
    rows = np.array([[0.5 - 1e-7, 0.0], [0.4, 0.0], [0.9, 0.1]], np.float32)
    exact = evaluate.nearest(rows, centres)
    assert exact.labels.tolist() == [0, 0, 1]
    assert exact.squared == pytest.approx([0.25, 0.16, 0.02], rel=1e-5)
    assert evaluate.wrong_labels(rows, centres, np.array([1, 0, 1]), exact) == 0
    assert evaluate.wrong_labels(rows, centres, np.array([0, 1, 1]), exact) == pytest.approx(1 / 3)


def test_the_judge_sees_labels_that_are_wrong_for_one_row_in_a_thousand(evaluate, rng):
    rows = rng.standard_normal((20_000, 8), dtype=np.float32)
    before = rows[:10].astype(np.float64)
    labels = evaluate.nearest(rows, before).labels

    def means(labels):
        return np.array([rows[labels == j].mean(0) for j in range(10)])

    assert evaluate.step_error(rows, before, means(labels)) < evaluate.STEP_ERROR / 10
    wrong = labels.copy()
    wrong[:20] = (wrong[:20] + 1) % 10
    assert evaluate.step_error(rows, before, means(wrong)) > evaluate.STEP_ERROR
