"""An encoder made of any torch module, or of any function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.function_network import FunctionNetwork, RawPixels
from cloister.neural.network import Network, one_row_rules
from cloister.neural.optional_packages import need_torch
from cloister.neural.preprocessing import Preprocessing, as_preprocessing
from cloister.neural.row_purity import MeasurablePurity
from cloister.neural.text_tokens import TextTokens
from cloister.parameters import check_flag, check_integer, check_real
from cloister.privacy.ledger_checks import LONGEST_NAME, checked_name

UNIT = "unit"
# Rounding to float32 may lengthen a row by 2^-24 of its norm: the bound holds after it too.
_BELOW_ONE = 1 - 2.0**-23
_DIGITS = 16  # of a SHA-256, in an id


class ModuleEncoder(MeasurablePurity):
    """Embeds images, or texts, by a public network; satisfies `Encoder`.

    The network must not have been trained, fine-tuned or chosen on private data: it is part of
    the definition of a row, and the guarantee knows nothing of what went into it.

    It runs in evaluation mode, without gradients, on batches of one fixed shape: the last one is
    filled up with blank rows, so that a library computes every row in the same way. That makes
    rows independent of their neighbours on the libraries measured; `strict` makes sure.

    Parameters
    ----------
    module : torch.nn.Module or callable
        Maps a batch of prepared images to a tensor of shape (n, d). A module is taken over:
        switched to evaluation mode, and moved to the device.
    id : str, optional
        Name of the architecture; by default that of the module's class. A callable needs one,
        which should change with everything that its output depends on.
    n_features : int, optional
        Features d of an embedding; by default what the network returns for a blank batch. Needed
        where `preprocessing` does not fix the size of images.
    preprocessing : Preprocessing, TextTokens or None
        None: a module gets pixels in [0, 1] as a float32 tensor (n, 3, height, width) at the
        images' own size, a callable gets the uint8 array.
    norm : "unit" or float, default="unit"
        Scale every embedding to norm 1 (zeros stay zeros), or shorten those beyond this public R.
    batch_size : int, default=64
        Rows that the network sees at a time, always.
    device : str, default="auto"
        A GPU if torch has one.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Of the products, by autocast.
    strict : bool, default=False
        Compute each row in a call of its own: one image, one thread, deterministic algorithms,
        the same random seed. Its embedding is then a function of that image, on this machine.
        Costs about half the speed of small networks; see docs/encoders.md.

    Attributes
    ----------
    id : str
        Architecture, SHA-256 of the weights, preprocessing, norm and precision.
    n_features, norm_bound, row_purity
        See `Encoder`.

    Raises
    ------
    InvalidInput, InvalidType
        Naming the parameter; for a module whose rows depend on each other in evaluation mode too
        (batch normalisation without running statistics), and a callable with `strict`.
    DeviceError
        If the device is not there.
    MissingDependency
        Without torch, unless `module` is a callable on arrays.
    """

    def __init__(
        self,
        module: Any,
        *,
        id: str | None = None,  # noqa: A002 - the protocol's name
        n_features: int | None = None,
        preprocessing: Preprocessing | TextTokens | None = None,
        norm: str | float = UNIT,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "float32",
        strict: bool = False,
    ) -> None:
        self.strict = check_flag("strict", strict)
        self.batch_size = check_integer(
            "batch_size", batch_size, 1, 2**20, way_out="how many images to embed at a time"
        )
        self._size = 1 if self.strict else self.batch_size  # rows that the network sees at a time
        self._scales = norm == UNIT
        self.norm_bound = (
            1.0 if self._scales else check_real("norm", norm, 1e-10, 1e10, way_out="or 'unit'")
        )
        self._inputs: Any
        self._network, self._inputs = _parts(module, id, preprocessing, device, precision, strict)
        self.modality = "text" if isinstance(self._inputs, TextTokens) else "image"
        self.id = self._identity(module, id, precision)
        self.n_features = self._features(n_features)

    @property
    def resizes(self) -> bool:
        """Whether images of differing size are accepted."""
        return bool(self._inputs.resizes)

    def encode(self, batch: Any) -> NDArray[np.float32]:
        """Embed images of shape (n, height, width) or (n, height, width, 3), or a list of texts.

        Parameters
        ----------
        batch : array, uint8; or a list
            Of images that may differ in size, if `resizes`; or of texts.

        Returns
        -------
        array of shape (n, n_features), float32
            Of norm at most `norm_bound`.

        Raises
        ------
        InvalidInput, InvalidType
            For what are no images, and embeddings with NaN or infinity.
        """
        starts = range(0, len(batch), self._size)
        with self._rules() as before_batch:
            parts = []
            for start in starts:
                before_batch()
                parts.append(
                    self._rows(self._inputs.prepare(batch[start : start + self._size]), start)
                )
        return np.concatenate(parts) if parts else np.empty((0, self.n_features), np.float32)

    def prepare(self, image: NDArray[np.uint8]) -> Any:
        """Return one image as the network sees it; for images too large to hold a batch of."""
        return self._inputs.prepare([image])

    def encode_prepared(self, prepared: list[Any]) -> NDArray[np.float32]:
        """Embed what `prepare` returned, image by image: the same bits as `encode`."""
        torch = need_torch()
        with self._rules() as before_batch:
            parts = []
            for start in range(0, len(prepared), self._size):
                before_batch()
                parts.append(self._rows(torch.cat(prepared[start : start + self._size]), start))
        return np.concatenate(parts)

    @contextmanager
    def _rules(self) -> Iterator[Callable[[], Any]]:
        with self._network.unchanged():
            if isinstance(self._network, Network) and self.strict:
                with one_row_rules(self._network.device) as reseed:
                    yield reseed
            else:
                yield lambda: None

    def _rows(self, prepared: Any, first: int = 0) -> NDArray[np.float32]:
        """Embed one batch of prepared rows, filled up to the fixed shape."""
        n = len(next(iter(prepared.values())) if isinstance(prepared, dict) else prepared)
        missing = self._size - n
        matrix = self._network(self._filled(prepared, missing) if missing else prepared)[:n]
        if len(matrix) != n or matrix.shape[1] != self.n_features:
            raise InvalidInput(
                f"module: it returns shape {matrix.shape} for {n} images, but n_features="
                f"{self.n_features}; an embedding is one vector an image, always of one length"
            )
        return self._bounded(matrix, first)

    def _features(self, stated: int | None) -> int:
        """Return d, which blank rows tell where all rows have their shape."""
        found = stated
        if self._inputs.resizes:
            blank = self._inputs.prepare(self._blank())
            with self._rules():
                found = self._network(self._filled(blank, self._size - 1)).shape[1]
        if found is None or (stated is not None and stated != found):
            raise InvalidInput(
                f"n_features={stated!r}, but the network returns {found} features; leave it out"
                if found is not None
                else "n_features=None: this encoder takes images of any size, so that its features "
                "are unknown; pass n_features=d, or Preprocessing(size=...)"
            )
        return check_integer("n_features", found, 1, 2**20, way_out="how many come out")

    def _filled(self, prepared: Any, missing: int) -> Any:
        if isinstance(prepared, np.ndarray):
            blank = np.zeros((missing, *prepared.shape[1:]), prepared.dtype)
            return np.concatenate([prepared, blank])
        torch = need_torch()
        if self.modality == "image":
            return torch.cat([prepared, prepared.new_zeros((missing, *prepared.shape[1:]))])
        blank = self._inputs.prepare([""] * missing)
        if isinstance(prepared, dict):
            return {name: torch.cat([prepared[name], blank[name]]) for name in prepared}
        return torch.cat([prepared, blank])

    def _blank(self) -> Any:
        return [""] if self.modality == "text" else [np.zeros((8, 8), np.uint8)]

    def _bounded(self, matrix: NDArray[np.float32], first: int) -> NDArray[np.float32]:
        """Scale or shorten each row; NaN and infinity are refused."""
        wide = matrix.astype(np.float64)
        norms = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
        if not np.isfinite(norms).all():
            row = first + int(np.flatnonzero(~np.isfinite(norms))[0])
            raise InvalidInput(
                f"module: the embedding of row {row} of the batch holds NaN or infinity; check the "
                "weights and the preprocessing, and use precision='float32' or 'bfloat16'"
            )
        limit = self.norm_bound * _BELOW_ONE
        longer = norms > (0 if self._scales else limit)
        wide *= np.where(longer, limit / np.where(longer, norms, 1), 1)
        return wide.astype(np.float32)

    def _identity(self, module: Any, name: str | None, precision: str) -> str:
        parts = [name if name is not None else type(module).__qualname__]
        if self._network.digest is not None:
            parts.append(f"sha256 {self._network.digest[:_DIGITS]}")
        parts.append(self._inputs.description)
        parts.append("unit norm" if self._scales else f"norm at most {self.norm_bound:.7g}")
        parts += [] if precision == "float32" else [precision]
        whole = "; ".join(parts)
        if len(whole) > LONGEST_NAME:  # the description of the preprocessing may be long
            parts[-1 - (precision != "float32") - 1] = (
                "preprocessing sha256 "
                + hashlib.sha256(self._inputs.description.encode()).hexdigest()[:_DIGITS]
            )
            whole = "; ".join(parts)
        return checked_name("id", whole)


def _parts(
    module: Any, name: str | None, preprocessing: Any, device: str, precision: str, strict: bool
) -> tuple[Network | FunctionNetwork, Preprocessing | TextTokens | RawPixels]:
    """Return what computes and what prepares, checked."""
    if not callable(module):
        raise InvalidType(
            f"module must be a torch.nn.Module or a callable, got {type(module).__name__}"
        )
    if name is not None:
        checked_name("id", name)
    inputs: Preprocessing | TextTokens | RawPixels
    if isinstance(preprocessing, TextTokens):
        inputs = preprocessing
    elif preprocessing is None and not hasattr(module, "state_dict"):
        inputs = RawPixels()
    else:
        inputs = as_preprocessing(preprocessing, Preprocessing())
    if hasattr(module, "state_dict"):
        return Network(module, device, precision), inputs
    if name is None:
        raise InvalidInput("id=None: a callable has no weights to name it by; pass id='...'")
    if strict:
        raise InvalidInput(
            "strict=True needs a torch.nn.Module, got a callable, which may keep anything from one "
            "row to the next; wrap it in a module, or check it by check_row_purity"
        )
    if precision != "float32":
        raise InvalidInput(f"precision={precision!r} is for modules; a callable chooses its own")
    return FunctionNetwork(module), inputs
