"""Kernels that draw: noise for releases, samples of a mixture."""

import numpy as np
from numpy.typing import NDArray

from cloister._backend import library
from cloister._backend.device_array import DeviceArray, RowArray
from cloister._backend.library import address
from cloister._backend.placement import Placement
from cloister.errors import InvalidInput


def noise(key: bytes, stream: int, sigma: float, out: NDArray[np.int64]) -> None:
    """Fill `out` with exactly sampled round(N(0, sigma^2))."""
    if len(key) != 32 or not 0 < sigma < 2.0**52:
        raise InvalidInput(f"noise needs a 32-byte key and 0 < sigma < 2^52, got {sigma}")
    key_bytes = np.frombuffer(key, dtype=np.uint8)
    library.kernels.noise(
        key_bytes.ctypes.data,
        stream,
        sigma,
        out.size,
        address("out", out, np.int64, out.shape, writeable=True),
        library.num_threads(),
        0,
    )


def chacha20_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    """Return one 64-byte ChaCha20 block (RFC 8439)."""
    out = np.empty(64, dtype=np.uint8)
    key_bytes = np.frombuffer(key, dtype=np.uint8)
    nonce_bytes = np.frombuffer(nonce, dtype=np.uint8)
    if len(key) != 32 or len(nonce) != 12:
        raise InvalidInput(f"ChaCha20 takes 32 + 12 bytes, got {len(key)} + {len(nonce)}")
    library.kernels.chacha20_block(
        key_bytes.ctypes.data, counter, nonce_bytes.ctypes.data, out.ctypes.data
    )
    return out.tobytes()


def judge_attempts(words: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return what the filter of `noise` says of words: 0 rejected, 1 accepted, 2 left open."""
    verdicts = np.empty(words.shape, dtype=np.uint8)
    if words.size % 16:
        raise InvalidInput(f"{words.size} words, but they are judged in groups of 16")
    library.kernels.judge_attempts(
        address("words", words, np.uint32, words.shape),
        words.size,
        address("verdicts", verdicts, np.uint8, words.shape, writeable=True),
    )
    return verdicts


def sample_mixture(
    seed: int,
    first_row: int,
    means: NDArray[np.float32],
    factors: NDArray[np.float32],
    scales: NDArray[np.float32] | None,
    covariance_of: NDArray[np.int64],
    components: RowArray,
    out: RowArray,
) -> None:
    """Write rows `first_row` on of the mixture's endless sequence `seed` into `out`.

    `components` and `out` lie on the host, or both on one device, whose components the caller has
    checked.
    """
    (n, d), (covariances, rank, _), k = out.shape, factors.shape, len(means)
    checked = None if isinstance(components, DeviceArray) else components
    if checked is not None and n and not (checked.min() >= 0 and checked.max() < k):
        raise InvalidInput(f"components must lie in [0, {k})")
    if not (covariance_of.min() >= 0 and covariance_of.max() < covariances):
        raise InvalidInput(f"covariance_of must lie in [0, {covariances})")
    place = Placement.of(components=components, out=out)
    with place.kernels() as kernels:
        kernels.sample_mixture(
            seed,
            first_row,
            n,
            d,
            address("means", means, np.float32, (k, d)),
            address("factors", factors, np.float32, (covariances, rank, d)),
            address("scales", scales, np.float32, (covariances, d)),
            address("covariance_of", covariance_of, np.int64, (k,)),
            rank,
            place.rows("components", components, np.int32, (n,)),
            place.rows("out", out, np.float32, (n, d), writeable=True),
            library.num_threads(),
            0,
        )
