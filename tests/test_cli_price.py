"""What a fit costs: the dry run reads no rows, and a ledger pays or refuses."""

import json
import os

import numpy as np
import pytest

from command_line import TOTAL, make_files, run, run_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("cli"))


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
    monkeypatch.setattr("cloister.cli_fit.refuse_debt", lambda *_: None)
    line = f"fit {{rows.npy}} --out {{raced}} --budget {ledger} --epsilon 2"
    result = run(line, folder, TOTAL)
    assert result.exit_code == 3
    assert "no row was read" in result.stderr
    assert not (folder / "raced").exists()
