"""What the command line refuses, in one line, and how its processes end."""

import json
import os

import pytest

from cloister import cli_demo
from cloister.model_file import read_model
from command_line import TOTAL, make_files, run, run_process


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("cli"))


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
    "metric of mixture": (f"{FIT} --metric cosine", "--metric needs --model kmeans"),
    "metric": (f"{FIT} --model kmeans --metric angle", "metric='angle' is not one of"),
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
