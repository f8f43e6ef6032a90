"""Every snippet and every command of the guides runs."""

import shlex
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.models import mobilenet_v2

from cloister.cli import main
from documents import ROOT, blocks, commands_in, run
from tiny_diffusers import tiny_unclip

ENCODERS, DECODERS, SYNTHESIZER = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("encoders", "decoders", "synthesizer")
)


@pytest.mark.parametrize("place", [0, 1])
def test_python_snippets_of_encoders_run(place, tmp_path):
    snippets = blocks("python", ENCODERS)
    assert len(snippets) == 2
    said = run([sys.executable, "-W", "error", "-c", snippets[place]], tmp_path)
    assert ["A test found", "(40, 48)"][place] in said


def test_command_line_snippets_of_encoders_run_in_order(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for place in range(6):
            pixels = rng.integers(0, 256, (60, 50 + place, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{place}.png")
    torch.save(mobilenet_v2().state_dict(), tmp_path / "mobilenet_v2.pth")
    (block,) = blocks("bash", ENCODERS)
    for command in block.replace("\\\n", " ").splitlines():
        # Small batches: the check embeds about thirty of them.
        more = ["--batch-size", "2"] if command.startswith("cloister embed") else []
        run([sys.executable, "-m", "cloister", *shlex.split(command)[1:], *more], tmp_path)
    assert (tmp_path / "pets.model").exists()


@pytest.fixture(scope="module")
def images_folder(tmp_path_factory):
    """What the guide to decoders names: private and public images, and a model of diffusers."""
    folder = tmp_path_factory.mktemp("decoders")
    digits = load_digits()
    images = np.minimum(255, digits.images * 16).astype(np.uint8)
    np.savez(folder / "private.npz", images=images[:1500], labels=digits.target[:1500])
    np.savez(folder / "public.npz", images=images[1500:])
    tiny_unclip(torch).save_pretrained(folder / "stable-unclip")
    return folder


# In this process, unlike those of the README: each process would import torch and diffusers anew.


@pytest.mark.parametrize("code", blocks("python", DECODERS))
def test_python_snippets_of_the_guide_to_decoders_run(code, images_folder, monkeypatch):
    monkeypatch.chdir(images_folder)
    exec(compile(code, "docs/decoders.md", "exec"), {"__name__": "__main__"})


def test_commands_of_the_guide_to_decoders_run(images_folder, monkeypatch):
    monkeypatch.chdir(images_folder)
    commands = commands_in(DECODERS)
    assert len(commands) == 3
    for command in commands:
        result = CliRunner().invoke(main, shlex.split(command)[1:])
        assert result.exit_code == 0, result.stderr
    assert (images_folder / "pictures" / "epoch-0002.png").exists()


def test_the_guide_to_synthesizers_runs_from_top_to_bottom(tmp_path):
    code = "\n".join(blocks("python", SYNTHESIZER))
    out = run([sys.executable, "-W", "error", "-c", code], tmp_path)
    assert "(1000, 8, 8) uint8" in out
    assert "differentially private" in out
    assert len(list((tmp_path / "digits").glob("*/*.png"))) == 200
    commands = commands_in(SYNTHESIZER)
    assert len(commands) == 4
    for command in commands:
        run([sys.executable, "-m", "cloister", *shlex.split(command)[1:]], tmp_path)
    with np.load(tmp_path / "more.npz") as archive:
        assert archive["x"].shape == (500, 8, 8)
