"""The command line: results, refusals, exit codes, and what a dry run leaves alone."""

import json
import os
import re
import subprocess
import sys

import click
import numpy as np
import pytest

import cloister
from cloister import cli_demo, cli_files, cli_output
from cloister.cli import main
from cloister.model_file import read_model, write_model
from command_line import run, run_json

D = 8
TOTAL = ["--dataset", "patients", "--budget-epsilon", "1.5", "--budget-delta", "1e-5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three well-separated classes of unit-norm rows, and a mixture fitted to them."""
    folder = tmp_path_factory.mktemp("cli")
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


def run_process(*words, code="import cloister.__main__"):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


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


# --- price and budget -------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ["cut.npy", "garbage.npy", "nothing.npy", "cut.npz:x"])
@pytest.mark.parametrize("model", ["mixture", "kmeans"])
def test_a_dry_run_reads_no_rows(folder, rows, model):
    line = f"fit {{{rows}}} --model {model} --out {{dry}}"
    result = run_json(f"{line} --dry-run", folder)
    shares = [release["share"] for release in result["releases"]]
    mus = [release["mu"] for release in result["releases"]]
    assert sum(shares) == pytest.approx(1)
    assert sum(mu**2 for mu in mus) == pytest.approx(result["mu"] ** 2) == 2 * result["rho"]
    assert result["mu"] == pytest.approx(1 / 3.7306, rel=1e-4)
    assert not (folder / "dry").exists()
    assert run(line, folder).exit_code == 2  # the same rows, where they are read


def test_a_dry_run_opens_neither_rows_nor_labels(folder, monkeypatch):
    monkeypatch.setattr(np, "load", pytest.fail)
    line = "fit {data.npz:x} --labels {data.npz:y} --classes 0,1,2 --out {dry} --dry-run"
    assert "second moments" in run(line, folder).stdout


def test_a_dry_run_makes_no_ledger(folder, tmp_path):
    ledger = tmp_path / "ledger"
    line = f"fit {{garbage.npy}} --out {{dry}} --dry-run --budget {ledger}"
    budget = run_json(line, folder, TOTAL)["budget"]
    assert budget["epsilon_left_before"] == pytest.approx(1.5)
    left = budget["mu_squared_left_before"] - budget["mu_squared_left_after"]
    assert left == pytest.approx(budget["cost_mu_squared"])
    assert os.listdir(tmp_path) == []
    result = run(line, folder, ["--dataset", "patients"])
    assert result.exit_code == 2
    assert "both are needed" in result.stderr


def test_budget(folder, tmp_path):
    ledger = tmp_path / "ledger"
    line = f"fit {{rows.npy}} --out {{paid}} --budget {ledger} --epsilon 1"
    spent = run_json(line, folder, [*TOTAL, "--fit-name", "first"])["budget"]
    assert spent["epsilon_spent"] == pytest.approx(1, rel=1e-6)
    told = run_json(f"info --budget {ledger} --dataset patients")
    assert told["mu_squared_left"] == spent["mu_squared_left"] > 0
    assert [(fit["name"], fit["state"]) for fit in told["fits"]] == [("first", "finished")]
    people = run(f"info --budget {ledger} --dataset patients").stdout
    assert "first  finished" in people
    assert told["fits"][0]["created"] in people

    planned = run_json(f"{line} --dry-run", folder, [*TOTAL, "--fit-name", "first"])["budget"]
    assert planned["resumes"] is True
    assert planned["cost_mu_squared"] == 0
    assert run_json(f"info --budget {ledger} --dataset patients") == told


def test_budget_exceeded_is_3_before_rows_are_read(folder, tmp_path):
    ledger = tmp_path / "ledger"
    line = f"fit {{garbage.npy}} --out {{unpaid}} --budget {ledger} --epsilon 2"
    for dry in ([], ["--dry-run"]):
        result = run(line, folder, [*TOTAL, *dry])
        assert result.exit_code == 3
        assert result.stderr.startswith("error: --epsilon=2 costs mu_squared=")
        assert "(epsilon=1.5 alone) is left" in result.stderr
    assert not ledger.exists()
    result = run(f"{line} --json --dry-run", folder, TOTAL)
    assert json.loads(result.stdout)["budget"]["enough"] is False


def test_two_fits_race_for_what_is_left(folder, tmp_path, monkeypatch):
    """The early look at the ledger is no promise: the reservation decides."""
    ledger = tmp_path / "ledger"
    monkeypatch.setattr("cloister.cli_fit._refuse_debt", lambda *_: None)
    line = f"fit {{rows.npy}} --out {{raced}} --budget {ledger} --epsilon 2"
    result = run(line, folder, TOTAL)
    assert result.exit_code == 3
    assert "no row was read" in result.stderr
    assert not (folder / "raced").exists()


# --- refusals ---------------------------------------------------------------------------------

FIT = "fit {rows.npy} --out {never}"
REFUSED = {
    "unknown command": ("train", "No such command 'train'"),
    "unknown option": ("fit --bad", "No such option '--bad'|No such option: --bad"),
    "no rows": ("fit --out {never}", "Missing argument 'ROWS'"),
    "no out": ("fit {rows.npy}", "Missing option '--out'"),
    "rows missing": ("fit {none.npy} --out {never}", r"ROWS: there is no file '.*none\.npy'"),
    "rows directory": ("fit {} --out {never}", "ROWS: .* is no regular file"),
    "rows csv": ("fit {table.csv} --out {never}", "ROWS: .* ends in '.csv', but .npy or .npz"),
    "rows cut": ("fit {cut.npy} --out {never}", "ROWS: .* cannot be read"),
    "rows cut npz": ("fit {cut.npz} --out {never}", "ROWS: .* cannot be read"),
    "rows empty file": ("fit {nothing.npy} --out {never}", r"ROWS: .*\(0 bytes\) cannot be read"),
    "rows garbage": ("fit {garbage.npy} --out {never}", "ROWS: .* cannot be read"),
    "rows pickled": ("fit {objects.npy} --out {never}", "ROWS: .* cannot be read"),
    "rows renamed npz": ("fit {renamed.npy} --out {never}", "magic string is not correct"),
    "rows renamed npy": ("fit {renamed.npz} --out {never}", "it is an .npy file; rename it"),
    "rows 1D": ("fit {flat.npy} --out {never}", "ROWS: expected a 2D array .* got 1D"),
    "rows of text": ("fit {data.npz:names} --out {never}", "ROWS.* got 1D|ROWS has dtype"),
    "no key": ("fit {data.npz:z} --out {never}", r"has no array 'z'; it has \['x', 'y', 'names'\]"),
    "no array": ("fit {empty.npz} --out {never}", r"ROWS: .* has no array 'x'; it has \[\]"),
    "key of npy": ("fit {rows.npy:x} --out {never}", "holds one array; leave out ':x'"),
    "labels missing": (f"{FIT} --labels {{no.npy}}", "--labels: there is no file"),
    "labels few": (f"{FIT} --labels {{few.npy}}", "y has 2999 labels, but X has 3000 rows"),
    "labels unknown": (f"{FIT} --labels {{labels.npy}} --classes 0,1", "outside classes"),
    "labels 2D": (f"{FIT} --labels {{rows.npy}} --classes 0,1", "y must have shape"),
    "classes twice": (f"{FIT} --labels {{labels.npy}} --classes 0,1,1", "classes repeats"),
    "classes texts": (f"{FIT} --labels {{labels.npy}} --classes a,b", "y has dtype int64, but"),
    "epsilon zero": (f"{FIT} --epsilon 0", "epsilon=0.0 is outside"),
    "epsilon negative": (f"{FIT} --epsilon -1", "epsilon=-1.0 is outside"),
    "epsilon nan": (f"{FIT} --epsilon nan", "epsilon=nan is outside"),
    "epsilon inf": (f"{FIT} --epsilon inf", "--epsilon=inf adds no noise"),
    "epsilon text": (f"{FIT} --epsilon much", "'--epsilon': 'much' is not a valid float"),
    "delta": (f"{FIT} --delta 1", "delta=1.0 is outside"),
    "clip norm": (f"{FIT} --clip-norm 0", "clip_norm=0.0 is outside"),
    "components": (f"{FIT} --n-components 0", "n_components=0 is outside"),
    "row transform": (f"{FIT} --row-transform square", "row_transform='square' is not one of"),
    "covariance": (f"{FIT} --covariance-type round", "covariance_type='round' is not one of"),
    "seed": (f"{FIT} --random-state -1", "random_state=-1 is outside"),
    "threads": (f"{FIT} --threads 0", "'--threads': 0 is not in the range"),
    "model": (f"{FIT} --model forest", "'--model': 'forest' is not one of"),
    "clusters of mixture": (f"{FIT} --n-clusters 3", "--n-clusters needs --model kmeans"),
    "hint of mixture": (f"{FIT} --n-hint 3", "--n-hint needs --model kmeans"),
    "labels of kmeans": (
        f"{FIT} --model kmeans --labels {{labels.npy}}",
        "--labels needs --model mixture",
    ),
    "clusters": (f"{FIT} --model kmeans --n-clusters 0", "n_clusters=0 is outside"),
    "out directory": ("fit {rows.npy} --out {}", "--out: .* is a directory"),
    "out folder": ("fit {rows.npy} --out {none/m}", "--out: the folder of .* does not exist"),
    "budget alone": (f"{FIT} --budget {{l}}", "--budget and --dataset need each other"),
    "dataset alone": (f"{FIT} --dataset a", "--budget and --dataset need each other"),
    "total alone": (f"{FIT} --budget-epsilon 1", "--budget-epsilon needs --budget"),
    "fit name alone": (f"{FIT} --fit-name a", "--fit-name needs --budget"),
    "no total": (f"{FIT} --budget {{l}} --dataset a", "both are needed"),
    "ledger of another kind": (f"{FIT} --budget {{table.csv}} --dataset a", "table.csv"),
    "sample n": ("sample {mixture} -n 0 --out {s.npz}", "'-n': 0 is not in the range"),
    "sample without n": ("sample {mixture} --out {s.npz}", "Missing option '-n'"),
    "sample suffix": ("sample {mixture} -n 1 --out {s.csv}", "--out: .* must end in .npy or .npz"),
    "sample labels": (
        "sample {mixture} -n 1 --out {s.npz} --labels-out {l.npy}",
        "--labels-out needs an --out that ends in .npy",
    ),
    "sample same file": (
        "sample {mixture} -n 1 --out {l.npy} --labels-out {l.npy}",
        "name the same file",
    ),
    "sample of kmeans": ("sample {clusters} -n 1 --out {s.npz}", "'kmeans', but 'mixture'"),
    "sample of nothing": ("sample {none} -n 1 --out {s.npz}", "there is no file"),
    "sample of rows": ("sample {rows.npy} -n 1 --out {s.npz}", "is no safetensors file"),
    "sample hollow": ("sample {odd} -n 1 --out {s.npz}", "odd"),
    "probe without y": ("probe {cut.npz} --out {p}", "SYNTHETIC.npz: .* cannot be read"),
    "probe of rows": ("probe {rows.npy} --out {p}", "y"),
    "probe key": ("probe {data.npz:x} --out {p}", "leave out its :KEY"),
    "probe test labels": (
        "probe {synthetic.npz} --test-labels {labels.npy} --out {p}",
        "--test-labels needs --test",
    ),
    "probe test key": (
        "probe {synthetic.npz} --test {data.npz:x} --out {p}",
        "needs --test-labels",
    ),
    "info of nothing": ("info {none}", "there is no file"),
    "info of rows": ("info {rows.npy}", "is no safetensors file"),
    "info damaged": ("info {odd}", "has a damaged guarantee"),
    "info of both": ("info {mixture} --budget {l} --dataset a", "give MODEL, or --budget"),
    "info without name": ("info --budget {l}", "give MODEL, or --budget"),
    "info without ledger": ("info --budget {l} --dataset a", "first time"),
    "demo epsilon": ("demo --epsilon 0", "epsilon=0.0 is outside"),
}


@pytest.mark.parametrize(("line", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_are_one_line_and_exit_code_2(folder, line, message):
    before = sorted(os.listdir(folder))
    result = run(line, folder)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert sum(text.startswith("error: ") for text in result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr
    with pytest.raises(ValueError, match=message):
        raise ValueError(last)
    assert sorted(os.listdir(folder)) == before


def test_out_of_memory_and_full_disks_are_no_tracebacks(folder, monkeypatch):
    for error, message in [
        (MemoryError("2 TiB"), "error: out of memory: 2 TiB; work on fewer rows\n"),
        (OSError(28, "No space left on device"), "error: [Errno 28] No space left on device\n"),
    ]:
        monkeypatch.setattr(cli_demo, "demo", lambda *_, error=error: (_ for _ in ()).throw(error))
        result = run("demo")
        assert (result.exit_code, result.stderr) == (2, message)


def test_a_mistake_of_ours_is_not_passed_off_as_the_users(monkeypatch):
    monkeypatch.setattr(cli_demo, "demo", lambda *_: 1 / 0)
    assert isinstance(run("demo").exception, ZeroDivisionError)


def test_a_lost_fit_says_so(folder, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    result = run("fit {rows.npy} --out {never}", folder)
    assert result.exit_code == 2
    assert "No space left on device (the fit was paid for, but is lost)" in result.stderr


# --- real processes ---------------------------------------------------------------------------


def test_exit_codes_and_streams_of_a_process(folder, tmp_path):
    fit = ["fit", folder / "rows.npy", "--out", tmp_path / "m", "--json", *TOTAL]
    fit += ["--budget", tmp_path / "ledger"]
    done = run_process(*fit)
    assert done.returncode == 0
    assert json.loads(done.stdout)["kind"] == "mixture"
    assert done.stderr == "fitting mixture at epsilon=1 ...\n"
    assert read_model(tmp_path / "m")[0] == "mixture"

    over = run_process(*fit, "--epsilon", "2")
    assert (over.returncode, over.stdout) == (3, "")
    assert over.stderr.startswith("error: --epsilon=2 costs")

    wrong = run_process("info", tmp_path / "none")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.count("\n") == 1


def test_interrupt_is_130():
    code = (
        "import os, signal, time\n"
        "from cloister import cli, cli_demo\n"
        "def stop(*_):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
        "cli_demo.demo = stop\n"
        "cli.main(['demo'])\n"
    )
    stopped = run_process(code=code)
    assert stopped.returncode == 130
    assert (stopped.stdout, stopped.stderr.strip()) == ("", "")


# --- demo and info ----------------------------------------------------------------------------


def test_demo():
    result = run_json("demo --epsilon 4")
    assert result["classifier"] == "probe"
    assert result["accuracy_non_private"] > 0.93
    assert 0.5 < result["accuracy_private"] <= result["accuracy_non_private"] + 0.03
    assert result["seconds"] < 30
    assert "(4, 1e-05)-differentially private" in result["statement"]


def test_demo_without_torch(monkeypatch):
    monkeypatch.setattr(cli_demo, "find_spec", lambda _: None)
    result = run("demo --epsilon 4 --json")
    assert "torch is not installed" in result.stderr
    found = json.loads(result.stdout)
    assert found["classifier"] == "mixture"
    assert 0.5 < found["accuracy_private"] <= found["accuracy_non_private"] + 0.03


def test_info_of_a_model_without_a_guarantee(folder):
    told = run_json("info {clusters}", folder)
    assert told["privacy"] is None
    assert "carries no guarantee of its own" in told["statement"]


def test_info_of_the_installation():
    result = run_json("info")
    assert result["version"] == cloister.__version__
    assert result["instruction_set"] in result["instruction_sets"]
    assert result["extras"]["torch"].startswith("2.")
    assert result["extras"]["cupy-cuda13x"] is None
    assert "cupy-cuda13x      not installed" in run("info").stdout


# --- parts ------------------------------------------------------------------------------------


def test_npy_is_memory_mapped(folder):
    assert isinstance(cli_files.read_array("X", f"{folder}/rows.npy", "x"), np.memmap)


def test_a_file_whose_name_holds_a_colon(folder, tmp_path):
    path = tmp_path / "a.npz:b.npy"
    np.save(path, np.ones(3))
    assert cli_files.read_array("X", str(path), "x").shape == (3,)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8])
def test_unit_rows(dtype):
    rows = np.array([[3, 4], [0, 0], [0, 7], [1, 0]], dtype=dtype)
    expected = [[0.6, 0.8], [0, 0], [0, 1], [1, 0]]
    np.testing.assert_array_equal(cli_files.unit_rows(rows), np.float32(expected))


def test_unit_rows_of_extreme_and_invalid_values():
    rows = np.array([[3e200, 4e200], [3e-300, 4e-300], [np.inf, 1], [np.nan, 1], [5e-324, 0]])
    unit = cli_files.unit_rows(rows)
    np.testing.assert_array_equal(unit[[0, 1, 4]], np.float32([[0.6, 0.8], [0.6, 0.8], [1, 0]]))
    assert np.isnan(unit[2:4]).any(axis=1).all()


def test_a_row_is_scaled_from_itself_alone(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(11, 5))
    whole = cli_files.unit_rows(rows)
    monkeypatch.setattr(cli_files, "CHUNK_ROWS", 3)
    np.testing.assert_array_equal(cli_files.unit_rows(rows), whole)
    np.testing.assert_array_equal(cli_files.unit_rows(rows[4:5]), whole[4:5])


def test_plain_values():
    value = {"a": np.float32(0.5), 3: (np.inf, -np.inf, np.nan), "c": np.arange(2), "d": None}
    found = {"a": 0.5, "3": ["inf", "-inf", None], "c": [0, 1], "d": None}
    assert cli_output.plain(value) == found


def test_tables_are_not_cut(capsys):
    cli_output.show_table({"name": ["x" * 200, "[bold]"], "share": [0.25, 10]})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "x" * 200 + "   0.25"
    assert lines[2].split() == ["[bold]", "10"]


def test_options_of_fit_are_documented():
    texts = {option.name: option.help for option in main.commands["fit"].params[1:]}
    assert [name for name, text in texts.items() if not text] == []
    assert isinstance(main.commands["fit"], click.Command)
