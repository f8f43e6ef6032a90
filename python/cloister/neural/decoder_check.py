"""Whether a decoder fits the embeddings that it is given."""

from __future__ import annotations

from typing import Any

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.protocols import Decoder


def check_decoder(
    decoder: Any, *, encoder_id: str | None = None, n_features: int | None = None
) -> Decoder:
    """Return the decoder if it decodes embeddings of this encoder and size.

    Parameters
    ----------
    decoder : Decoder
    encoder_id : str, optional
        `id` of the encoder that made the embeddings, such as a mixture's `encoder_id`; None where
        it is not known, and then only the size is compared.
    n_features : int, optional
        Features d of the embeddings, such as a mixture's `n_features_in_`.

    Raises
    ------
    InvalidType
        If `decoder` is none.
    InvalidInput
        If it decodes embeddings of another encoder, or of another size.
    """
    if not isinstance(decoder, Decoder):
        lacking = [name for name in _NEEDED if not hasattr(decoder, name)]
        raise InvalidType(
            f"decoder must be a Decoder, but {type(decoder).__name__} lacks {', '.join(lacking)}; "
            "see cloister.neural.protocols"
        )
    if encoder_id is not None and encoder_id != decoder.encoder_id:
        raise InvalidInput(
            f"decoder decodes embeddings of the encoder {decoder.encoder_id!r}, but these are of "
            f"{encoder_id!r}; take the decoder of that encoder, or embed with its encoder"
        )
    if n_features is not None and n_features != decoder.n_features:
        raise InvalidInput(
            f"decoder takes embeddings of {decoder.n_features} features, but these have "
            f"{n_features}; take the decoder of the encoder that made them"
        )
    return decoder


_NEEDED = ("id", "encoder_id", "n_features", "image_shape", "public_data", "decode")
