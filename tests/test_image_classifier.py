"""The convolutional classifier: what it learns, what it keeps, what it refuses."""

import numpy as np
import pytest
import torch

from cloister import DPGaussianMixture
from cloister.errors import InvalidInput, InvalidType, ModelFileError
from cloister.neural import ImageClassifier, ImageLabeller, Synthesizer
from cloister.neural.dct_codec import DCTCodec
from cloister.neural.image_network import ImagePlan, _shifted
from cloister.neural.scattering import ScatteringEncoder
from cloister.neural.torch_device import pixel_tensor

SMALL = {"width": 4, "epochs": 6, "batch_size": 32}


def stripes(n, seed=0, shape=(12, 12)):
    """Upright and level stripes at random phases: no single pixel tells them apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    y, x = np.mgrid[: shape[0], : shape[1]]
    along = np.where(labels[:, None, None], x, y)
    waves = 127 + 90 * np.sin(1.5 * along + rng.uniform(0, 6.3, (n, 1, 1)))
    return (waves + rng.normal(0, 10, waves.shape)).clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def trained():
    images, labels = stripes(400)
    return ImageClassifier(**SMALL).fit(images, np.array(["level", "upright"])[labels])


def test_it_learns_what_no_pixel_shows(trained):
    images, labels = stripes(300, 1)
    assert trained.score(images, np.array(["level", "upright"])[labels]) > 0.95
    assert trained.classes_.tolist() == ["level", "upright"]
    assert trained.privacy_ is None
    proba = trained.predict_proba(images)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (trained.classes_[proba.argmax(axis=1)] == trained.predict(images)).all()


def test_colour_images_are_learnt_too():
    images, labels = stripes(300)
    colour = np.stack([images, 255 - images, images], axis=-1)
    classifier = ImageClassifier(**SMALL).fit(colour, labels)
    assert classifier.score(colour, labels) > 0.95


def test_soft_labels_are_learnt_as_probabilities():
    images = np.zeros((200, 8, 8), np.uint8)
    proba = np.tile([0.7, 0.2, 0.1], (200, 1))
    classifier = ImageClassifier(**SMALL, learning_rate=1e-2).fit(images, [3, 5, 9], proba)
    np.testing.assert_allclose(classifier.predict_proba(images[:1])[0], proba[0], atol=0.08)
    assert classifier.predict(images[:1])[0] == 3


def test_the_same_seed_gives_the_same_network_and_moves_no_other_generator():
    images, labels = stripes(64)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = (
        ImageClassifier(width=4, epochs=1, random_state=seed).fit(images, labels)
        for seed in (1, 1, 2)
    )
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(first.predict_proba(images), second.predict_proba(images))
    assert (first.predict_proba(images) != other.predict_proba(images)).any()


def test_an_image_is_judged_by_itself_alone(trained):
    images, _ = stripes(40, 2)
    together = trained.predict_proba(images)
    alone = np.concatenate([trained.predict_proba(image[None]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert trained.predict_proba(images[:0]).shape == (0, 2)


def test_shifts_move_whole_images_over_black():
    torch.manual_seed(0)
    images = np.zeros((50, 9, 9), np.uint8)
    images[:, 4, 4] = 255
    moved = _shifted(torch, pixel_tensor(images), 2)[:, 0].numpy()
    places = {tuple(place[1:]) for place in np.argwhere(moved)}
    assert (moved.sum(axis=(1, 2)) == 1).all()
    assert {y for y, _ in places} == {x for _, x in places} == {2, 3, 4, 5, 6}
    colour = pixel_tensor(np.arange(2 * 9 * 9 * 3, dtype=np.uint8).reshape(2, 9, 9, 3))
    assert any(
        torch.equal(_shifted(torch, colour, 1)[:1], colour[:1]) for _ in range(100)
    )  # a move by nothing is as likely as each other one, and keeps channels in place


@pytest.fixture(scope="module")
def synthesizer():
    images, labels = stripes(2000)
    codec = DCTCodec((12, 12), keep=60, mean=128)
    mixture = DPGaussianMixture(2, epsilon=50.0, classes=[0, 1], plan_overrides=None)
    rule = DPGaussianMixture(classes=[0, 1])
    labeller = ImageLabeller(ScatteringEncoder((12, 12), cells=2, codec=codec), rule)
    return Synthesizer(codec, mixture, codec, labeller).fit(images, labels)


def test_synthetic_images_alone_teach_it(synthesizer):
    classifier = ImageClassifier(**SMALL).fit_synthesizer(synthesizer, 600)
    images, labels = stripes(300, 3)
    assert classifier.score(images, labels) > 0.9
    assert classifier.privacy_ == synthesizer.privacy_


def test_a_file_keeps_network_and_guarantee(synthesizer, trained, tmp_path):
    classifier = ImageClassifier(width=4, epochs=1).fit_synthesizer(synthesizer, 64)
    images, _ = stripes(20)
    for one in (classifier, trained):
        one.save(tmp_path / "one.safetensors")
        again = ImageClassifier.load(tmp_path / "one.safetensors")
        np.testing.assert_array_equal(one.predict_proba(images), again.predict_proba(images))
        np.testing.assert_array_equal(one.predict(images), again.predict(images))
        assert again.privacy_ == one.privacy_


def test_damaged_files_are_refused(trained, tmp_path):
    path = tmp_path / "one.safetensors"
    trained.save(path)
    content = path.read_bytes()
    for old, new in (
        (rb"\"width\":4", rb"\"width\":8"),
        (rb"\"upright\"", rb"\"level\"  "),
        (b"[12,12]", b"[1,12] "),
    ):
        assert old in content
        path.write_bytes(content.replace(old, new))
        with pytest.raises(ModelFileError):
            ImageClassifier.load(path)
    path.write_bytes(content[:-5])
    with pytest.raises(ModelFileError):
        ImageClassifier.load(path)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"width": 6}, "width must be a multiple of 4"),
        ({"epochs": 0}, "epochs"),
        ({"noise": -1}, "noise"),
        ({"learning_rate": 1e6, "weight_decay": 1e25, "width": 4, "epochs": 3}, "diverged"),
    ],
)
def test_impossible_parameters_are_refused(parameters, words):
    images, labels = stripes(64)
    with pytest.raises(InvalidInput, match=words):
        ImageClassifier(**parameters).fit(images, labels)


def test_impossible_images_and_labels_are_refused(trained):
    images, labels = stripes(10)
    with pytest.raises(InvalidInput, match=r"y has shape \(9,\)"):
        ImageClassifier().fit(images, labels[1:])
    with pytest.raises(InvalidInput, match=r"proba has shape \(10, 3\)"):
        ImageClassifier().fit(images, [0, 1], np.ones((10, 3)))
    with pytest.raises(InvalidInput, match="each class once"):
        ImageClassifier().fit(images, [1, 1], np.ones((10, 2)))
    with pytest.raises(InvalidInput, match="none below 0"):
        ImageClassifier().fit(images, [0, 1], np.full((10, 2), -1.0))
    with pytest.raises(InvalidType, match="uint8"):
        ImageClassifier().fit(images / 255, labels)
    with pytest.raises(InvalidInput, match="holds 0 images"):
        ImageClassifier().fit(images[:0], labels[:0])
    with pytest.raises(InvalidInput, match="has shape"):
        trained.predict(images[:, :8])


def test_a_plan_is_plain_numbers():
    assert ImageClassifier(width=np.int64(8))._plan() == ImagePlan(
        8, 20, 128, 3e-3, 0.02, 1, 0.1, ImageClassifier()._plan().seed
    )
