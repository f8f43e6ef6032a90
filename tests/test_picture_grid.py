"""Pictures of samples: every image in its place, blank where there is none."""

import sys

import numpy as np
import pytest

from cloister import DPGaussianMixture
from cloister.errors import InvalidInput, InvalidType, MissingDependency
from cloister.neural import Synthesizer
from cloister.neural.picture_grid import BLOCKS_LOOKED_AT, class_rows, picture_grid
from cloister.neural.png import pixels
from tiny_codec import TinyCodec, tiny_images


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 3)])
@pytest.mark.parametrize("gap", [0, 2])
def test_each_image_is_in_its_place(shape, gap, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, *shape), dtype=np.uint8)
    labels = np.array([5, 3, 5, 5, 3, 5, 8])
    picture = picture_grid(
        images, labels, [8, 3, 5], 3, gap=gap, background=9, path=tmp_path / "p.png"
    )
    assert picture.shape == (12 + 2 * gap, 9 + 2 * gap, *shape[2:])
    covered = np.zeros(picture.shape, dtype=bool)
    for row, column, place in [(0, 0, 6), (1, 0, 1), (1, 1, 4), (2, 0, 0), (2, 1, 2), (2, 2, 3)]:
        cell = np.s_[row * (4 + gap) : row * (4 + gap) + 4, column * (3 + gap) :][:2]
        cell = (cell[0], slice(cell[1].start, cell[1].start + 3))
        np.testing.assert_array_equal(picture[cell], images[place])
        covered[cell] = True
    assert (picture[~covered] == 9).all()
    np.testing.assert_array_equal(pixels(tmp_path / "p.png"), picture)


def test_classes_are_those_of_the_labels_by_default():
    images = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((3, 1, 1), np.uint8)
    picture = picture_grid(images, ["b", "a", "b"], per_class=2, gap=0)
    np.testing.assert_array_equal(picture, [[1, 255], [0, 2]])


def test_a_stream_is_read_until_each_class_has_its_images():
    read = []

    def stream():
        for number in range(100):
            read.append(number)
            labels = np.array([0, 0, number == 2, 7])
            yield np.full((4, 1, 1), number, np.uint8), labels

    images, labels = class_rows(stream(), np.array([0, 1]), 1)
    assert len(read) == 3
    assert sorted(zip(labels.tolist(), images.ravel().tolist(), strict=True)) == [(0, 0), (1, 2)]
    read.clear()
    images, labels = class_rows(stream(), np.array([0, 1, 4]), 2)  # there is no 4
    assert len(read) == BLOCKS_LOOKED_AT
    assert sorted(labels.tolist()) == [0, 0, 1]


def test_a_synthesizer_shows_its_samples(tmp_path):
    codec = TinyCodec()
    mixture = DPGaussianMixture(epsilon=3.0, classes=[8, 3, 5], n_hint=300)
    model = Synthesizer(codec, mixture, codec).fit(*tiny_images(300))
    picture = model.grid(4, 1, gap=1, path=tmp_path / "p.png")
    assert picture.shape == (3 * 7 - 1, 4 * 7 - 1)
    images, labels = model.sample(1024, 1)
    np.testing.assert_array_equal(picture[:6, :6], images[labels == 8][0])
    np.testing.assert_array_equal(picture[14:, 21:], images[labels == 5][3])
    np.testing.assert_array_equal(pixels(tmp_path / "p.png"), picture)


def test_bad_arguments_are_refused(tmp_path, monkeypatch):
    images = np.zeros((3, 4, 4), np.uint8)
    for arguments, options, error, message in [
        ((images / 2, [0, 1, 2]), {}, InvalidType, "^images must be"),
        ((images, [0, 1]), {}, InvalidInput, r"^labels has shape \(2,\)"),
        ((images, [0, 1, 2]), {"per_class": 0}, InvalidInput, "^per_class=0"),
        ((images, [0, 1, 2]), {"gap": -1}, InvalidInput, "^gap=-1"),
        ((images, [0, 1, 2]), {"background": 256}, InvalidInput, "^background=256"),
        ((images, [0, 1, 2]), {"path": tmp_path}, InvalidInput, "^path: .* is a directory"),
        ((images, [0, 1, 2]), {"per_class": 9999, "gap": 999}, InvalidInput, "^per_class=9999"),
    ]:
        with pytest.raises(error, match=message):
            picture_grid(*arguments, **options)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    picture_grid(images, [0, 1, 2])
    with pytest.raises(MissingDependency, match="Pillow"):
        picture_grid(images, [0, 1, 2], path=tmp_path / "p.png")
    assert list(tmp_path.iterdir()) == []
