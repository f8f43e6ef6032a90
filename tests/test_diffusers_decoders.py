"""Adapters of diffusers, through their real loading code, on tiny models saved by this test."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from cloister.errors import InvalidInput
from cloister.neural.decoders import AutoencoderKLDecoder, Decoder, UnCLIPDecoder, check_decoder
from cloister.neural.protocols import Encoder
from tiny_diffusers import EMBEDDING, SIDE, save_all

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")

CLIP = "clip-tiny"
QUICK = {"encoder_id": CLIP, "num_inference_steps": 2, "local_files_only": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_all(torch, tmp_path_factory.mktemp("diffusers"))


@pytest.fixture(scope="module")
def vae(folder):
    return AutoencoderKLDecoder(folder / "vae", local_files_only=True)


@pytest.fixture(scope="module")
def unclip(folder):
    return UnCLIPDecoder(folder / "unclip", **QUICK)


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(4, EMBEDDING))


def images(n, shape=(SIDE, SIDE, 3)):
    return np.random.default_rng(1).integers(0, 256, (n, *shape), dtype=np.uint8)


# --- AutoencoderKL ------------------------------------------------------------------------------


def test_embeddings_are_scaled_posterior_means(folder, vae):
    from diffusers import AutoencoderKL  # noqa: PLC0415

    model = AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False).eval()
    some = images(3)
    with torch.no_grad():
        pixels = torch.from_numpy(some).permute(0, 3, 1, 2) / 127.5 - 1
        mean = model.encode(pixels).latent_dist.mean
        expected = ((mean - 0.25) * model.config.scaling_factor).flatten(1).numpy()
    assert vae.latent_shape == (2, SIDE // 2, SIDE // 2)
    assert vae.n_features == expected.shape[1] == 2 * 8 * 8
    found = vae.encode(some)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found * 1.5 * np.sqrt(128), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        made = model.decode(mean).sample / 2 + 0.5
    wanted = (made * 255).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(vae.decode(found) - wanted).max() <= 1


def test_norms_stay_within_the_bound(folder):
    tight = AutoencoderKLDecoder(folder / "vae", rms_bound=0.01, norm_bound=2.0)
    norms = np.linalg.norm(tight.encode(images(3)).astype(np.float64), axis=1)
    assert (norms <= 2).all()
    np.testing.assert_allclose(norms, 2, rtol=1e-5)


def test_a_vae_is_encoder_and_decoder_of_one_id(folder, vae):
    assert isinstance(vae, Encoder)
    assert isinstance(vae, Decoder)
    assert vae.id == vae.encoder_id == AutoencoderKLDecoder(folder / "vae").id
    others = [
        AutoencoderKLDecoder(folder / "vae", norm_bound=2.0),
        AutoencoderKLDecoder(folder / "vae", rms_bound=2.0),
        AutoencoderKLDecoder(folder / "vae", image_size=(32, 24)),
        AutoencoderKLDecoder(folder / "grey"),
        AutoencoderKLDecoder(folder / "unclip", subfolder="vae"),
    ]
    assert len({vae.id, *(other.id for other in others)}) == 6
    assert others[2].image_shape == (32, 24, 3)
    assert others[2].encode(images(1, (32, 24, 3))).shape == (1, 2 * 16 * 12)
    assert vae.public_data.startswith("that of ")
    assert "/" not in vae.public_data  # where the folder lies is nobody's business


def test_a_vae_of_one_channel_takes_grey_images(folder):
    grey = AutoencoderKLDecoder(folder / "grey")
    assert grey.image_shape == (SIDE, SIDE)
    assert grey.decode(grey.encode(images(2, (SIDE, SIDE)))).shape == (2, SIDE, SIDE)


def test_a_strict_vae_embeds_one_by_one(folder, vae, monkeypatch):
    strict = AutoencoderKLDecoder(folder / "vae", strict=True)
    sizes = []
    encode = strict._encode
    monkeypatch.setattr(strict, "_encode", lambda part: sizes.append(len(part)) or encode(part))
    assert (vae.row_purity, strict.row_purity) == ("unchecked", "strict")
    some = images(5)
    expected = np.concatenate([strict.encode(image[None]) for image in some])
    np.testing.assert_array_equal(strict.encode(some), expected)
    assert set(sizes) == {1}
    np.testing.assert_allclose(vae.encode(some), expected, atol=1e-5)
    assert strict.id == vae.id


def test_rows_of_a_vae_can_be_measured(folder):
    vae = AutoencoderKLDecoder(folder / "vae", batch_size=4)
    assert vae.check_row_purity(images(4), n_rows=2).pure
    assert vae.row_purity == "measured"


def test_half_precision(folder, vae):
    half = AutoencoderKLDecoder(folder / "vae", dtype="bfloat16")
    some = images(2)
    np.testing.assert_allclose(half.encode(some), vae.encode(some), atol=2e-3)
    assert half.decode(half.encode(some)).dtype == np.uint8


def test_decoding_takes_any_finite_row(vae):
    far = np.full((1, vae.n_features), 1e300)
    expected = vae.decode(np.full((1, vae.n_features), 4 / np.sqrt(vae.n_features)))
    assert np.abs(vae.decode(far).astype(int) - expected).max() <= 1
    assert vae.decode(far[:0]).shape == (0, SIDE, SIDE, 3)


# --- Stable unCLIP ------------------------------------------------------------------------------


def test_an_image_is_a_function_of_its_embedding_and_the_seed(folder, unclip, rows):
    made = unclip.decode(rows)
    assert (made.shape, made.dtype) == ((4, SIDE, SIDE, 3), np.uint8)
    assert len({image.tobytes() for image in made}) == 4
    np.testing.assert_array_equal(unclip.decode(rows[::-1]), made[::-1])
    np.testing.assert_array_equal(unclip.decode(rows[2:3]), made[2:3])
    other = UnCLIPDecoder(folder / "unclip", seed=1, **QUICK)
    assert (other.decode(rows) != made).mean() > 0.5
    assert other.id != unclip.id
    state = torch.get_rng_state()
    unclip.decode(rows[:1])
    assert torch.equal(torch.get_rng_state(), state)


def test_images_are_those_of_the_pipeline(folder, unclip, rows):
    from diffusers import StableUnCLIPImg2ImgPipeline  # noqa: PLC0415

    pipeline = StableUnCLIPImg2ImgPipeline.from_pretrained(
        folder / "unclip", low_cpu_mem_usage=False
    )
    pipeline.set_progress_bar_config(disable=True)
    unit = rows[:1] / np.linalg.norm(rows[:1])
    given = (unit * unclip.embedding_norm).astype(np.float32)
    expected = pipeline(
        prompt=[""],
        image_embeds=torch.from_numpy(given),
        generator=unclip._generator(given[0]),
        num_inference_steps=2,
        output_type="np",
    ).images
    difference = unclip.decode(rows[:1]).astype(int) - np.rint(255 * expected).astype(int)
    assert np.abs(difference).max() <= 1


def test_the_pipeline_is_given_the_norm_that_it_expects(folder, unclip, rows):
    weights = load_file(folder / "unclip/image_normalizer/diffusion_pytorch_model.safetensors")
    expected = np.sqrt(np.square(weights["mean"]).sum() + np.square(weights["std"]).sum())
    assert unclip.embedding_norm == pytest.approx(float(expected))
    assert expected > 3
    np.testing.assert_array_equal(unclip.decode(rows * 8), unclip.decode(rows))  # direction alone
    half = UnCLIPDecoder(folder / "unclip", embedding_norm=unclip.embedding_norm / 2, **QUICK)
    assert (half.decode(rows) != unclip.decode(rows)).mean() > 0.3


def test_batches_differ_in_last_bits_at_most(folder, unclip, rows):
    together = UnCLIPDecoder(folder / "unclip", batch_size=3, **QUICK)
    difference = together.decode(rows).astype(int) - unclip.decode(rows)
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize(
    "choice",
    [{"noise_level": 900}, {"guidance_scale": 1.0}, {"num_inference_steps": 3}, {"prompt": "a"}],
)
def test_choices_reach_the_pipeline(folder, unclip, rows, choice):
    other = UnCLIPDecoder(folder / "unclip", **(QUICK | choice))
    assert other.id != unclip.id
    assert (other.decode(rows[:2]) != unclip.decode(rows[:2])).any()


def test_an_image_size_of_ones_own(folder, rows):
    large = UnCLIPDecoder(folder / "unclip", image_size=32, **QUICK)
    assert large.decode(rows[:1]).shape == (1, 32, 32, 3)


def test_an_unclip_decoder_knows_its_encoder(unclip):
    assert isinstance(unclip, Decoder)
    assert check_decoder(unclip, encoder_id=CLIP, n_features=EMBEDDING) is unclip
    with pytest.raises(InvalidInput, match="of the encoder 'clip-tiny', but these are of 'dino'"):
        check_decoder(unclip, encoder_id="dino")
    assert unclip.decode(np.zeros((1, EMBEDDING))).shape == (1, SIDE, SIDE, 3)
