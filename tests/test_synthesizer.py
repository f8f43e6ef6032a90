"""Synthesizer: what it fits, spends, states, refuses and draws."""

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from sklearn.base import clone

from cloister.errors import InvalidInput, PublicClassesWarning
from cloister.neural import ImageLabeller, Synthesizer
from cloister.privacy.release import Release
from noise_audit import uncovered_events
from tiny_codec import TinyCodec
from tiny_synthesizer import CLASSES, N, images_and_labels, mixture, synthesizer


@pytest.fixture(scope="module")
def data():
    return images_and_labels()


@pytest.fixture(scope="module")
def fitted(data):
    return synthesizer().fit(*data)


def test_samples_look_like_the_images_of_their_class(fitted, data):
    images, labels = fitted.sample(600, random_state=1)
    assert images.shape == (600, 6, 6)
    assert images.dtype == np.uint8
    assert set(labels.tolist()) == set(CLASSES)
    for name in CLASSES:
        means = [data[0][data[1] == c].mean(axis=0) for c in CLASSES]
        error = [np.abs(images[labels == name].mean(axis=0) - mean).mean() for mean in means]
        assert CLASSES[int(np.argmin(error))] == name
        assert min(error) < 25


def test_a_mixture_is_fitted_to_what_the_encoder_makes(data):
    codec = TinyCodec()
    own = synthesizer(False, codec, unsafe_noise_seed=4).fit(*data)
    direct = mixture(unsafe_noise_seed=4, tilt=False).fit(codec.encode(data[0]), data[1])
    np.testing.assert_array_equal(own.mixture_.means_, direct.means_)
    first_seed = int(np.random.SeedSequence([7, 0]).generate_state(1, np.uint64)[0])
    rows, labels = direct.sample(1024, first_seed)
    images, found = own.sample(1024, 7)
    np.testing.assert_array_equal(images, codec.decode(rows))
    np.testing.assert_array_equal(found, labels)


def test_nothing_given_is_changed_and_images_are_encoded_once(data):
    codec = TinyCodec()
    own = mixture(epsilon=2.0)
    before = own.get_params()
    model = Synthesizer(codec, own, codec, ImageLabeller(codec, mixture())).fit(*data)
    assert codec.encoded == N
    assert own.get_params() == before
    assert not hasattr(own, "means_")
    assert not hasattr(model.labeller, "mixture_")
    assert model.mixture_.encoder_id == model.labeller_.mixture_.encoder_id == codec.id
    assert not model.mixture_.tilt
    assert model.labeller_.mixture_.tilt == "auto"
    assert clone(model).get_params()["labeller_share"] == 0.5


@pytest.mark.parametrize("cache", [True, False])
def test_a_mixture_without_cache_encodes_once_too(data, cache):
    codec = TinyCodec()
    synthesizer(False, codec, cache=cache).fit(*data)
    assert codec.encoded == N


def test_norms_come_from_the_encoder_unless_given(data):
    codec = TinyCodec()
    codec.norm_bound = 3.0
    assert synthesizer(False, codec).fit(*data).mixture_.clip_norm == 3.0
    assert synthesizer(False, codec, clip_norm=2.0).fit(*data).mixture_.clip_norm == 2.0
    with pytest.raises(InvalidInput, match=r"^mixture: row_transform='root' .*norm up to 3"):
        synthesizer(False, codec, row_transform="root").fit(*data)


# What it spends and states.


@pytest.mark.parametrize("labeller", [False, True])
def test_every_release_is_noisy_stated_and_together_they_cost_epsilon(data, labeller, monkeypatch):
    made, original = [], Release._release

    def recorded(self, event, *rest):
        made.append((event.sensitivity, event.sigma))
        return original(self, event, *rest)

    monkeypatch.setattr(Release, "_release", recorded)
    model = synthesizer(labeller, epsilon=1.5, delta=1e-6).fit(*data)
    guarantee = model.privacy_
    assert [(event.sensitivity, event.sigma) for event in guarantee.events] == made
    assert (
        any(event.name.startswith("labeller: gradient") for event in guarantee.events) == labeller
    )
    assert 1.5 * (1 - 1e-9) <= guarantee.epsilon <= 1.5
    assert guarantee.delta == 1e-6
    # Another accountant, from the noise that was added: deviations of Gaussians add up in inverse
    # squares.
    deviation = 1 / math.sqrt(sum((sensitivity / sigma) ** 2 for sensitivity, sigma in made))
    oracle = privacy_loss_distribution.from_gaussian_mechanism(deviation)
    assert oracle.get_epsilon_for_delta(1e-6) == pytest.approx(1.5, rel=1e-3)
    if labeller:
        parts = [model.mixture_.privacy_.mu**2, model.labeller_.privacy_.mu**2]
        assert parts[1] / sum(parts) == pytest.approx(0.4, rel=1e-6)


def test_noise_is_of_the_size_that_events_claim(data):
    assert uncovered_events(synthesizer(), *data) == []


def test_the_audit_sees_noise_that_is_left_out(data, monkeypatch):
    monkeypatch.setattr(
        "cloister.privacy.release.rounded_gaussian", lambda _, n, **__: np.zeros(n, np.int64)
    )
    assert uncovered_events(synthesizer(), *data)


def test_seeded_noise_differs_between_the_fits_and_promises_nothing(data):
    codec = TinyCodec()
    both = [
        Synthesizer(
            codec,
            mixture(unsafe_noise_seed=7),
            codec,
            ImageLabeller(codec, mixture(tilt=False)),
            0.5,
        ).fit(*data)
        for _ in range(2)
    ]
    first, second = both[0].mixture_.means_, both[0].labeller_.mixture_.means_
    np.testing.assert_array_equal(first, both[1].mixture_.means_)
    assert np.abs(first - second).max() > 1e-3  # the same rows, shares and questions
    assert both[0].privacy_.epsilon == math.inf
    assert "NOT differentially private" in both[0].privacy_.statement()


def test_the_statement_says_what_it_covers(data):
    texts = {}
    for purity in ("strict", "measured", "unchecked"):
        codec = TinyCodec(row_purity=purity)
        texts[purity] = synthesizer(codec=codec).fit(*data).privacy_.statement()
        assert "labeller: gradient 1" in texts[purity]
        assert f"decoder '{codec.id}' the public data is 'none'" in texts[purity]
        assert "does not cover error messages" in texts[purity]
        alone = synthesizer(False, codec).fit(*data).privacy_.statement()
        assert "labeller" not in alone
    assert "one image with its label" in texts["strict"]
    assert "covers the images themselves" in texts["strict"]
    assert f"'{TinyCodec(seed=1).id}'" in texts["strict"]  # the labeller's encoder
    assert "one embedding with its label" in texts["measured"]
    assert "measuring is no proof" in texts["measured"]
    assert "stated for the embeddings as the data set: if the encoder" in texts["unchecked"]


def test_the_weaker_encoder_decides_what_is_covered(data):
    codec, other = TinyCodec(), TinyCodec(seed=1, row_purity="unchecked")
    model = Synthesizer(codec, mixture(), codec, ImageLabeller(other, mixture())).fit(*data)
    assert model.privacy_.row_purity == "unchecked"
    assert "one embedding" in model.privacy_.statement()


def test_classes_read_off_the_labels_are_stated(data):
    with pytest.warns(PublicClassesWarning):
        model = synthesizer(False, classes=None).fit(*data)
    assert model.privacy_.classes_from_data
    assert "which was read off the data and is thereby public" in model.privacy_.statement()
    model = Synthesizer(
        model.encoder, mixture(classes=None), model.encoder, ImageLabeller(model.encoder, mixture())
    ).fit(*data)  # the labeller's list serves both
    assert not model.privacy_.classes_from_data


def test_images_without_labels_are_one_class(data):
    model = synthesizer(False, classes=None).fit(data[0])
    assert set(model.sample(20)[1].tolist()) == {0}


# What it draws.


def test_a_longer_draw_begins_with_the_shorter(fitted):
    long = fitted.sample(2500, 3, return_proba=True)
    for n in (1, 1024, 1025, 2047):
        for part, whole in zip(fitted.sample(n, 3, return_proba=True), long, strict=True):
            np.testing.assert_array_equal(part, whole[:n])
    batches = list(fitted.sample_batches(2500, 3))
    assert [len(images) for images, _ in batches] == [1024, 1024, 452]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), long[1])
    assert not np.array_equal(fitted.sample(50, 4)[0], long[0][:50])
    assert len(np.unique(long[0].reshape(2500, -1), axis=0)) > 2490  # no block is drawn twice


def test_labels_are_the_labellers_the_mixtures_or_both(fitted):
    hot = {"random_state": 5, "temperature": 100.0}  # so that images of one class look like another
    images, by_labeller, proba = fitted.sample(3000, **hot, labels="labeller", return_proba=True)
    same, by_mixture, posterior = fitted.sample(3000, **hot, labels="mixture", return_proba=True)
    np.testing.assert_array_equal(images, same)
    np.testing.assert_array_equal(by_labeller, fitted.labeller_.predict(images))
    np.testing.assert_array_equal(proba, fitted.labeller_.predict_proba(images))
    np.testing.assert_allclose(posterior.sum(axis=1), 1)
    assert not np.array_equal(proba, posterior)
    agree = by_labeller == by_mixture
    assert 0 < agree.sum() < 3000
    kept, both = fitted.sample(int(agree.sum()), **hot, labels="agreeing")
    np.testing.assert_array_equal(kept, images[agree])
    np.testing.assert_array_equal(both, by_mixture[agree])
    np.testing.assert_array_equal(fitted.sample(9, **hot)[1], by_labeller[:9])


def test_colder_samples_lie_nearer_to_their_means(fitted):
    def spread(temperature):
        images, labels = fitted.sample(500, 2, temperature, labels="mixture")
        return sum(images[labels == name].std(axis=0).sum() for name in CLASSES)

    assert spread(0.01) < 0.2 * spread(1.0)


def test_labels_that_never_agree_are_refused_in_the_end(fitted, monkeypatch):
    monkeypatch.setattr(
        ImageLabeller, "predict_proba", lambda _, images: np.eye(3)[np.zeros(len(images), int)]
    )
    assert set(fitted.sample(50, labels="agreeing")[1].tolist()) == {3}
    monkeypatch.setattr(fitted, "classes_", np.array([99, 98, 97]))
    with pytest.raises(InvalidInput, match=r"^labels='agreeing' keeps 0 of 10240"):
        fitted.sample(50, labels="agreeing")
