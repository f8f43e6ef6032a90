"""What encoders and decoders promise each other and the mixture between them."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Encoder(Protocol):
    """A public function from one image (or text) to one embedding.

    It must not depend on private data: it is part of the definition of a row.

    Attributes
    ----------
    id : str
        Architecture, weights and preprocessing: encoders of equal id make equal embeddings. Stored
        with every model that is fitted to the embeddings.
    n_features : int
        Features d of an embedding.
    norm_bound : float
        Public bound R of an embedding's norm: 1.0 for unit-norm embeddings.
    row_purity : {"strict", "measured", "unchecked"}
        Whether an embedding depends on nothing but its own image. "strict": by construction, so
        the guarantee covers images. "measured": a test found no difference. "unchecked": the
        guarantee covers embeddings alone.
    """

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def n_features(self) -> int: ...  # noqa: D102
    @property
    def norm_bound(self) -> float: ...  # noqa: D102
    @property
    def row_purity(self) -> str: ...  # noqa: D102

    def encode(self, batch: Any) -> NDArray[np.float32]:
        """Embed a batch.

        Parameters
        ----------
        batch : array of shape (n, height, width) or (n, height, width, 3), uint8
            Grey or colour images; for encoders of text a list of n texts.

        Returns
        -------
        array of shape (n, d), float32
            Of norm at most `norm_bound`.
        """


@runtime_checkable
class Decoder(Protocol):
    """A public function from one embedding to one image.

    Attributes
    ----------
    id : str
        As of an encoder.
    encoder_id : str
        The encoder whose embeddings it decodes; those of another are refused.
    n_features : int
        Features d of an embedding.
    image_shape : tuple of int
        (height, width) or (height, width, 3) of the images that it makes.
    public_data : str
        Which public data it was made from, in words; "none" if it is a fixed formula.
    """

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def encoder_id(self) -> str: ...  # noqa: D102
    @property
    def n_features(self) -> int: ...  # noqa: D102
    @property
    def image_shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def public_data(self) -> str: ...  # noqa: D102

    def decode(self, embeddings: NDArray[Any]) -> NDArray[np.uint8]:
        """Make an image of each embedding.

        Parameters
        ----------
        embeddings : array of shape (n, d)
            As the encoder makes them, or a mixture's samples; of any finite value.

        Returns
        -------
        array of shape (n, height, width) or (n, height, width, 3), uint8
        """
