"""The commands of docs/plan.md run on toy shapes, and their tables say what was measured."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
TOY = ["--shape", "500", "4", "3", "--epsilon", "2", "--seeds", "2"]


def run(*arguments, folder=ROOT):
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    shutil.copy(ROOT / "docs" / "plan.md", folder)
    files = ["--json", folder / "plan.json", "--tables", folder / "plan.md"]
    out = run(ROOT / "benchmarks" / "bench_plan.py", *TOY, *files)
    return folder, files, out


def test_noise_and_rules_are_measured(toy):
    folder, _, out = toy
    records = json.loads((folder / "plan.json").read_text())
    assert [(r["part"], r["rows"]) for r in records] == [
        ("noise", "clusters"),
        ("rules", "broad"),
        ("rules", "clusters"),
    ]
    assert 0.3 < records[0]["loss_ratio"] < 3
    assert 0.3 < records[0]["eigenvalue_ratio"] < 3
    for record in records[1:]:
        losses = record["losses"]
        assert losses[record["best"]] == min(losses.values()) >= 0.5 * record["without_noise"]
        assert record["regret"] == pytest.approx(losses["rule"] / min(losses.values()) - 1)
        assert len(set(losses.values())) > 5  # other plans are other fits
        assert losses[f"{record['splits']} splits"] == losses["rule"]
    assert "plan noise, plan rules" in out


def test_tables_are_rewritten_between_their_markers_and_again(toy):
    folder, files, _ = toy
    written, before = (folder / "plan.md").read_text(), (ROOT / "docs" / "plan.md").read_text()
    assert written.split("<!-- plan noise")[0] == before.split("<!-- plan noise")[0]
    assert written.count("| 500 × 4 × 3 | 2 |") == 3
    run(ROOT / "benchmarks" / "bench_plan.py", "--render", *files)
    assert (folder / "plan.md").read_text() == written


def test_the_documented_dry_run_prints_the_plan(tmp_path):
    np.save(tmp_path / "rows.npy", np.eye(3))
    text = (ROOT / "docs" / "plan.md").read_text()
    (command,) = re.findall(r"^cloister (.*)$", text, flags=re.MULTILINE)
    assert "vote_cells" in run("-m", "cloister", *shlex.split(command), folder=tmp_path)
