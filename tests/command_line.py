"""Runs the command line, on files made for it; `{name}` in a line stands for a file of a folder."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from cloister.cli import main
from cloister.model_file import write_model

D = 8
TOTAL = ["--dataset", "patients", "--budget-epsilon", "1.5", "--budget-delta", "1e-5"]


def arguments(line, folder):
    """Split a command line, with {name} standing for a file of the folder."""
    return [word.replace("{", f"{folder}/").replace("}", "") for word in line.split()]


def run(line, folder="", extra=()):
    return CliRunner().invoke(main, [*arguments(line, folder), *extra])


def run_json(line, folder="", extra=()):
    result = run(f"{line} --json", folder, extra)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout, parse_constant=pytest.fail)


def run_process(*words, code="import cloister.__main__"):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def make_files(folder):
    """Three well-separated classes of unit-norm rows, a mixture fitted to them, and bad files."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 3000)
    x = np.eye(D)[y] + 0.1 * rng.normal(size=(3000, D))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=y, names=np.array(["a", "b", "c"])[y])
    np.save(folder / "rows.npy", x)
    np.save(folder / "labels.npy", y)
    np.save(folder / "long.npy", 7 * x)
    np.save(folder / "flat.npy", x[0])
    np.save(folder / "nan.npy", np.where(np.arange(D) == 2, np.nan, x))
    np.save(folder / "few.npy", y[:-1])
    np.savez(folder / "empty.npz")
    np.savez_compressed(folder / "cut.npz", x=x)
    (folder / "cut.npz").write_bytes((folder / "cut.npz").read_bytes()[:-500])
    (folder / "cut.npy").write_bytes((folder / "rows.npy").read_bytes()[:-500])
    np.save(folder / "objects.npy", np.array([object()], dtype=object), allow_pickle=True)
    (folder / "garbage.npy").write_bytes(b"this is no array" * 100)
    (folder / "nothing.npy").write_bytes(b"")
    (folder / "table.csv").write_text("1,2,3\n")
    (folder / "renamed.npz").write_bytes((folder / "rows.npy").read_bytes())
    (folder / "renamed.npy").write_bytes((folder / "data.npz").read_bytes())
    result = run(
        "fit {data.npz:x} --labels {data.npz:y} --out {mixture} --classes 0,1,2 --epsilon 4"
        " --encoder-id digits-v1",
        folder,
    )
    assert result.exit_code == 0, result.output
    write_model(folder / "clusters", "kmeans", {}, {"parameters": {}})
    write_model(folder / "odd", "mixture", {}, {"parameters": {}, "privacy": {"epsilon": 1}})
    run("sample {mixture} -n 3000 --random-state 1 --out {synthetic.npz}", folder)
    return folder
