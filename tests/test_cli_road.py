"""The whole road in one command: `fit` with --synthetic, --probe and --test."""

import json
import os
import re
import sys

import numpy as np
import pytest

import cloister
from cloister import cli_accuracy, cli_road
from cloister.neural import Probe
from command_line import run, run_json

D = 8
FIT = "fit {train.npz:x} --labels {train.npz:y} --classes 0,1,2 --epsilon 4"
TEST = "--test {test.npz:x} --test-labels {test.npz:y}"
BUDGET = "--dataset patients --budget-epsilon 9 --budget-delta 1e-5"


@pytest.fixture(scope="module")
def data():
    """Three well-separated classes of unit-norm rows: 2000 to fit, 500 to test."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 2500)
    x = np.eye(D)[y] + 0.3 * rng.normal(size=(2500, D))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32), y


@pytest.fixture
def folder(data, tmp_path):
    x, y = data
    np.savez(tmp_path / "train.npz", x=x[:2000], y=y[:2000])
    np.savez(tmp_path / "long.npz", x=x[:2000] * 7, y=y[:2000])
    test, labels = x[2000:], y[2000:]
    np.savez(tmp_path / "test.npz", x=test, y=labels)
    np.savez(tmp_path / "longtest.npz", x=test * np.geomspace(1e-4, 1e2, 500)[:, None], y=labels)
    np.savez(tmp_path / "narrow.npz", x=test[:, 1:], y=labels)
    np.savez(tmp_path / "nan.npz", x=np.where(np.arange(D) == 2, np.nan, test), y=labels)
    np.savez(tmp_path / "few.npz", x=test, y=labels[1:])
    np.savez(tmp_path / "words.npz", x=test, y=np.array(["a", "b", "c"])[labels])
    np.savez(tmp_path / "other.npz", x=test, y=labels + 1)
    np.savez(tmp_path / "hollow.npz", x=test)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "test.npz").read_bytes()[:-500])
    return tmp_path


def test_one_command_is_the_three_commands(folder):
    whole = run_json(
        f"{FIT} --out {{m}} --synthetic {{s.npz}} --n-samples 3000 --probe {{p}} {TEST}"
        " --random-state 3",
        folder,
    )
    assert whole["synthetic"] == f"{folder}/s.npz"
    assert (whole["n_samples"], whole["probe"]) == (3000, f"{folder}/p")
    assert whole["privacy"]["epsilon"] == pytest.approx(4, rel=1e-9)
    assert whole["not_covered_by_the_guarantee"] == ["accuracy", "class_accuracy"]

    run_json("sample {m} -n 3000 --random-state 3 --out {s2.npz}", folder)
    assert (folder / "s2.npz").read_bytes() == (folder / "s.npz").read_bytes()
    trained = run_json(f"probe {{m}} --random-state 3 --out {{p2}} {TEST}", folder)
    assert (folder / "p2").read_bytes() == (folder / "p").read_bytes()
    assert trained["accuracy"] == whole["accuracy"]["probe"] > 0.9

    with np.load(folder / "test.npz") as test:
        predicted = cloister.DPGaussianMixture.load(folder / "m").predict(test["x"])
        assert whole["accuracy"]["mixture"] == np.mean(predicted == test["y"]) > 0.9
        table = whole["class_accuracy"]
        assert table["classes"] == [0, 1, 2]
        assert table["rows"] == np.bincount(test["y"]).tolist()
        right = [np.mean(predicted[test["y"] == label] == label) for label in range(3)]
        assert table["mixture"] == right
        worst = {"class": int(np.argmin(right)), "accuracy": min(right)}
        assert table["worst"]["mixture"] == worst
    assert trained["class_accuracy"]["probe"] == table["probe"]


def test_texts_for_people(folder):
    result = run(f"{FIT} --out {{m}} --n-samples 2000 --probe {{p}} {TEST}", folder)
    assert result.exit_code == 0, result.output
    assert re.search(r"n_samples +2000\n", result.stdout)
    assert re.search(r"accuracy of the probe +0\.9", result.stdout)
    assert re.search(r"accuracy of the mixture +0\.9", result.stdout)
    assert re.search(r"worst class of the mixture  [012] \((1|0\.\d+)\)\n", result.stdout)
    assert re.search(r"class  test rows  right: probe  right: mixture\n +0 +\d+ ", result.stdout)
    assert "(4, 1e-05)-differentially private" in result.stdout.replace("\n", " ")
    assert " ".join(result.stdout.split()).endswith(cli_accuracy.NOT_COVERED)
    assert "synthetic  " not in result.stdout


def test_a_plain_fit_says_nothing_of_the_road(folder):
    result = run_json(f"{FIT} --out {{m}}", folder)
    assert not {"synthetic", "n_samples", "probe", "accuracy"} & set(result)


def test_each_part_by_itself(folder, monkeypatch):
    monkeypatch.setattr(cli_road, "DEFAULT_SAMPLES", 700)
    drawn = run_json(f"{FIT} --out {{m}} --synthetic {{s.npz}}", folder)
    assert (drawn["n_samples"], drawn["probe"], drawn["accuracy"]) == (700, None, None)
    assert drawn["not_covered_by_the_guarantee"] == []
    with np.load(folder / "s.npz") as synthetic:
        assert synthetic["x"].shape == (700, D)
        assert set(synthetic["y"]) == {0, 1, 2}

    trained = run_json(f"{FIT} --out {{m}} --probe {{p}}", folder)
    assert (trained["synthetic"], trained["n_samples"], trained["accuracy"]) == (None, 700, None)
    assert Probe.load(folder / "p").n_features_in_ == D

    tested = run_json(f"{FIT} --out {{m}} --test {{test.npz}}", folder)
    assert tested["n_samples"] is None
    assert tested["accuracy"]["probe"] is None
    assert tested["accuracy"]["mixture"] > 0.9


def test_the_default_number_of_samples_is_the_documented_one():
    text = " ".join(run("fit --help").stdout.split())
    assert (
        f"rows to draw, or to train on in an epoch; {cli_road.DEFAULT_SAMPLES} by default." in text
    )


def test_samples_need_no_labels(folder):
    drawn = run_json("fit {train.npz:x} --out {m} --synthetic {s.npz} --n-samples 9", folder)
    assert drawn["n_samples"] == 9


def test_the_probe_sees_nothing_but_the_mixture(folder, monkeypatch):
    seen = []
    fit = Probe.fit_mixture
    monkeypatch.setattr(
        Probe, "fit_mixture", lambda self, *given: seen.append(given) or fit(self, *given)
    )
    monkeypatch.setattr(Probe, "fit", pytest.fail)
    line = f"{FIT} --out {{m}} --synthetic {{s.npz}} --n-samples 600 --probe {{p}} {TEST}"
    run_json(line, folder)
    run_json("probe {m} --out {p2}", folder)
    assert [type(mixture) for mixture, _ in seen] == [cloister.DPGaussianMixture] * 2
    assert [n for _, n in seen] == [600, cli_road.DEFAULT_SAMPLES]


def test_a_probe_of_a_mixture_carries_its_guarantee_and_one_of_rows_none(folder):
    run_json(f"{FIT} --out {{m}} --synthetic {{s.npz}} --n-samples 2000 --probe {{p}}", folder)
    of_mixture = run_json("info {p}", folder)
    assert of_mixture["privacy"] == run_json("info {m}", folder)["privacy"]
    trained = run_json(f"probe {{s.npz}} --out {{p2}} {TEST}", folder)
    assert trained["accuracy"] > 0.9
    assert run_json("info {p2}", folder)["privacy"] is None


def test_normalize_scales_test_rows_too(folder):
    line = (
        f"{FIT.replace('train', 'long')} --normalize --out {{m}} --n-samples 2000 --probe {{p}}"
        " --synthetic {s.npz} --test {longtest.npz}"
    )
    found = run_json(line, folder)["accuracy"]
    assert min(found.values()) > 0.9
    again = "probe {m} --test {longtest.npz} --out {p2}"
    assert run_json(f"{again} --normalize", folder)["accuracy"] == found["probe"]
    assert run_json(again, folder)["accuracy"] < found["probe"] - 0.1


def test_text_labels(folder):
    line = "fit {words.npz:x} --labels {words.npz:y} --classes a,b,c --epsilon 9 --out {m}"
    found = run_json(f"{line} --n-samples 900 --probe {{p}} --test {{words.npz}}", folder)
    assert min(found["accuracy"].values()) > 0.8


def test_the_fewest_samples_train_a_probe(folder):
    found = run_json(f"{FIT} --out {{m}} --n-samples 1 --probe {{p}} {TEST}", folder)
    assert found["accuracy"]["probe"] == found["accuracy"]["mixture"]  # its rule in closed form


# --- nothing is spent on what fails -------------------------------------------------------------

REFUSED = {
    "test missing": ("--test {none.npz}", "--test: there is no file"),
    "test labels missing": ("--test {test.npz:x} --test-labels {no.npy}", "--test-labels: there"),
    "test cut": ("--test {cut.npz}", "--test: .* cannot be read"),
    "test key": ("--test {test.npz:z} --test-labels {test.npz:y}", "has no array 'z'"),
    "test key alone": ("--test {test.npz:x}", "--test with a :KEY needs --test-labels"),
    "test labels alone": ("--test-labels {test.npz:y}", "--test-labels needs --test"),
    "test without labels": ("--test {hollow.npz}", "1 features a row|must have shape|has no"),
    "test 1D": ("--test {test.npz:y} --test-labels {test.npz:y}", "--test: .* got 1D"),
    "test narrow": ("--test {narrow.npz}", "--test has 7 features a row, but ROWS has 8"),
    "test NaN": ("--test {nan.npz}", "--test has NaN"),
    "test labels few": ("--test {few.npz}", "--test: y has 499 labels, but X has 500"),
    "test labels text": ("--test {words.npz}", "--test: y has dtype <U1, but classes has int64"),
    "test labels unknown": (
        "--test {test.npz:x} --test-labels {other.npz:y}",
        "--test-labels: y has .* outside classes",
    ),
    "synthetic suffix": ("--synthetic {s.npy}", "--synthetic: .* must end in .npz"),
    "synthetic folder": ("--synthetic {none/s.npz}", "--synthetic: the folder of .* not exist"),
    "probe folder": ("--probe {none/p}", "--probe: the folder of .* does not exist"),
    "probe directory": ("--probe {}", "--probe: .* is a directory"),
    "samples of nothing": ("--n-samples 5", "--n-samples needs --synthetic or --probe"),
    "no samples": ("--n-samples 0 --probe {p}", "'--n-samples': 0 is not in the range"),
    "one file twice": ("--probe {m}", "--out and --probe name the same file"),
    "over the rows": ("--synthetic {train.npz}", "--labels and --synthetic name the same file"),
    "over the test": ("--probe {test.npz} --test {test.npz}", "--test and --probe name the same"),
}


def refuse(line, message, folder):
    """Run a fit that can pay, and check that it ended with one refusal and cost nothing."""
    before = {name: (folder / name).stat().st_mtime_ns for name in os.listdir(folder)}
    result = run(f"{line} --budget {{ledger}} {BUDGET}", folder)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    with pytest.raises(ValueError, match=f"^error: .*({message})"):
        raise ValueError(last)
    assert {name: (folder / name).stat().st_mtime_ns for name in os.listdir(folder)} == before


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_options_cost_nothing(folder, options, message):
    refuse(f"{FIT} --out {{m}} {options}", message, folder)


@pytest.mark.parametrize("options", ["--probe {p}", "--test {test.npz}"])
def test_classifying_needs_labels(folder, options):
    option = options.split()[0]
    refuse(f"fit {{train.npz:x}} --out {{m}} {options}", f"{option} needs --labels", folder)


@pytest.mark.parametrize("options", ["--synthetic {s.npz}", "--probe {p}", "--test {test.npz}"])
def test_only_a_mixture_goes_the_road(folder, options):
    line = f"fit {{train.npz:x}} --model kmeans --out {{m}} {options}"
    refuse(line, f"{options.split()[0]} needs --model mixture, got kmeans", folder)


def test_no_torch_costs_nothing(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    refuse(f"{FIT} --out {{m}} --synthetic {{s.npz}} --probe {{p}}", "needs torch", folder)
    found = run_json(f"{FIT} --out {{m}} --synthetic {{s.npz}} --n-samples 50 {TEST}", folder)
    assert found["accuracy"]["mixture"] > 0.9


def test_a_dry_run_checks_and_opens_nothing(folder, monkeypatch):
    monkeypatch.setattr(np, "load", pytest.fail)
    line = f"{FIT} --out {{m}} --synthetic {{s.npz}} --probe {{p}} --dry-run"
    assert run_json(f"{line} {TEST}", folder)["dry_run"] is True
    assert run(f"{line} --test {{none.npz}}", folder).exit_code == 2
    assert not {"m", "s.npz", "p"} & set(os.listdir(folder))


def test_what_fails_after_the_fit_leaves_the_model(folder, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli_road, "write_npz", full_disk)
    line = f"{FIT} --out {{m}} --synthetic {{s.npz}} --n-samples 50 --budget {{ledger}} {BUDGET}"
    result = run(line, folder)
    assert result.exit_code == 2
    kept, error = result.stderr.splitlines()[-2:]
    assert kept.endswith("/m': go on with `cloister sample` and `cloister probe`")
    assert error == "error: [Errno 28] No space left on device"
    monkeypatch.undo()
    assert json.loads(run("sample {m} -n 5 --out {s.npz} --json", folder).stdout)["n"] == 5


# --- the probe command --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("probe {train.npz} --normalize --out {p}", "--normalize scales the rows of --test"),
        ("probe {train.npz} --out {train.npz}", "SYNTHETIC.npz and --out name the same file"),
        ("probe {m} --out {p}", "there is no file"),
        ("probe {train.npz:x} --out {p}", "is one file; leave out its :KEY"),
        ("probe {train.npz} --test {nan.npz} --out {p}", "--test has NaN"),
    ],
)
def test_refusals_of_probe(folder, line, message):
    result = run(line, folder)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (folder / "p").exists()
