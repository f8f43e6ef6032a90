"""ImageLabeller: a private classifier of images, by a mixture's Bayes rule or by a probe."""

import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from cloister import Budget, DPGaussianMixture
from cloister.errors import InvalidInput, InvalidType, MissingDependency
from cloister.neural import ImageLabeller, Probe, Synthesizer
from cloister.neural.encoded_images import EncodedImages, encode, stored_images
from noise_audit import uncovered_events
from tiny_codec import TinyCodec, tiny_images

CLASSES = [3, 5, 8]


@pytest.fixture(scope="module")
def data():
    return tiny_images(900, CLASSES)


def mixture(**options):
    return DPGaussianMixture(
        **{"epsilon": 3.0, "classes": CLASSES, "random_state": 0, "n_hint": 900, **options}
    )


def test_it_is_the_mixtures_rule_on_embeddings(data):
    codec = TinyCodec()
    labeller = ImageLabeller(codec, mixture(unsafe_noise_seed=1)).fit(*data)
    direct = mixture(unsafe_noise_seed=1).fit(codec.encode(data[0]), data[1])
    fresh, truth = tiny_images(300, CLASSES, seed=4)
    np.testing.assert_array_equal(
        labeller.predict_proba(fresh), direct.predict_proba(codec.encode(fresh))
    )
    np.testing.assert_array_equal(labeller.predict(fresh), direct.predict(codec.encode(fresh)))
    assert labeller.score(fresh, truth) > 0.95
    assert labeller.classes_.tolist() == CLASSES


def test_it_costs_the_mixtures_epsilon_and_says_so(data, tmp_path):
    ledger = Budget(tmp_path / "ledger", "faces", 3.0, 1e-5)
    labeller = ImageLabeller(TinyCodec(), mixture(budget=ledger)).fit(*data)
    assert labeller.privacy_.epsilon == pytest.approx(3.0, rel=1e-9)
    assert labeller.privacy_.events == labeller.mixture_.privacy_.events
    assert "covers the images themselves" in labeller.privacy_.statement()
    assert "ecoder" not in labeller.privacy_.statement()
    assert ledger.epsilon_spent() == pytest.approx(3.0, rel=1e-9)
    assert uncovered_events(ImageLabeller(TinyCodec(), mixture()), *data) == []


@pytest.mark.usefixtures("one_torch_thread")
def test_a_probe_may_answer_instead(data):
    probe = Probe(hidden=16, max_epochs=1)
    labeller = ImageLabeller(TinyCodec(), mixture(), probe).fit(*data)
    assert not hasattr(probe, "coefs_")
    assert labeller.classifier_.privacy_ == labeller.mixture_.privacy_
    fresh, truth = tiny_images(300, CLASSES, seed=4)
    rows = TinyCodec().encode(fresh)
    np.testing.assert_array_equal(
        labeller.predict_proba(fresh), labeller.classifier_.predict_proba(rows)
    )
    assert labeller.score(fresh, truth) > 0.9


def test_embeddings_do_not_depend_on_batches_or_chunks(data):
    images, codec = data[0], TinyCodec()
    whole = codec.encode(images)
    for batch_size, rows in [(1, 7), (64, 900), (333, 100), (1000, None)]:
        for keep in (False, True):
            source = EncodedImages(stored_images(images), codec, batch_size, keep=keep)
            codec.encoded = 0
            for _ in range(2):
                chunks = [(first, part.copy()) for first, part in source.chunks(rows)]
                assert [first for first, _ in chunks] == list(range(0, 900, rows or 900))
                np.testing.assert_array_equal(np.concatenate([c for _, c in chunks]), whole)
            assert codec.encoded == 900 * (1 if keep else 2)
    np.testing.assert_array_equal(encode(codec, images, 50), whole)


def test_a_read_that_is_broken_off_keeps_nothing(data):
    source = EncodedImages(stored_images(data[0]), TinyCodec(), 100, keep=True)
    next(iter(source.chunks(50)))
    parts = [part for _, part in source.chunks(900)]
    np.testing.assert_array_equal(parts[0], TinyCodec().encode(data[0]))


def test_bad_arguments_are_refused_before_an_image_is_encoded(data, monkeypatch):
    codec = TinyCodec()
    for arguments, error, message in [
        (("vgg", mixture()), InvalidType, "^encoder must be an encoder, got str, which lacks"),
        ((TinyCodec(row_purity="sure"), mixture()), InvalidInput, "row_purity is 'sure'"),
        ((codec, Probe()), InvalidType, "^mixture must be"),
        ((codec, mixture(epsilon=0)), InvalidInput, "^epsilon=0"),
        ((codec, mixture(tilt=True, n_components=2)), InvalidInput, "^tilt=True"),
        ((codec, mixture(), "svm"), InvalidType, "^classifier must be .*Probe, got str"),
        ((codec, mixture(), Probe(hidden=0)), InvalidInput, "hidden"),
    ]:
        with pytest.raises(error, match=message):
            ImageLabeller(*arguments).fit(*data)
    with pytest.raises(InvalidInput, match=r"^batch_size=0"):
        ImageLabeller(codec, mixture(), batch_size=0).fit(*data)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match="torch"):
        ImageLabeller(codec, mixture(), Probe()).fit(*data)
    assert codec.encoded == 0
    with pytest.raises(NotFittedError):
        ImageLabeller(codec, mixture()).predict(data[0])


def test_rows_of_a_purer_encoder_of_one_id_are_not_taken_from_another(data):
    images, labels = data
    batched, strict = TinyCodec(row_purity="unchecked"), TinyCodec(row_purity="strict")
    labeller = ImageLabeller(strict, mixture())
    model = Synthesizer(batched, mixture(), batched, labeller).fit(images, labels)
    assert strict.encoded == len(images)
    assert model.labeller_.privacy_.row_purity == "strict"
    assert model.privacy_.row_purity == "unchecked"
