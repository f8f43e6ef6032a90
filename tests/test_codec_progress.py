"""What a training of a codec shows as it goes: pictures, lines, a bar, and what it saw."""

import numpy as np
import pytest
from PIL import Image

from cloister.neural import codec_progress
from cloister.neural.codec_training import Epoch
from cloister.neural.public_data import PublicData, digest
from cloister.neural.reconstruction_grid import grid
from tiny_codecs import images, tiny_codec

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_pictures_show_images_above_reconstructions(tmp_path):
    folder = tmp_path / "pictures"
    codec = tiny_codec(epochs=5, samples_dir=folder, samples_every=2)
    names = ["epoch-0002.png", "epoch-0004.png", "epoch-0005.png"]
    assert sorted(file.name for file in folder.iterdir()) == names
    with Image.open(folder / names[-1]) as file:
        picture = np.asarray(file)
    factor = 6  # 12 pixels become at least 64
    assert picture.shape == (2 * (12 * factor + 2), 8 * (10 * factor + 2))
    first = picture[2 : 2 + 12 * factor : factor, 2 : 2 + 10 * factor : factor]
    assert any(np.array_equal(first, image) for image in images())
    below = picture[4 + 12 * factor :: factor, 2 : 2 + 10 * factor : factor]
    expected = codec.decode(codec.encode(first[None]))[0].astype(int)
    assert np.abs(below - expected).max() <= 1


def test_a_grid_of_colour_images():
    one = np.full((3, 64, 64, 3), 7, dtype=np.uint8)
    assert grid(one, one).shape == (132, 198, 3)


def test_progress_in_lines(capsys):
    tiny_codec(progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2: loss 0.")
    assert lines[1].endswith("grey levels off")
    tiny_codec()
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal(monkeypatch):
    from rich.console import Console  # noqa: PLC0415

    console = Console(force_terminal=True, width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    monkeypatch.setattr(codec_progress, "_console", lambda: console)
    with codec_progress.TrainingProgress(True, 2, 3, 1) as bar:
        task = bar._bar.tasks[0]
        assert (task.completed, task.total) == (3, 6)
        bar.step()
        bar.epoch(Epoch(2, 2, 0.5, 12.0))
        assert task.completed == 4
        assert (
            task.description
            == "epoch 2/2: loss 0.50000, held-out public images 12.00 grey levels off"
        )
    console.file.close()
    assert codec_progress.describe(Epoch(1, 2, 0.5, None)) == "epoch 1/2: loss 0.50000"


def test_public_data_is_described_by_its_pixels():
    some = images(5)
    assert digest(some) != digest(some[::-1])
    assert digest(some) != digest(some.reshape(5, 10, 12))
    assert digest(some) == digest(np.asfortranarray(some))
    described = PublicData.of(" MNIST train ", some)
    assert described.words() == f"MNIST train: 5 images, sha256 {digest(some)}"
    assert PublicData.from_dict(described.to_dict()) == described
