"""The demo, `info`, and the parts that commands share."""

import json

import click
import numpy as np
import pytest

import cloister
from cloister import cli_demo, cli_files, cli_output
from cloister.cli import main
from command_line import make_files, run, run_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("cli"))


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
