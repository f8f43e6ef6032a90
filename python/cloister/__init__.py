"""cloister: private clustering and data generation from embeddings.

Embeddings of sensitive data go in; differentially private clusters, a private Gaussian mixture and
synthetic embeddings come out. The same kernels, without noise, are a fast k-means.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cloister.version import __version__

if TYPE_CHECKING:
    from cloister._backend import (
        DeviceArray,
        cuda_support,
        num_threads,
        set_num_threads,
        supported_targets,
        target,
    )
    from cloister.dp_kmeans import DPKMeans
    from cloister.kmeans import KMeans
    from cloister.mixture import DPGaussianMixture
    from cloister.privacy.guarantee import PrivacyGuarantee
    from cloister.privacy.ledger import Budget
    from cloister.whitening import PublicWhitening

__all__ = [
    "Budget",
    "DPGaussianMixture",
    "DPKMeans",
    "DeviceArray",
    "KMeans",
    "PrivacyGuarantee",
    "PublicWhitening",
    "__version__",
    "cuda_support",
    "num_threads",
    "set_num_threads",
    "supported_targets",
    "target",
]

# Imported at first use (PEP 562): scikit-learn takes a second, and `cloister --help` needs none.
_HOMES = {
    "Budget": "cloister.privacy.ledger",
    "DPGaussianMixture": "cloister.mixture",
    "DPKMeans": "cloister.dp_kmeans",
    "DeviceArray": "cloister._backend",
    "KMeans": "cloister.kmeans",
    "PrivacyGuarantee": "cloister.privacy.guarantee",
    "PublicWhitening": "cloister.whitening",
    "cuda_support": "cloister._backend",
    "num_threads": "cloister._backend",
    "set_num_threads": "cloister._backend",
    "supported_targets": "cloister._backend",
    "target": "cloister._backend",
}

if not TYPE_CHECKING:  # a type checker would take any name for granted

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value  # the next access is direct
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
