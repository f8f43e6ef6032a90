"""The commands of docs/quality.md run on toy rows, and the rivals there spend what they say."""

import json
import math
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
TOY = ["--rows", "toy", "--k", "4", "--epsilon", "4", "--seeds", "2"]
RIVALS = ["nearest_class_mean", "least_squares", "gradient_descent"]


def run(script, *arguments):
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    shutil.copy(ROOT / "docs" / "quality.md", folder)
    files = ["--json", folder / "quality.json", "--tables", folder / "quality.md"]
    out = run("bench_quality.py", *TOY, *files, "--plots", folder / "plots")
    return folder, files, out


def test_every_method_at_hand_has_its_figures(toy):
    folder, _, out = toy
    records = json.loads((folder / "quality.json").read_text())
    loss = {r["method"]: r["loss"] for r in records if r["part"] == "k-means"}
    assert {"one mean", "true centres", "KMeans", "DPKMeans"} <= set(loss)
    # Four well-separated clusters: private centres are nearly the true ones.
    assert loss["KMeans"] <= loss["DPKMeans"] < 2 * loss["KMeans"] < loss["one mean"] / 100
    accuracy = {r["method"]: r["accuracy"] for r in records if r["part"] == "classifiers"}
    assert {"cloister", "DP gradient descent", "LDA", "two-layer probe"} <= set(accuracy)
    assert min(accuracy.values()) > 0.8
    assert len([r for r in records if r["method"] == "cloister"]) == 2
    assert "google is not available here" in out


def test_pieces_are_merged_and_replace_their_own(toy, tmp_path):
    folder, _, _ = toy
    file = tmp_path / "quality.json"
    shutil.copy(folder / "quality.json", file)
    before = json.loads(file.read_text())
    piece = ["--parts", "k-means", "--methods", "DPKMeans"]
    run("bench_quality.py", *TOY, *piece, "--seeds", "3", "--json", file)
    after = json.loads(file.read_text())
    assert len(after) == len(before) + 1


def test_tables_are_rewritten_and_rendered_the_same(toy):
    folder, files, _ = toy
    text = (folder / "quality.md").read_text()
    assert "| toy (2,000 × 8), 4 | 4 | DPKMeans | 0.0" in text
    assert "| toy (2,000 × 8) | cloister, worst class |" in text
    out = run("bench_quality.py", *files, "--render")
    assert "DPKMeans" in out
    assert (folder / "quality.md").read_text() == text


def test_plots_are_drawn_or_their_absence_is_said(toy):
    folder, _, out = toy
    if import_module("importlib.util").find_spec("matplotlib"):
        assert len(list((folder / "plots").glob("*.png"))) == 2
    else:
        assert "no plots: No module named 'matplotlib'" in out


def test_the_readmes_figure_is_of_the_panels_asked_for_and_always_the_same(module, tmp_path):
    pytest.importorskip("matplotlib", reason="plots are optional")
    plots, records = module("quality_plots"), json.loads((ROOT / "docs/quality.json").read_text())
    for name in ("one.svg", "other.svg"):
        plots.figure(records, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    drawn = (tmp_path / "one.svg").read_text()
    assert all(name in drawn for name in ("DP gradient descent", "two-layer probe", "google"))
    assert (ROOT / "docs" / "quality.svg").stat().st_size < 100_000


def test_measured_tables_are_those_of_the_measured_records(module, tmp_path):
    records = json.loads((ROOT / "docs" / "quality.json").read_text())
    texts = module("quality_tables").tables(records)
    documents = {
        ROOT / "README.md": ["accuracy"],
        ROOT / "docs" / "quality.md": ["private k-means", "private classifiers"],
    }
    for document, names in documents.items():
        copy = tmp_path / document.name
        shutil.copy(document, copy)
        assert module("tables").rewrite(copy, texts) == names
        assert copy.read_text() == document.read_text(), f"render {document.name} from the records"


def test_rows_that_are_not_at_hand_are_skipped_with_the_places_looked_at(tmp_path):
    out = run(
        "bench_quality.py", "--rows", "mnist_mobilenetv2", "--epsilon", "1", "--data", tmp_path
    )
    assert f"skipped: no {tmp_path}/mnist_mobilenetv2.npz: name its folder with --data" in out


def test_constants_of_rivals_are_tuned_by_a_command():
    asked = ["--rows", "toy", "--held-out", "500", "--seeds", "1", "--epsilon", "2"]
    lines = run("quality_tune.py", "least_squares", *asked).splitlines()
    accuracies = [float(line.split()[0]) for line in lines]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > 0.8


def test_the_gap_is_in_units_of_googles_better_one(module):
    def runs(method, *losses):
        return [{"method": method, "loss": loss, "epsilon": 1} for loss in losses]

    ours = runs("DPKMeans", 1.1, 1.3)
    google = runs("google", 2.5, 3.5) + runs("google centred", 2.0)
    case = ours + google + runs("KMeans", 1.0)
    gap = module("quality_tables").relative_gap
    assert gap(case, ours + google) == pytest.approx(0.2)
    assert gap(case, ours) is None
    case += runs("true centres", 0.8)
    assert gap(case, ours + google) == pytest.approx(1 / 3)


class FakeWorker:
    version = "1.0"

    def fit(self, iterations, save):
        np.savez(save, centres=np.array([[-0.5, 0.0], [0.5, 0.0]]))
        return {"seconds": 2.0}


def test_centres_of_another_library_are_moved_back_and_judged_here(module, tmp_path):
    rows = np.array([[0.5, 0.0], [1.5, 0.0], [1.5, 0.1]], np.float32)
    shift = np.array([1.0, 0.0])
    case = module("quality_kmeans").Case("toy", rows, None, 2, [1.0], range(2), print)
    first, second = case.foreign_fits(
        "google centred", FakeWorker(), 1.0, shift, tmp_path / "fit.npy"
    )
    assert first["loss"] == pytest.approx(0.01 / 3)
    assert (first["seed"], second["seed"]) == (0, 1)
    assert first["seconds"] == 2.0


class Recorder:
    """Answers releases with public numbers, and keeps the exact ones: neighbours hear the same."""

    kept = ()
    rows = 0

    def __init__(self, epsilon, delta, seed):
        self.kept.clear()

    def sigma(self, sensitivity, share):
        return 0.01 * self.rows

    def add(self, exact, sensitivity, share):
        rng = np.random.default_rng(len(self.kept))
        self.kept.append((np.array(exact, float), sensitivity, share))
        # The rivals divide by the number of rows, which is public: answers and deviations grow
        # with it, so that it does not tell neighbours apart. Small, lest residuals saturate at 0.
        return 0.01 * self.rows * rng.normal(size=exact.shape)

    def add_symmetric(self, exact, sensitivity, share):
        answer = self.add(exact, sensitivity, share)
        return answer + answer.T


@pytest.mark.parametrize("rival", RIVALS)
def test_one_row_changes_no_release_of_a_rival_by_more_than_is_accounted(
    rival, module, monkeypatch
):
    rivals, rows = module("rivals_probe"), module("quality_rows")
    monkeypatch.setattr(rivals, "Noise", Recorder)
    full = rows.toy()
    answers = []
    for first in (0, 1):
        part = rows.Labelled(full.rows[first:200], full.labels[first:200], None, None, 3)
        monkeypatch.setattr(Recorder, "rows", len(part.rows))
        monkeypatch.setattr(Recorder, "kept", [])
        getattr(rivals, rival)(part, 1.0, 1e-5, 0)
        answers.append(Recorder.kept)
    assert math.fsum(share for _, _, share in answers[0]) == pytest.approx(1, abs=1e-12)
    for (one, sensitivity, _), (other, _, _) in zip(*answers, strict=True):
        assert 0 < np.linalg.norm(one - other) <= sensitivity * (1 + 1e-4)


def test_shares_of_the_budget_make_the_noise(module):
    noise = module("rivals_probe").Noise(1.0, 1e-5, 0)
    compose = module("cloister.privacy.accounting").compose
    shares = [0.1, 0.2, 0.7]
    assert compose(3.0 / noise.sigma(3.0, share) for share in shares) == pytest.approx(noise.mu)
    sigma = noise.sigma(1.0, 0.5)
    flat = noise.add(np.zeros(200_000), 1.0, 0.5)
    assert flat.std() == pytest.approx(sigma, rel=0.01)
    matrix = noise.add_symmetric(np.zeros((500, 500)), 1.0, 0.5)
    assert (matrix == matrix.T).all()
    assert np.diag(matrix).std() == pytest.approx(sigma, rel=0.15)
    above = matrix[np.triu_indices(500, 1)]
    assert above.std() == pytest.approx(sigma / math.sqrt(2), rel=0.02)


def test_rare_classes_are_measured_group_by_group():
    table = run("quality_minority.py", "--rows", "toy", "--epsilon", "4", "--seeds", "1")
    lines = [line.split(" | ") for line in table.splitlines()]
    # 2,000 rows of three classes: one whole, one thinned to a tenth, one to a hundredth.
    assert lines[0][0] == "| 707 rows"
    by_method = {line[0]: [float(cell.strip(" |")) for cell in line[2:]] for line in lines[2:]}
    assert set(by_method) == {
        "| LDA",
        "| LDA, uniform prior",
        "| two-layer probe",
        "| cloister",
        "| cloister, uniform prior",
    }
    for whole, tenth, hundredth, alike in by_method.values():
        assert alike == pytest.approx((whole + tenth + hundredth) / 3, abs=0.11)
    assert by_method["| cloister, uniform prior"][3] > 60
