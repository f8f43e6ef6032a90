"""DPKMeans at the corners: no cliff (benchmarks/bench_grid.py is the long version)."""

import shutil
import subprocess
import sys
from math import inf
from pathlib import Path

import numpy as np
import pytest

from cloister import DPKMeans, KMeans

ROOT = Path(__file__).resolve().parents[1]


def clusters(n, d, k, width, shares=None):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((k, d))
    centres *= 0.8 / np.linalg.norm(centres, axis=1, keepdims=True)
    rows = centres[rng.choice(k, n, p=shares)] + width / np.sqrt(d) * rng.standard_normal((n, d))
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)).astype(np.float32)


def line(n, d):
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(d)
    return (rng.uniform(-1, 1, (n, 1)) * direction / np.linalg.norm(direction)).astype(np.float32)


CASES = {
    "two in the plane": (lambda: clusters(5_000, 2, 2, 0.05), 2),
    "few rows": (lambda: clusters(1_000, 16, 8, 0.1), 8),
    "wide": (lambda: clusters(2_000, 4096, 4, 0.1), 4),
    "unequal": (lambda: clusters(20_000, 16, 6, 0.1, [0.95, *[0.01] * 5]), 6),
    "huge norm": (lambda: 0.01 * clusters(5_000, 16, 4, 0.1), 4),
    "line": (lambda: line(5_000, 32), 8),
}
POINTS = {
    "one point": np.repeat(clusters(1, 16, 1, 0.1), 500, axis=0),
    "five points": np.repeat(clusters(5, 16, 5, 0.1), 200, axis=0),
    "zeros": np.zeros((500, 16), np.float32),
    "fewer rows than clusters": clusters(3, 16, 3, 0.1),
}


def mean_loss(rows, k, epsilon, seeds=2, **options):
    models = (
        DPKMeans(k, epsilon, 1e-6, random_state=s, unsafe_noise_seed=s, **options)
        for s in range(seeds)
    )
    return np.mean([-model.fit(rows).score(rows) for model in models])


@pytest.mark.parametrize(("make", "k"), CASES.values(), ids=CASES)
def test_no_noise_is_the_quality_of_k_means(make, k):
    rows = make()
    best = KMeans(k, n_init=5, random_state=0).fit(rows).inertia_ / len(rows)
    for epsilon in (1e6, inf):
        assert mean_loss(rows, k, epsilon, seeds=1) < 1.03 * best


@pytest.mark.parametrize(("make", "k"), CASES.values(), ids=CASES)
def test_little_budget_is_no_worse_than_one_private_mean(make, k):
    rows = make()
    for epsilon in (0.05, 0.2):
        one = mean_loss(rows, 1, epsilon)
        assert mean_loss(rows, k, epsilon) < 1.1 * one


def test_more_budget_is_better():
    rows, k = CASES["few rows"][0](), 8
    losses = [mean_loss(rows, k, epsilon, seeds=3) for epsilon in (0.05, 0.3, 2.0, 16.0, inf)]
    assert (np.diff(losses) < 0.02 * losses[0]).all()
    assert losses[0] > 10 * losses[-1]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("epsilon", [0.05, 1.0, inf])
@pytest.mark.parametrize("rows", POINTS.values(), ids=POINTS)
def test_rows_in_few_points_give_finite_centres(rows, epsilon, metric):
    k = 8
    model = DPKMeans(k, epsilon, metric=metric, random_state=0, unsafe_noise_seed=0).fit(rows)
    assert model.cluster_centers_.shape == (k, 16)
    assert np.isfinite(model.cluster_centers_).all()
    if epsilon == inf and metric == "euclidean":
        assert -model.score(rows) < 1e-6


@pytest.mark.parametrize("epsilon", [1e6, inf])
def test_more_clusters_than_rows_leave_nothing(epsilon):
    rows = clusters(100, 8, 20, 0.1)
    assert mean_loss(rows, 200, epsilon, seeds=1) < 1e-4 * rows.var(axis=0).sum()


def test_the_long_version_runs_and_writes_its_table(tmp_path):
    shutil.copy(ROOT / "docs" / "quality.md", tmp_path)
    script = ROOT / "benchmarks" / "bench_grid.py"
    files = ["--json", "grid.json", "--tables", "quality.md"]
    asked = ["--cases", "zeros", "few-rows", "--epsilon", "1", "inf", "--seeds", "1"]
    for arguments in ([*asked, *files], ["--render", *files]):
        command = [sys.executable, str(script), *arguments]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    text = (tmp_path / "quality.md").read_text().split("<!-- k-means grid -->")[1]
    assert "| zeros: 20,000 × 16, 8 | auto |" in text
    assert "| few-rows: 1,000 × 16, 8 | auto |" in text
