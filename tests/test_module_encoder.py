"""The encoder of any module: evaluation mode, fixed batches, public norm, an id that tells."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from cloister.errors import DeviceError, InvalidInput, InvalidType
from cloister.neural.encoders import Encoder, ModuleEncoder, Preprocessing, TextTokens
from cloister.neural.network import state_digest

pytestmark = pytest.mark.usefixtures("one_torch_thread")
GREY = np.random.default_rng(0).integers(0, 256, (11, 9, 9), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (11, 9, 9, 3), dtype=np.uint8)


class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)
        )
        self.layers[1].running_mean.normal_()
        self.shapes, self.grads = [], []

    def forward(self, pixels):
        self.shapes.append(tuple(pixels.shape))
        self.grads.append(torch.is_grad_enabled())
        return self.layers(pixels).mean(dim=(2, 3))


SMALL = Preprocessing(size=8, mean=0.5, std=0.25)


def make(module=None, **options):
    options = {"preprocessing": SMALL, "batch_size": 4, **options}
    return ModuleEncoder(Net() if module is None else module, **options)


def test_embeddings_are_those_of_the_module_in_evaluation_mode_at_unit_norm():
    net = Net().train()
    found = make(net).encode(COLOUR)
    with torch.no_grad():
        expected = Net().eval()(SMALL.prepare(COLOUR)).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert found.shape == (11, 4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_it_is_an_encoder():
    encoder = make()
    assert isinstance(encoder, Encoder)
    assert (encoder.n_features, encoder.norm_bound, encoder.modality) == (4, 1.0, "image")


@pytest.mark.parametrize("strict", [False, True])
def test_every_call_of_the_module_sees_one_shape_and_no_gradients(strict):
    net = Net()
    encoder = make(net, strict=strict)
    for n in (11, 4, 1, 3):
        encoder.encode(COLOUR[:n])
    assert set(net.shapes) == {(1 if strict else 4, 3, 8, 8)}
    assert not any(net.grads)


def test_rows_are_the_same_whatever_the_call_and_the_container():
    encoder = make()
    expected = encoder.encode(COLOUR)
    alone = np.concatenate([encoder.encode(COLOUR[i : i + 1]) for i in range(11)])
    np.testing.assert_array_equal(alone, expected)
    np.testing.assert_array_equal(encoder.encode(list(COLOUR)), expected)
    prepared = [encoder.prepare(image) for image in COLOUR]
    np.testing.assert_array_equal(encoder.encode_prepared(prepared), expected)
    assert encoder.encode(COLOUR[:0]).shape == (0, 4)


@pytest.mark.parametrize("norm", ["unit", 0.5, 3.0])
def test_the_norm_holds_in_exact_arithmetic(norm):
    encoder = make(norm=norm)
    rows = encoder.encode(np.concatenate([COLOUR] * 20)).astype(np.float64)
    norms = np.sqrt(np.square(rows).sum(axis=1))
    assert (norms <= encoder.norm_bound).all()
    if norm == "unit":
        assert norms.min() > 1 - 1e-6
    if norm == 0.5:
        assert (norms > 0.499).any()


def test_rows_within_the_bound_keep_their_values():
    raw = make(norm=1e6).encode(COLOUR)
    kept = make(norm=float(np.linalg.norm(raw, axis=1).max()) * 1.1).encode(COLOUR)
    np.testing.assert_array_equal(kept, raw)
    with torch.no_grad():
        np.testing.assert_allclose(raw, Net().eval()(SMALL.prepare(COLOUR)).numpy(), atol=1e-5)


def test_a_zero_embedding_stays_zero():
    zero = ModuleEncoder(lambda x: np.zeros((len(x), 3)), id="zero", n_features=3)
    assert not zero.encode(GREY).any()


def test_a_module_put_back_into_training_mode_is_switched_again():
    net = Net()
    encoder = make(net)
    expected = encoder.encode(COLOUR)
    net.train()
    np.testing.assert_array_equal(encoder.encode(COLOUR), expected)
    assert not any(part.training for part in net.modules())


def test_a_part_that_stays_in_training_mode_is_refused():
    class Stubborn(nn.Dropout):
        def train(self, mode=True):
            return super().train(True)

    with pytest.raises(InvalidInput, match=r"part '0' \(Stubborn\) stays in training mode"):
        make(nn.Sequential(Stubborn(), nn.Flatten()))


def test_statistics_of_the_batch_and_changing_buffers_are_refused():
    plain = nn.BatchNorm2d(3, track_running_stats=False)
    with pytest.raises(InvalidInput, match=r"part '0' \(BatchNorm2d\).*track_running_stats"):
        make(nn.Sequential(plain, nn.AdaptiveAvgPool2d(1)))

    class Counting(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, pixels):
            self.seen += 1
            return super().forward(pixels)

    with pytest.raises(InvalidInput, match="changed its own weights or buffers"):
        make(Counting())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_no_number_is_refused(value):
    def broken(pixels):
        rows = np.ones((len(pixels), 2))
        rows[pixels.reshape(len(pixels), -1).max(axis=1) == 255, 1] = value
        return rows

    pixels = np.zeros((9, 4, 4), np.uint8)
    encoder = ModuleEncoder(broken, id="broken", n_features=2, batch_size=4)
    encoder.encode(pixels)
    pixels[6] = 255
    with pytest.raises(InvalidInput, match="row 6 of the batch holds NaN or infinity"):
        encoder.encode(pixels)


def test_the_id_tells_architecture_weights_preprocessing_norm_and_precision():
    known = make().id
    assert known.startswith("Net; sha256 ")
    assert "rgb, 8x8, bicubic, mean 0.5, std 0.25; unit norm" in known
    assert make().id == known
    others = [
        make(Net(seed=1)),
        make(id="other"),
        make(preprocessing=Preprocessing(size=9)),
        make(preprocessing=Preprocessing(size=8, mean=0.5, std=0.25, antialias=False)),
        make(norm=2.0),
        make(precision="bfloat16"),
    ]
    assert len({known, *(other.id for other in others)}) == 7
    assert make(batch_size=5, strict=True).id == known  # these change no more than rounding
    long = Preprocessing(size=8, resize=9, mean=(0.123456789,) * 2 + (0.2,), std=(0.3, 0.4, 0.5))
    named = make(id="n" * 150, preprocessing=long)
    assert len(named.id) <= 255
    assert "preprocessing sha256" in named.id


def test_the_digest_is_of_names_dtypes_shapes_and_bytes_in_any_order():
    class Holder(nn.Module):
        def __init__(self, **tensors):
            super().__init__()
            for name, tensor in tensors.items():
                self.register_buffer(name, tensor)

    a, b = torch.arange(6.0), torch.ones(2, 2)
    known = state_digest(Holder(a=a, b=b))
    assert state_digest(Holder(b=b, a=a)) == known
    assert state_digest(Holder(a=torch.arange(12.0)[::2] / 2, b=b)) == known  # another layout
    changed = [
        Holder(a=b, b=a),
        Holder(a=a.reshape(2, 3), b=b),
        Holder(a=a.to(torch.int32), b=b),
        Holder(a=a + 1e-6, b=b),
        Holder(a=a.bfloat16(), b=b),
    ]
    assert len({known, *map(state_digest, changed)}) == 6


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_is_used_and_close(precision):
    kinds = []

    class Watching(Net):
        def forward(self, pixels):
            kinds.append(self.layers[0](pixels).dtype)
            return super().forward(pixels)

    found = make(Watching(), precision=precision).encode(COLOUR)
    assert set(kinds) == {getattr(torch, precision)}
    assert found.dtype == np.float32
    exact = make().encode(COLOUR)
    assert 0 < np.abs(found - exact).max() < 0.05


def test_functions_get_pixels_and_need_no_torch():
    code = (
        "import sys, numpy as np\n"
        "from cloister.neural.encoders import ModuleEncoder, embed\n"
        "flat = ModuleEncoder(lambda x: x.reshape(len(x), -1), id='flat', n_features=81)\n"
        "print(embed(flat, np.ones((70, 9, 9), np.uint8)).shape, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(70, 81) False\n"


def test_functions_may_take_tensors():
    encoder = ModuleEncoder(
        lambda pixels: pixels.mean(dim=(2, 3)), id="mean", preprocessing=Preprocessing(size=4)
    )
    assert encoder.n_features == 3
    assert encoder.encode(GREY).shape == (11, 3)


def test_texts_are_tokens_of_one_length():
    def tokenize(texts):
        found = torch.zeros(len(texts), 5, dtype=torch.int64)
        for row, text in enumerate(texts):
            for place, letter in enumerate(text[:5]):
                found[row, place] = ord(letter) % 50
        return found

    net = nn.Sequential(nn.Embedding(50, 4), nn.Flatten())
    encoder = make(net, preprocessing=TextTokens("letters, 5 a text", tokenize))
    assert (encoder.modality, encoder.n_features) == ("text", 20)
    found = encoder.encode(["one", "two", "three", "four", "five"])
    np.testing.assert_array_equal(found[4:], encoder.encode(["five"]))
    for texts in ("one", [1], [b"one"]):
        with pytest.raises(InvalidType, match="texts"):
            encoder.encode(texts)


BAD = {
    "no module": ({"module": 3}, InvalidType, "module must be"),
    "no id of a function": ({"module": len}, InvalidInput, "id=None"),
    "an empty id": ({"id": ""}, InvalidInput, "id must be"),
    "norm 0": ({"norm": 0.0}, InvalidInput, "norm=0"),
    "norm of text": ({"norm": "l2"}, InvalidType, "norm must be"),
    "batch 0": ({"batch_size": 0}, InvalidInput, "batch_size=0"),
    "precision": ({"precision": "int8"}, InvalidInput, "precision='int8'"),
    "device": ({"device": "abacus"}, DeviceError, "abacus"),
    "strict": ({"strict": "yes"}, InvalidType, "strict"),
    "features": ({"n_features": 5}, InvalidInput, "n_features=5.* 4 features"),
    "no features": ({"preprocessing": Preprocessing()}, InvalidInput, "n_features=None"),
    "preprocessing": ({"preprocessing": "imagenet"}, InvalidType, "preprocessing must be"),
    "maps": ({"module": nn.Conv2d(3, 4, 3)}, InvalidInput, r"AdaptiveAvgPool2d"),
    "one number": ({"module": nn.Flatten(0)}, InvalidInput, r"shape \(n, d\)"),
    "other channels": ({"module": nn.Conv2d(4, 4, 3)}, InvalidInput, "cannot compute"),
    "strict function": ({"module": len, "id": "a", "strict": True}, InvalidInput, "strict=True"),
    "precise function": (
        {"module": len, "id": "a", "precision": "float16"},
        InvalidInput,
        "precision",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case):
    options, error, message = BAD[case]
    with pytest.raises(error, match=message):
        make(**options)


def test_images_that_do_not_fit_are_refused():
    sizes = [np.zeros((8, 8), np.uint8), np.zeros((9, 8), np.uint8)]
    assert make().encode(sizes).shape == (2, 4)
    as_is = make(preprocessing=None, n_features=4)
    with pytest.raises(InvalidInput, match="2 different shapes"):
        as_is.encode(sizes)
    with pytest.raises(InvalidInput, match="4 channels"):
        as_is.encode(np.zeros((2, 8, 8, 4), np.uint8))
    wrong = ModuleEncoder(lambda x: np.zeros((3, 2)), id="wrong", n_features=2, batch_size=4)
    with pytest.raises(InvalidInput, match=r"returned shape \(3, 2\) for 4 images"):
        wrong.encode(GREY)
