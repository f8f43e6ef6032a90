"""What synthesizers refuse: before an image is encoded or anything is spent."""

import numpy as np
import pytest
from sklearn.base import clone

from cloister import Budget
from cloister.errors import BudgetExceeded, InvalidInput, InvalidType
from cloister.neural import ImageLabeller, Synthesizer
from tiny_codec import TinyCodec
from tiny_synthesizer import CLASSES, images_and_labels, mixture, synthesizer


@pytest.fixture(scope="module")
def data():
    return images_and_labels()


@pytest.fixture(scope="module")
def fitted(data):
    return synthesizer().fit(*data)


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
        (images / 255, InvalidType, "^images must be .* uint8 .*got float64"),
        (images[:, :5], InvalidInput, r"^images: of image shape \(5, 6\)"),
        (images[0], InvalidInput, "^images has shape"),
        (images[:0], InvalidInput, "^images holds 0 images"),
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


def test_a_labeller_of_another_image_shape_is_refused_before_anything_is_paid(data, tmp_path):
    ledger = Budget(tmp_path / "ledger", "faces", 9.0, 1e-5)
    codec, wide = TinyCodec(), TinyCodec(image_shape=(9, 9))
    model = Synthesizer(codec, mixture(budget=ledger), codec, ImageLabeller(wide, mixture()))
    with pytest.raises(InvalidInput, match=r"^images: of image shape \(6, 6\).* \(9, 9\)"):
        model.fit(*data)
    assert ledger.fits() == []
    assert codec.encoded == 0
