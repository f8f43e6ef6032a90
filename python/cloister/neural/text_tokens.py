"""From texts to what a network sees: token numbers of one fixed length, whatever the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloister.errors import InvalidInput, InvalidType


@dataclass(frozen=True)
class TextTokens:
    """A fixed, public map of each text to its tokens.

    Padding to the longest text of a batch would let a row depend on its neighbours: every text is
    padded or cut to one length.

    Parameters
    ----------
    description : str
        For an encoder's id: the length above all.
    tokenize : callable
        Maps a list of texts to a tensor (n, length), or a dict of such tensors.
    """

    description: str
    tokenize: Callable[[list[str]], Any]

    resizes = True

    def prepare(self, texts: Sequence[str]) -> Any:
        """Return the tokens of a list of texts.

        Raises
        ------
        InvalidType
            If they are no texts.
        """
        return self.tokenize(as_texts(texts))


def as_texts(texts: Any) -> list[str]:
    """Return texts as a list.

    Raises
    ------
    InvalidInput, InvalidType
        If there is none, or one is no text.
    """
    if isinstance(texts, str) or not isinstance(texts, list | tuple | np.ndarray):
        raise InvalidType(f"texts must be a list of texts, got {type(texts).__name__}")
    listed = list(texts)
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise InvalidType(f"texts[{place}] is a {type(text).__name__}, but must be a text")
    if not listed:
        raise InvalidInput("texts is a list of 0 texts; pass at least 1")
    return [str(text) for text in listed]
