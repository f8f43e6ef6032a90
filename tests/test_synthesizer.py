"""Synthesizer: what it fits, spends, states, refuses and draws."""

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from sklearn.base import clone

from cloister import Budget, DPGaussianMixture
from cloister.errors import BudgetExceeded, InvalidInput, InvalidType, PublicClassesWarning
from cloister.neural import ImageLabeller, Synthesizer
from cloister.privacy.release import Release
from noise_audit import uncovered_events
from paid_fits import QUESTIONS, interrupt_fit, questions, rounds
from tiny_codec import TinyCodec, tiny_images

CLASSES = [3, 5, 8]
N = 900


@pytest.fixture(scope="module")
def data():
    return tiny_images(N, CLASSES)


def mixture(**options):
    return DPGaussianMixture(
        **{"epsilon": 3.0, "classes": CLASSES, "random_state": 0, "n_hint": N, **options}
    )


def synthesizer(labeller=True, codec=None, share=0.4, **options):
    codec = codec or TinyCodec()
    other = ImageLabeller(TinyCodec(seed=1), mixture(epsilon=99.0)) if labeller else None
    return Synthesizer(codec, mixture(**options), codec, other, share)


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


# What it refuses, before an image is encoded.


def test_bad_arguments_are_refused_before_an_image_is_encoded(data, tmp_path):
    images, labels = data
    codec, other = TinyCodec(), TinyCodec(seed=1)
    ledger = Budget(tmp_path / "ledger", "faces", 9.0, 1e-5)
    own, labeller = mixture(budget=ledger), ImageLabeller(codec, mixture())
    small, large, narrow = TinyCodec(), TinyCodec(), TinyCodec()
    small.image_shape, large.n_features = (5, 5), 9
    narrow.encoder_id = "another"
    bad = [
        ((codec, own, other), InvalidInput, "^decoder 'tiny-8-.*-1' decodes embeddings of"),
        ((codec, own, narrow), InvalidInput, "encoder 'another', but"),
        ((codec, own, large), InvalidInput, "takes 9 features, but .* makes 8"),
        ((codec, own, small), InvalidInput, r"^decoder: of image shape \(5, 5\)"),
        ((codec, own, "png"), InvalidType, "^decoder must be a decoder, got str"),
        (("vgg", own, codec), InvalidType, "^encoder must be an encoder, got str"),
        ((codec, "gmm", codec), InvalidType, "^mixture must be a cloister.DPGaussianMixture"),
        ((codec, clone(own).set_params(encoder_id="x"), codec), InvalidInput, "^mixture has enc"),
        ((codec, clone(own).set_params(epsilon=-1.0), codec), InvalidInput, "^epsilon=-1"),
        ((codec, clone(own).set_params(n_components=0), codec), InvalidInput, "n_components"),
        ((codec, own, codec, "probe"), InvalidType, "^labeller must be an ImageLabeller"),
        ((codec, own, codec, labeller, 1.0), InvalidInput, "^labeller_share=1.0 leaves nothing"),
        ((codec, own, codec, labeller, "half"), InvalidType, "^labeller_share must be"),
        (
            (codec, own, codec, ImageLabeller(codec, mixture(class_prior=[1.0]))),
            InvalidInput,
            "class_prior",
        ),
        (
            (codec, own, codec, ImageLabeller(codec, mixture(classes=[5, 3, 8]))),
            InvalidInput,
            r"^labeller: its mixture has classes=\[5, 3, 8\]",
        ),
        (
            (codec, mixture(), codec, ImageLabeller(codec, mixture(budget=ledger))),
            InvalidInput,
            "^labeller: its mixture has budget=",
        ),
        ((codec, mixture(epsilon=9.5, budget=ledger), codec, labeller), BudgetExceeded, "no image"),
    ]
    for arguments, error, message in bad:
        with pytest.raises(error, match=message):
            Synthesizer(*arguments).fit(images, labels)
    good = Synthesizer(codec, own, codec, labeller)
    for wrong, error, message in [
        (images / 255, InvalidType, "^images must be .* uint8, got float64"),
        (images[:, :5], InvalidInput, r"^images: of image shape \(5, 6\)"),
        (images[0], InvalidInput, "^images has shape"),
        (images[:0], InvalidInput, "^images has shape"),
        (np.stack([images] * 2, axis=3), InvalidInput, "colours come last"),
    ]:
        with pytest.raises(error, match=message):
            good.fit(wrong, labels)
    assert codec.encoded == 0
    assert ledger.mu_squared_spent == 0
    assert ledger.fits() == []
    good.fit(images, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"covariance_type": "round"}, "covariance_type"),
        ({"tilt": True, "n_components": 2}, "^tilt=True"),
        ({"plan_overrides": {"shares": {"mean": 1.0}}}, "shares"),
        ({"clip_norm": 0.0}, "^clip_norm=0"),
        ({"row_transform": "cube"}, "row_transform"),
        ({"row_transform": "root", "clip_norm": 2.0}, "^clip_norm=2"),
        ({"class_prior": [0.5, 0.3, 0.2], "classes": None}, "class_prior"),
    ],
)
def test_a_bad_labeller_is_refused_before_the_first_fit_is_paid_for(
    data, tmp_path, options, message
):
    codec, ledger = TinyCodec(), Budget(tmp_path / "ledger", "faces", 3.0, 1e-5)
    own = mixture(budget=ledger, classes=[*CLASSES, 9])  # a class that has no image
    labeller = ImageLabeller(codec, mixture(**{"classes": None, **options}))
    with pytest.raises(InvalidInput, match=message):
        Synthesizer(codec, own, codec, labeller).fit(*data)
    assert codec.encoded == 0
    assert ledger.fits() == []


def test_bad_labels_cost_nothing(data, tmp_path):
    images, labels = data
    ledger = Budget(tmp_path / "ledger", "faces", 3.0, 1e-5)
    model = synthesizer(budget=ledger)
    with pytest.raises(InvalidInput, match=r"^y has 899 labels"):
        model.fit(images, labels[1:])
    with pytest.raises(InvalidInput, match="outside classes"):
        model.fit(images, labels + 1)
    assert ledger.mu_squared_spent == 0


@pytest.mark.parametrize("wrong", [np.zeros((1, 8)), np.full((256, 7), 0.1)])
def test_an_encoder_that_breaks_its_promise_is_refused(data, wrong, monkeypatch):
    codec = TinyCodec()
    monkeypatch.setattr(codec, "encode", lambda batch: wrong)
    with pytest.raises(InvalidInput, match=r"^encoder 'tiny.* made an array of shape"):
        synthesizer(False, codec).fit(*data)


def test_a_decoder_that_breaks_its_promise_is_refused(data, monkeypatch):
    model = synthesizer(False).fit(*data)
    monkeypatch.setattr(model.decoder, "decode", lambda rows: np.zeros((len(rows), 6, 6)))
    with pytest.raises(InvalidInput, match=r"^decoder 'tiny.* dtype float64"):
        model.sample(3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_samples": 0}, InvalidInput, "^n_samples=0"),
        ({"temperature": 0}, InvalidInput, "^temperature=0"),
        ({"random_state": -1}, InvalidInput, "^random_state=-1"),
        ({"labels": "mine"}, InvalidInput, "^labels='mine'"),
        ({"return_proba": "no"}, InvalidType, "^return_proba must be"),
    ],
)
def test_bad_draws_are_refused_at_once(fitted, options, error, message):
    with pytest.raises(error, match=message):
        fitted.sample_batches(**{"n_samples": 1, **options})


def test_a_labeller_that_is_not_there_is_missed(data):
    with pytest.raises(InvalidInput, match=r"^labels='agreeing' needs a labeller"):
        synthesizer(False).fit(*data).sample(labels="agreeing")


# The ledger.


def test_a_ledger_of_epsilon_pays_for_both_fits_and_no_more(data, tmp_path):
    ledger = Budget(tmp_path / "ledger", "faces", 3.0, 1e-5)
    model = synthesizer(budget=ledger, fit_name="portraits").fit(*data)
    assert [fit.name for fit in ledger.fits()] == ["portraits", "portraits labeller"]
    assert {fit.state for fit in ledger.fits()} == {"finished"}
    assert ledger.mu_squared_spent <= ledger.mu_total**2
    assert ledger.epsilon_spent() == pytest.approx(3.0, rel=1e-9)
    again = synthesizer(budget=ledger, fit_name="portraits").fit(*data)
    np.testing.assert_array_equal(again.mixture_.means_, model.mixture_.means_)
    np.testing.assert_array_equal(again.labeller_.mixture_.means_, model.labeller_.mixture_.means_)
    with pytest.raises(BudgetExceeded, match="no image was read"):
        synthesizer(budget=ledger, fit_name="more", epsilon=1.0).fit(*data)


@pytest.mark.parametrize("name", ["portraits", None])
def test_a_fit_that_fails_between_the_two_is_taken_up_again(data, tmp_path, name):
    ledger = Budget(tmp_path / "ledger", "faces", 3.0, 1e-5)
    with questions() as asked:
        synthesizer(False).fit(*data)
    of_images = len(asked)
    assert set(asked) <= set(QUESTIONS)
    codec = TinyCodec()
    model = synthesizer(codec=codec, budget=ledger, fit_name=name, random_state=None)
    with questions(interrupt=of_images + 3), pytest.raises(KeyboardInterrupt) as caught:
        model.fit(*data)
    assert not hasattr(model, "mixture_")
    note = caught.value.__notes__[0]
    found = ledger.fits()[0].name
    assert f"fit_name='{found}'" in note
    assert found == name or name is None
    first = rounds(ledger)
    assert len(first) == of_images + 2
    model.set_params(mixture=clone(model.mixture).set_params(fit_name=found)).fit(*data)
    kept = rounds(ledger)
    assert {key: kept[key] for key in first} == first  # nothing was drawn twice
    assert ledger.epsilon_spent() == pytest.approx(3.0, rel=1e-9)
    assert model.privacy_.epsilon <= 3.0


def test_an_interrupted_first_fit_is_taken_up_again(data, tmp_path):
    ledger = Budget(tmp_path / "ledger", "faces", 3.0, 1e-5)
    model = synthesizer(budget=ledger, fit_name="portraits")
    interrupt_fit(model, *data, at=2)
    first = rounds(ledger)
    model.fit(*data)
    assert first.items() <= rounds(ledger).items()
