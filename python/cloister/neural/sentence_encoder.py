"""Encoders of texts from sentence-transformers."""

from __future__ import annotations

import os
from typing import Any

from cloister.errors import ModelFileError
from cloister.neural.method_module import method_module
from cloister.neural.module_encoder import ModuleEncoder
from cloister.neural.optional_packages import need
from cloister.neural.text_tokens import TextTokens


def sentence_transformers_encoder(model: Any, **options: Any) -> ModuleEncoder:
    """Make an encoder of texts of a model of sentence-transformers.

    Parameters
    ----------
    model : str, path or SentenceTransformer
        A folder that `save` wrote, a name on the hub, or a model in memory. Texts are padded or
        cut to its `max_seq_length`: its own `encode` pads to the longest of a batch, so that
        rows depend on their neighbours.
    **options
        See `ModuleEncoder`.

    Returns
    -------
    ModuleEncoder

    Raises
    ------
    ModelFileError
        If there is no such folder or name, or it is damaged.
    MissingDependency
        Without sentence-transformers.
    """
    library = need("sentence_transformers", "sentence_transformers_encoder", "encoders")
    network = model
    if isinstance(model, str | os.PathLike):
        try:
            network = library.SentenceTransformer(os.fsdecode(model), device="cpu")
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ModelFileError(
                f"model: {os.fsdecode(model)!r} cannot be loaded: {reason}; name a folder that "
                "SentenceTransformer.save wrote"
            ) from error
    length = int(network.max_seq_length)
    tokenizer = network.tokenizer

    def tokenize(texts: list[str]) -> dict[str, Any]:
        found = tokenizer(
            texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        return {key: found[key] for key in ("input_ids", "attention_mask", "token_type_ids")
                if key in found}  # fmt: skip

    options.setdefault("id", f"sentence-transformers:{_architecture(network)}")
    tokens = TextTokens(f"{type(tokenizer).__name__}, {length} a text", tokenize)
    module = method_module(
        network, lambda sentences, features: sentences(dict(features))["sentence_embedding"]
    )
    return ModuleEncoder(module, preprocessing=tokens, **options)


def _architecture(network: Any) -> str:
    """Return the names of its parts: transformer, pooling, ..."""
    parts = [type(part).__name__ for part in network]
    first = getattr(network[0], "auto_model", None)
    inside = [] if first is None else [type(first).__name__]
    return "+".join([*inside, *parts[1:]])
