"""Which public images a codec saw: their name, number and digest."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidType
from cloister.parameters import check_integer

HASHED_IMAGES = 4096
SHA256_DIGITS = 64


@dataclass(frozen=True)
class PublicData:
    """What is said of the images that a codec was trained on.

    Parameters
    ----------
    name : str
        In words, such as "MNIST train".
    n_images : int
    sha256 : str
        Of their shape and pixels, in their order, in hexadecimal digits.
    """

    name: str
    n_images: int
    sha256: str

    @classmethod
    def of(cls, name: Any, images: NDArray[np.uint8]) -> PublicData:
        """Describe images; InvalidType where they have no name."""
        return cls(check_name(name), len(images), digest(images))

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> PublicData:
        """Return what `to_dict` gave; TypeError, ValueError or a typed error for anything else."""
        known = cls(**given)
        check_name(known.name)
        check_integer("n_images", known.n_images, 1, 2**53, way_out="the number of public images")
        if not isinstance(known.sha256, str) or len(known.sha256) != SHA256_DIGITS:
            raise ValueError(f"sha256={known.sha256!r} has not {SHA256_DIGITS} digits")
        int(known.sha256, 16)
        return known

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    def words(self) -> str:
        """Return them in one line."""
        return f"{self.name}: {self.n_images} images, sha256 {self.sha256}"


def check_name(name: Any) -> str:
    """Return the name of public data, or raise InvalidType: it is what the owner vouches for."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidType(
            f"public_data must say in words which public images these are, such as 'MNIST train', "
            f"got {name!r}; a codec must never see private images"
        )
    return name.strip()


def digest(images: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of a batch of images: of its shape and its pixels."""
    sha256 = hashlib.sha256(repr(tuple(map(int, images.shape))).encode())
    for first in range(0, len(images), HASHED_IMAGES):
        sha256.update(np.ascontiguousarray(images[first : first + HASHED_IMAGES]).tobytes())
    return sha256.hexdigest()
