"""What documents say is run: their snippets and their commands."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def blocks(language, text):
    """Return what stands in a document's fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands_in(text):
    """Return the calls of cloister in a document, each on one line."""
    return [
        line
        for block in blocks("bash", text)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("cloister ")
    ]


def run(arguments, folder):
    """Run a command there and return what it prints."""
    result = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
