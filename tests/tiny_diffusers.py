"""Tiny randomly initialised diffusers models, saved as their users find them on a disk."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

EMBEDDING = 16
SIDE = 16


def tiny_vae(torch, *, in_channels=3, **config):
    from diffusers import AutoencoderKL  # noqa: PLC0415

    torch.manual_seed(0)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2}
    blocks["up_block_types"] = ["UpDecoderBlock2D"] * 2
    return AutoencoderKL(
        in_channels=in_channels,
        out_channels=in_channels,
        block_out_channels=[8, 8],
        norm_num_groups=4,
        latent_channels=2,
        sample_size=SIDE,
        **blocks,
        **config,
    ).eval()


def tiny_unclip(torch):
    """A StableUnCLIPImg2ImgPipeline of images of SIDE pixels and embeddings of EMBEDDING."""
    from diffusers import (  # noqa: PLC0415
        DDIMScheduler,
        DDPMScheduler,
        StableUnCLIPImg2ImgPipeline,
        UNet2DConditionModel,
    )
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (  # noqa: PLC0415
        StableUnCLIPImageNormalizer,
    )
    from transformers import (  # noqa: PLC0415
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTokenizer,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}
    torch.manual_seed(0)
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vision = CLIPVisionConfig(
        hidden_size=EMBEDDING, projection_dim=EMBEDDING, image_size=SIDE, patch_size=8, **layers
    )
    text = CLIPTextConfig(
        hidden_size=EMBEDDING,
        projection_dim=EMBEDDING,
        vocab_size=3,
        max_position_embeddings=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        **layers,
    )
    unet = UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=2,
        out_channels=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 16),
        norm_num_groups=4,
        attention_head_dim=(2, 4),
        class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * EMBEDDING,
        cross_attention_dim=EMBEDDING,
        layers_per_block=1,
        use_linear_projection=True,
    )
    normalizer = StableUnCLIPImageNormalizer(embedding_dim=EMBEDDING)
    with torch.no_grad():
        normalizer.mean.uniform_(-1, 1)
        normalizer.std.uniform_(0.5, 1.5)
    return StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessor(crop_size=SIDE, size=SIDE),
        image_encoder=CLIPVisionModelWithProjection(vision).eval(),
        image_normalizer=normalizer.eval(),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=8),
        text_encoder=CLIPTextModel(text).eval(),
        unet=unet.eval(),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            prediction_type="v_prediction",
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        vae=tiny_vae(torch),
    )


def save_all(torch, folder):
    """Save an autoencoder ("vae"), one of grey images ("grey") and a pipeline ("unclip")."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tiny_vae(torch, shift_factor=0.25).save_pretrained(folder / "vae")
    tiny_vae(torch, in_channels=1).save_pretrained(folder / "grey")
    tiny_unclip(torch).save_pretrained(folder / "unclip")
    torch.set_num_threads(threads)
    return folder
