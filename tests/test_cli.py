"""The command line: help, results and what they say."""

import json
import re

import numpy as np
import pytest

import cloister
from cloister import cli_demo
from cloister.cli import main
from command_line import D, make_files, run, run_json, run_process


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("cli"))


# --- help -------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy():
    heavy = {"numpy", "scipy", "sklearn", "torch", "rich", "safetensors", "sqlite3"}
    code = f"import sys, cloister.cli; sys.exit(str({heavy} & set(sys.modules)))"
    assert run_process(code=code).stderr.strip() == "set()"


@pytest.mark.parametrize("command", ["", *main.commands])
def test_help(command):
    result = run(f"{command} --help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert result.stderr == ""


def test_no_command_shows_help():
    assert run("").stdout == run("--help").stdout


def test_version():
    assert run("--version").stdout == f"cloister, version {cloister.__version__}\n"


# --- the whole road ---------------------------------------------------------------------------


def test_fit_sample_probe_info(folder):
    stated = run_json("info {mixture}", folder)
    assert stated["kind"] == "mixture"
    assert stated["classes"] == [0, 1, 2]
    assert stated["parameters"]["encoder_id"] == "digits-v1"
    assert stated["privacy"]["epsilon"] == pytest.approx(4, rel=1e-9)
    assert "(4, 1e-05)-differentially private" in stated["statement"]

    drawn = run_json("sample {mixture} -n 3000 --random-state 1 --out {again.npz}", folder)
    assert (drawn["n"], drawn["n_features"], drawn["dtype"]) == (3000, D, "float32")
    assert (folder / "again.npz").read_bytes() == (folder / "synthetic.npz").read_bytes()

    trained = run_json(
        "probe {synthetic.npz} --test {data.npz:x} --test-labels {data.npz:y} --out {probe}", folder
    )
    assert trained["classes"] == [0, 1, 2]
    assert trained["accuracy"] > 0.9
    classifier = cloister.neural.Probe.load(folder / "probe")
    assert (
        classifier.score(np.load(folder / "rows.npy"), np.load(folder / "labels.npy"))
        == trained["accuracy"]
    )
    assert run_json("info {probe}", folder)["parameters"] == classifier.get_params()


def test_texts_for_people(folder):
    result = run("info {mixture}", folder)
    assert result.exit_code == 0
    assert "covariance_type    tied" in result.stdout
    assert "(4, 1e-05)-differentially private" in result.stdout.replace("\n", " ")
    result = run("probe {synthetic.npz} --test {data.npz} --out {probe2}", folder)
    assert re.search(r"accuracy  +(0\.9|1)", result.stdout)
    assert re.search(r"worst class of the probe  [012] \((0\.9|1)", result.stdout)
    result = run("fit {rows.npy} --out {one-class}", folder)
    assert "epsilon  1" in result.stdout
    assert "This object is (1, 1e-05)-differentially private" in result.stdout
    assert result.stderr == "fitting mixture at epsilon=1 ...\n"


def test_kmeans(folder):
    line = "fit {data.npz:x} --model kmeans --n-clusters 3 --n-hint 3000 --epsilon 8 --out {k}"
    assert run_json(line, folder)["kind"] == "kmeans"
    centres = cloister.DPKMeans.load(folder / "k").cluster_centers_
    assert centres.shape == (3, D)
    assert sorted(centres.argmax(axis=1)) == [0, 1, 2]
    assert run_json("info {k}", folder)["kind"] == "kmeans"
    result = run_json(f"{line} --metric cosine", folder)
    assert "scaled one by one to norm 1" in result["statement"]
    assert cloister.DPKMeans.load(folder / "k").metric == "cosine"


def test_sample_rows_and_labels_apart(folder):
    line = "sample {mixture} -n 20 --random-state 1 --out {s.npy} --labels-out {s-labels.npy}"
    run_json(line, folder)
    rows, labels = np.load(folder / "s.npy"), np.load(folder / "s-labels.npy")
    assert (rows.shape, rows.dtype, labels.shape) == ((20, D), np.float32, (20,))
    run_json(line.replace("--random-state 1", "--random-state 2"), folder)
    assert (np.load(folder / "s.npy") != rows).all()


def test_text_labels(folder):
    line = "fit {data.npz:x} --labels {data.npz:names} --classes a,b,c --epsilon 4 --out {named}"
    run_json(line, folder)
    run_json("sample {named} -n 10 --out {named.npz}", folder)
    with np.load(folder / "named.npz", allow_pickle=False) as drawn:
        assert set(drawn["y"]) <= {"a", "b", "c"}


def test_normalize_makes_the_scale_of_rows_irrelevant(folder):
    line = "fit {long.npy} --labels {labels.npy} --classes 0,1,2 --epsilon 50 --out {n} --normalize"
    run_json(line, folder)
    means = cloister.DPGaussianMixture.load(folder / "n").untilted_.means
    rows, labels = np.load(folder / "rows.npy"), np.load(folder / "labels.npy")
    expected = [rows[labels == label].mean(axis=0) for label in range(3)]
    np.testing.assert_allclose(means, expected, atol=0.05)


def test_classes_read_off_the_labels_are_told(folder):
    result = run("fit {rows.npy} --labels {labels.npy} --out {m} --json", folder)
    assert result.exit_code == 0
    assert "\nwarning: classes was not given" in result.stderr
    assert ".py" not in result.stderr
    assert json.loads(result.stdout)["privacy"]["classes_from_data"] is True


def test_invalid_rows_are_refused_or_dropped(folder):
    result = run("fit {nan.npy} --out {m}", folder)
    assert result.exit_code == 2
    assert "NaN" in result.stderr
    assert run("fit {nan.npy} --out {m} --on-invalid drop", folder).exit_code == 0


def test_threads_are_set_for_one_command(folder, monkeypatch):
    before, seen = cloister.num_threads(), []
    monkeypatch.setattr(cli_demo, "demo", lambda *_: seen.append(cloister.num_threads()))
    assert run("demo --threads 7").exit_code == 0
    assert (seen, cloister.num_threads()) == ([7], before)
