"""The convolutional codec: shapes, bounds, purity, and what it refuses."""

import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

from cloister.errors import DeviceError, InvalidInput, InvalidType
from cloister.neural import conv_network, conv_run
from cloister.neural.conv_layers import Architecture
from cloister.neural.padded_batches import in_batches
from cloister.neural.protocols import Decoder, Encoder
from tiny_codecs import SHAPE, images, tiny_codec

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def codec():
    return tiny_codec()


@pytest.fixture(autouse=True)
def as_made(request):
    yield
    if "codec" in request.fixturenames:
        request.getfixturevalue("codec").use()


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (9, 31, 3), (64, 40), (256, 256, 3)])
@pytest.mark.parametrize("variational", [False, True])
def test_images_of_any_size_go_there_and_back(shape, variational):
    a = Architecture.checked(shape, 5, 8, variational)
    weights = conv_network.initial(a, 0)
    assert {name: tuple(w.shape) for name, w in weights.items()} == a.shapes()
    assert max(a.sizes()[-1]) <= 8
    pixels = torch.rand(2, a.colours, *shape[:2])
    found = conv_network.statistics(weights, a, pixels)
    assert found.shape == (2, 10 if variational else 5)
    made = conv_network.pixels_of(weights, a, found[:, :5])
    assert made.shape == pixels.shape
    assert 0 <= made.min() <= made.max() <= 1


def test_multiply_adds_are_those_of_the_layers():
    a = Architecture.checked((12, 10, 3), 5, 8, True)
    assert a.sizes() == [(12, 10), (6, 5)]
    down = 8 * 3 * 9 * 120 + 16 * 8 * 9 * 30
    assert a.multiply_adds() == down + 10 * 480 + 480 * 5 + 16 * 8 * 16 * 30 + 3 * 8 * 9 * 120


def test_loss_is_the_sum_of_its_parts():
    a = Architecture.checked((8, 8), 3, 8, True)
    weights = conv_network.initial(a, 1)
    pixels, noise = torch.rand(4, 1, 8, 8), torch.randn(4, 3)
    mean, log_variance = conv_network.statistics(weights, a, pixels).split(3, dim=1)
    latent = mean + noise * (log_variance / 2).exp()
    made = conv_network.pixels_of(weights, a, latent)
    squared = functional.mse_loss(made, pixels)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    standard = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    divergence = torch.distributions.kl_divergence(posterior, standard).sum(dim=1).mean()
    right = functional.mse_loss(made[..., 1:] - made[..., :-1], pixels[..., 1:] - pixels[..., :-1])
    below = functional.mse_loss(
        made[..., 1:, :] - made[..., :-1, :], pixels[..., 1:, :] - pixels[..., :-1, :]
    )
    expected = squared + 0.3 * divergence / 64 + 0.7 * (right + below)
    torch.testing.assert_close(conv_network.loss(weights, a, pixels, 0.3, 0.7, noise), expected)


def test_it_is_encoder_and_decoder_of_one_id(codec):
    assert isinstance(codec, Encoder)
    assert isinstance(codec, Decoder)
    assert codec.encoder_id == codec.id
    assert codec.image_shape == SHAPE
    assert "procedural images: 80 images, sha256 " in codec.public_data


def test_norms_stay_within_the_bound_and_most_public_ones_lose_nothing():
    codec = tiny_codec(norm_bound=0.3)
    norms = np.linalg.norm(codec.encode(images()).astype(np.float64), axis=1)
    assert (norms <= 0.3).all()
    assert (norms < 0.2999).mean() > 0.9
    assert norms.max() > 0.29
    other = images(200, seed=9)
    assert np.linalg.norm(codec.encode(other).astype(np.float64), axis=1).max() <= 0.3


def test_embeddings_are_centred_on_the_public_images(codec):
    mean = codec.encode(images()).mean(axis=0)
    assert np.linalg.norm(mean) < 0.1


def test_decoding_inverts_the_scaling(codec):
    some = images(5)
    a, weights = codec.architecture, {k: torch.from_numpy(w) for k, w in codec.weights.items()}
    pixels = torch.from_numpy(some)[:, None] / 255
    latent = conv_network.latents(weights, a, pixels)
    expected = (conv_network.pixels_of(weights, a, latent)[:, 0] * 255).round().numpy()
    found = codec.decode(codec.encode(some)).astype(float)
    within = np.linalg.norm(codec.encode(some), axis=1) < 0.9999
    assert within.any()
    assert np.abs(found - expected)[within].max() <= 1


def test_rows_are_measured_until_batches_change(codec, monkeypatch):
    assert codec.row_purity == "unchecked"
    assert codec.check_row_purity(images(20)).pure
    assert codec.row_purity == "measured"
    assert codec.use(batch_size=16).row_purity == "unchecked"
    latents = conv_run.latents
    # What a batch normalisation in training mode would do.
    monkeypatch.setattr(conv_run, "latents", lambda *given: latents(*given) - latents(*given)[0])
    assert not codec.check_row_purity(images(20)).pure
    assert codec.row_purity == "unchecked"


def test_a_strict_codec_embeds_one_by_one(codec, monkeypatch):
    some, sizes = images(70), []
    latents = conv_run.latents

    def spy(weights, a, part, device):
        sizes.append(len(part))
        return latents(weights, a, part, device)

    monkeypatch.setattr(conv_run, "latents", spy)
    assert codec.row_purity == "unchecked"
    padded = codec.encode(some)
    assert codec.use(strict=True).row_purity == "strict"
    strict = codec.encode(some)
    assert sizes == [64, 64] + [1] * 70
    one_by_one = np.concatenate([codec.encode(image[None]) for image in some])
    np.testing.assert_array_equal(strict, one_by_one)
    np.testing.assert_allclose(strict, padded, atol=1e-5)
    order = np.random.default_rng(0).permutation(70)
    np.testing.assert_array_equal(codec.encode(some[order]), strict[order])


@pytest.mark.parametrize(("n", "size"), [(0, 4), (1, 4), (4, 4), (9, 4), (3, 1)])
def test_every_batch_has_one_size(n, size):
    seen = []

    def double(part):
        seen.append(part.shape)
        return 2.0 * part

    rows = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    np.testing.assert_array_equal(in_batches(double, rows, size, (2,), np.float64), 2 * rows)
    assert seen == [(size, 2)] * -(-n // size)


def test_decoding_takes_any_finite_row(codec):
    rows = np.zeros((3, 6))
    rows[1], rows[2, 0] = 1e300, -7.0
    made = codec.decode(rows)
    assert (made.shape, made.dtype) == ((3, *SHAPE), np.uint8)
    np.testing.assert_array_equal(made[2], codec.decode(rows[2:] / 7 * 4)[0])
    assert codec.decode(rows[:0]).shape == (0, *SHAPE)
    assert codec.encode(images(1)[:0]).shape == (0, 6)


def test_a_copy_by_pickle_is_the_same(codec):
    expected = codec.encode(images(3))
    again = pickle.loads(pickle.dumps(codec))
    np.testing.assert_array_equal(again.encode(images(3)), expected)


def test_torchs_threads_are_as_before(codec):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    codec.encode(images(3))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_bad_input(codec):
    with pytest.raises(InvalidInput, match=r"\(2, 28, 28\), but \(n, 12, 10\) is needed"):
        codec.encode(np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(InvalidType, match="array of uint8"):
        codec.encode(np.zeros((2, *SHAPE)))
    with pytest.raises(InvalidInput, match=r"\(2, 64\), but this ConvCodec needs \(n, 6\)"):
        codec.decode(np.zeros((2, 64)))
    with pytest.raises(InvalidInput, match="NaN or infinity in 2 of 2 rows"):
        codec.decode(np.full((2, 6), np.inf))
    with pytest.raises(DeviceError, match="device='cuda:99' cannot be used"):
        codec.use(device="cuda:99").encode(images(1))
    with pytest.raises(DeviceError, match="device='abacus' cannot be used"):
        codec.use(device="abacus").decode(np.zeros((1, 6)))
    with pytest.raises(InvalidType, match="strict must be True or False"):
        codec.use(strict="yes")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (((7, 28), 5, 8, False), InvalidInput, r"image_shape=7 is outside \[8, 256\]"),
        (((28, 300), 5, 8, False), InvalidInput, r"image_shape=300 is outside \[8, 256\]"),
        (((28, 28), 0, 8, False), InvalidInput, "n_features=0 is outside"),
        (((28, 28), 5, 12, False), InvalidInput, "width=12 is no multiple of 8"),
        (((28, 28), 5, 8, 1), InvalidType, "variational must be True or False"),
    ],
)
def test_bad_architectures(arguments, kind, message):
    with pytest.raises(kind, match=message):
        Architecture.checked(*arguments)


def test_a_callers_autocast_changes_nothing(codec):
    expected = codec.encode(images(3))
    made = codec.decode(expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(codec.encode(images(3)), expected)
        np.testing.assert_array_equal(codec.decode(expected), made)
