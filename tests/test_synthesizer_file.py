"""Synthesizers on disk: what is read is what was written, nothing exact is in it, ids must match.

A value passes the search for leaks as in test_nothing_exact_leaks.py.
"""

import copy
import json
import math
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cloister import DPGaussianMixture, PublicWhitening
from cloister.errors import InvalidInput, ModelFileError
from cloister.model_file import FORMAT
from cloister.neural import ImageLabeller, Probe, Synthesizer
from command_line import run_json
from private_objects import (
    mentions,
    numbers_in,
    runs_in,
    unexplained,
    values_of,
    values_of_file,
    windows_of,
)
from tiny_codec import TinyCodec, tiny_images

CLASSES = [3, 5, 8]
COUNTS = (1009, 1511, 2003)  # n = 4523, all primes, to recognise them


def of_counts(seed, counts):
    images, labels = tiny_images(3 * max(counts), CLASSES, seed=seed)
    chosen = [np.flatnonzero(labels == c)[:n] for c, n in zip(CLASSES, counts, strict=True)]
    order = np.random.default_rng(seed).permutation(np.concatenate(chosen))
    return images[order], labels[order]


@pytest.fixture(scope="module")
def data():
    return of_counts(1, COUNTS)


@pytest.fixture(scope="module")
def other_data():
    return of_counts(2, (1013, 1301, 1907))


def mixture(**options):
    return DPGaussianMixture(**{"epsilon": 3.0, "classes": CLASSES, "random_state": 0, **options})


def make(labeller=True, probe=None, **options):
    codec, other = TinyCodec(), TinyCodec(seed=1)
    second = ImageLabeller(other, mixture(), probe) if labeller else None
    return Synthesizer(codec, mixture(**options), codec, second)


@pytest.fixture(scope="module")
def fitted(data):
    return make().fit(*data)


@pytest.fixture
def saved(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    return tmp_path / "model"


def load(path, **options):
    parts = {"encoder": TinyCodec(), "decoder": TinyCodec(), "labeller_encoder": TinyCodec(seed=1)}
    return Synthesizer.load(path, **{**parts, **options})


def assert_same(loaded, model):
    for options in ({}, {"labels": "mixture", "temperature": 0.5}):
        parts = [one.sample(300, 1, return_proba=True, **options) for one in (loaded, model)]
        for one, other in zip(*parts, strict=True):
            np.testing.assert_array_equal(one, other)
    assert loaded.privacy_ == model.privacy_
    assert loaded.privacy_.statement() == model.privacy_.statement()
    assert loaded.image_shape_ == model.image_shape_
    assert (loaded.epsilon_, loaded.mixture.epsilon) == (3.0, 3.0)
    assert loaded.labeller_share == model.labeller_share


def test_what_is_read_is_what_was_written(fitted, saved, tmp_path):
    loaded = load(saved)
    assert_same(loaded, fitted)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()
    alone = load(saved, encoder=None, labeller_encoder=TinyCodec(seed=1))
    assert_same(alone, fitted)


@pytest.mark.usefixtures("one_torch_thread")
def test_without_a_labeller_and_with_a_probe(data, tmp_path):
    for model in (make(False), make(probe=Probe(hidden=8, max_epochs=1, patience=1))):
        model.fit(*data).save(tmp_path / "model")
        assert_same(load(tmp_path / "model"), model)


def test_a_labeller_of_the_same_encoder_and_a_whitening(data, tmp_path):
    codec = TinyCodec()
    public = codec.encode(tiny_images(100, seed=9)[0])
    whitening = PublicWhitening(public.mean(axis=0), public.std(axis=0))
    second = ImageLabeller(codec, mixture(row_transform=whitening))
    model = Synthesizer(codec, mixture(), codec, second).fit(*data)
    model.save(tmp_path / "model")
    assert_same(Synthesizer.load(tmp_path / "model", TinyCodec(), TinyCodec()), model)


def test_a_loaded_synthesizer_fits_again(saved, data):
    again = load(saved).fit(*data)
    assert again.privacy_.epsilon == pytest.approx(3.0, rel=1e-9)


def test_what_promises_nothing_is_not_saved(data, tmp_path):
    for options in ({"unsafe_noise_seed": 1}, {"epsilon": math.inf}):
        model = make(**options).fit(*data)
        with pytest.raises(InvalidInput, match="epsilon=inf"):
            model.save(tmp_path / "model")
        assert not (tmp_path / "model").exists()
        model.save(tmp_path / "model", allow_unsafe=True)
        loaded = load(tmp_path / "model")
        assert math.isinf(loaded.privacy_.epsilon)
        assert loaded.epsilon_ == options.get("epsilon", 3.0)
        (tmp_path / "model").unlink()


def test_info_describes_it(saved):
    told = run_json(f"info {saved}")
    assert told["kind"] == "synthesizer"
    assert told["parameters"]["epsilon"] == 3.0
    assert told["statement"] == load(saved).privacy_.statement()


# Other codecs are refused.


def test_codecs_of_another_id_are_refused(saved):
    other = TinyCodec(n_features=7)
    reshaped = TinyCodec()
    reshaped.image_shape = (4, 9)
    for options, message in [
        ({"decoder": other}, "^decoder: 'tiny-7-.*' was given, but .* fitted with 'tiny-8"),
        ({"decoder": None}, "^decoder=None, but"),
        ({"decoder": "dct"}, "^decoder: 'dct' was given"),
        ({"decoder": reshaped}, r"^decoder: .* of shape \(4, 9\), but .* for \(6, 6\)"),
        ({"encoder": other}, "^encoder: 'tiny-7"),
        ({"labeller_encoder": TinyCodec()}, "^labeller_encoder: 'tiny-8-.*-0' was given"),
    ]:
        with pytest.raises(ModelFileError, match=message):
            load(saved, **options)


def test_a_labeller_without_its_encoder_says_what_is_missing(saved):
    loaded = load(saved, labeller_encoder=None)
    assert len(loaded.sample(5, labels="mixture")[0]) == 5
    with pytest.raises(InvalidInput, match=r"^encoder=None, but .*labeller_encoder"):
        loaded.sample(5)


# Damaged files are refused.


def damaged(path, change):
    """Rewrite the header of a file as `change` leaves it."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    described = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][FORMAT])
    change(described["header"])
    save_file(load_file(path), path, metadata={FORMAT: json.dumps(described)})


def without_labeller(header):
    header["labeller"] = None


CHANGES = [
    (lambda h: h.pop("codec"), "codec=None"),
    (lambda h: h.pop("mixture"), "mixture=None"),
    (lambda h: h["privacy"].update(epsilon=0.1), "privacy is not that of its mixtures"),
    (lambda h: h["privacy"].update(row_purity="sure"), "row_purity"),
    (lambda h: h["codec"].update(row_purity="unchecked"), "privacy is not that"),
    (without_labeller, "privacy is not that"),
    (lambda h: h["labeller"].update(batch_size="many"), "batch_size"),
    (lambda h: h["labeller"]["mixture"]["parameters"].update(n_components=3), "weights"),
    (lambda h: h["parameters"].update(epsilon="much"), "epsilon"),
    (lambda h: h["privacy"].update(labeller=3), "damaged"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_damaged_headers_are_refused(saved, change, message):
    damaged(saved, change)
    with pytest.raises(ModelFileError, match=message):
        load(saved)


def test_damaged_arrays_and_other_files_are_refused(saved, fitted, tmp_path):
    arrays, content = load_file(saved), saved.read_bytes()
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    for name in ("mixture.means", "labeller.weights"):
        rest = {key: array for key, array in arrays.items() if key != name}
        save_file(rest, saved, metadata=metadata)
        with pytest.raises(ModelFileError, match=name.split(".")[1]):
            load(saved)
    saved.write_bytes(content[:-20])
    with pytest.raises(ModelFileError, match="damaged"):
        load(saved)
    fitted.mixture_.save(tmp_path / "mixture")
    with pytest.raises(ModelFileError, match="of kind 'mixture', but 'synthesizer'"):
        load(tmp_path / "mixture")
    with pytest.raises(ModelFileError, match="no file"):
        load(tmp_path / "none")


# Nothing exact leaks.


def inside(model):
    """Everything inside a synthesizer but the public codecs, which are the caller's own."""
    values = {k: v for k, v in vars(model).items() if k not in ("encoder", "decoder", "labeller")}
    for name in ("labeller", "labeller_"):
        labeller = getattr(model, name)
        values[name] = {k: v for k, v in vars(labeller).items() if k != "encoder"}
    return values_of(values)


def test_every_attribute_is_public_or_noisy(data, other_data):
    first, again, other = (inside(make().fit(*rows)) for rows in (data, data, other_data))
    assert len(first) > 200
    assert unexplained(first, again, other) == []
    assert mentions(first, (*COUNTS, sum(COUNTS))) == []


def test_every_byte_of_a_file_is_public_or_noisy(data, other_data, tmp_path):
    secrets, values, contents = (*COUNTS, sum(COUNTS)), [], []
    for number, rows in enumerate((data, data, other_data)):
        path = tmp_path / str(number)
        make().fit(*rows).save(path)
        values.append(values_of_file(path))
        contents.append(path.read_bytes())
    assert len(values[0]) > 200
    assert unexplained(*values) == []
    assert mentions(values[0], secrets) == []
    # Of 16 byte windows of an image, those of one brightness would be found in any file.
    windows = {w for w in windows_of(data[0], TinyCodec().encode(data[0])) if len(set(w)) > 4}
    for content in (contents[0], pickle.dumps(without_count(make().fit(*data)))):
        assert runs_in(content, windows) == []
    shared = set(numbers_in(contents[0], secrets)) & set(numbers_in(contents[1], secrets))
    assert shared == set()


def without_count(model):
    """The test's codec counts the images that it encoded: not for the synthesizer to hide."""
    for codec in (model.encoder, model.labeller.encoder, model.labeller_.encoder):
        codec.encoded = 0
    return model


def test_pickles_and_copies_sample_the_same(fitted):
    for twin in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert_same(twin, fitted)


def test_a_planted_leak_is_found(data, other_data):
    models = [make().fit(*rows) for rows in (data, data, other_data)]
    for model, rows in zip(models, (data, data, other_data), strict=True):
        model.labeller_.n_images_ = len(rows[0])
    values = [inside(model) for model in models]
    assert len(unexplained(*values)) == 1
    assert mentions(values[0], (sum(COUNTS),))
