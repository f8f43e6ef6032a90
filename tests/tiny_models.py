"""Tiny randomly initialised models of the libraries, saved as those save theirs."""

import json

import numpy as np
import tokenizers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as parts

from cloister.neural.encoders import Preprocessing

CLIP_SIDES = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "projection_dim": 8,
}
COLOUR = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
SMALL = Preprocessing(size=32, mean=0.5, std=0.5)
TEXTS = ["a photo of a cat", "a dog", "a much longer text about something else altogether"]


def save_clip(folder):
    text = {"vocab_size": 60, "max_position_embeddings": 12, "eos_token_id": 2, "bos_token_id": 1}
    config = transformers.CLIPConfig(
        text_config={**CLIP_SIDES, **text, "pad_token_id": 0},
        vision_config={**CLIP_SIDES, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config)
    model.save_pretrained(folder)
    processor(transformers.CLIPImageProcessor, 36, 32).save_pretrained(folder)
    save_tokenizer(folder)
    return model


def save_dinov2(folder):
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    torch.manual_seed(0)
    model = transformers.Dinov2Model(config)
    model.save_pretrained(folder)
    processor(transformers.BitImageProcessor, 32, 28).save_pretrained(folder)
    return model


def processor(kind, resize, size):
    return kind(
        size={"shortest_edge": resize},
        crop_size={"height": size, "width": size},
        resample=3,
        image_mean=(0.4, 0.5, 0.6),
        image_std=(0.2, 0.3, 0.4),
    )


def tokenizer():
    words = sorted({word for text in TEXTS for word in text.split()})
    known = {word: place for place, word in enumerate(["[PAD]", "[BOS]", "[EOS]", "[UNK]", *words])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", model_max_length=10
    )


def save_tokenizer(folder):
    tokenizer().save_pretrained(folder)


def save_sentence_transformer(folder):
    inner = folder.with_name("bert")
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(inner)
    save_tokenizer(inner)
    words = parts.Transformer(str(inner), max_seq_length=10)
    model = SentenceTransformer(modules=[words, parts.Pooling(16)], device="cpu")
    model.save(str(folder))
    return model


def open_clip_config(folder, name):
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 10,
            "vocab_size": 49408,
            "width": 8,
            "heads": 2,
            "layers": 1,
        },
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    return path


def unit(rows):
    """Rows of a tensor at norm 1."""
    rows = rows.detach().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
