"""Runs the command line in this process; `{name}` in a line stands for a file of a folder."""

import json

import pytest
from click.testing import CliRunner

from cloister.cli import main


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
