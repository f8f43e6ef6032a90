"""Where the randomness of noise comes from: the operating system, through an exact sampler."""

import secrets

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister.errors import InvalidInput


def fresh_key() -> bytes:
    """Return 32 bytes from the operating system, the key of one release.

    Nothing is kept in the process: a fork has no state to share with its parent, so two processes
    never draw the same noise.
    """
    return secrets.token_bytes(32)


def rounded_gaussian(sigma: float, size: int, *, key: bytes, stream: int = 0) -> NDArray[np.int64]:
    """Draw integers round(g), g ~ N(0, sigma^2), sampled exactly.

    Adding them to an integer answer is the Gaussian mechanism followed by rounding, so the exact
    Gaussian-DP guarantee of the real-valued noise holds for what the machine computes.

    Parameters
    ----------
    sigma : float
        Standard deviation of g, taken as the exact binary fraction it is: 0 <= sigma < 2^52.
        0 gives zeros.
    size : int
        Number of draws.
    key : bytes of length 32
        Use one `fresh_key` for one release only: the same key, stream and size give the same
        noise, and a smaller size its beginning.
    stream : int
        Which of the 2^32 independent sequences of the key.

    Returns
    -------
    array of shape (size,), int64
        The same for any number of threads and any instruction set.

    Raises
    ------
    InvalidInput
        If `sigma`, `stream` or the length of `key` is outside the range above.

    References
    ----------
    J. von Neumann, "Various techniques used in connection with random digits", National Bureau of
    Standards, Applied Mathematics Series 12, 1951 (rejection; digits drawn lazily as in Karney,
    "Sampling exactly from the normal distribution", ACM Trans. Math. Softw. 42(1), 2016).
    Keystream: ChaCha20, RFC 8439.
    """
    if not 0 <= sigma < 2.0**52:
        raise InvalidInput(
            f"sigma={sigma}, but noise is sampled for 0 <= sigma < 2^52; use a larger epsilon or "
            "a coarser grid"
        )
    if not 0 <= stream < 2**32:
        raise InvalidInput(f"stream={stream}, but a key has the streams 0 to 2^32 - 1")
    if len(key) != 32:
        raise InvalidInput(f"key has {len(key)} bytes, but ChaCha20 takes 32; use fresh_key()")
    noise = np.zeros(size, dtype=np.int64)
    if sigma > 0 and size > 0:
        _backend.noise(key, stream, float(sigma), noise)
    return noise
