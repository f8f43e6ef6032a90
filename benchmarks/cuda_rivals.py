"""What the device kernels are measured against: torch, cupy and the k-means packages for GPUs.

Each rival does one k-means iteration on rows that lie on the device: labels, sums and counts.
"""

from importlib import import_module, util

import torch

CHUNKS = (65_536, 262_144)


class TorchIteration:
    """Chunked matrix products and argmin, the sums by `index_add_`, in one float type."""

    def __init__(self, dtype, chunk):
        self.dtype, self.chunk = dtype, chunk
        self.name = f"torch {str(dtype).removeprefix('torch.')}, chunks of {chunk:,}"

    def __call__(self, rows, centres):
        n, k = len(rows), len(centres)
        labels = torch.empty(n, dtype=torch.int64, device=rows.device)
        sums = torch.zeros_like(centres)
        norms = (centres * centres).sum(dim=1)
        factors = centres.to(self.dtype).T
        for first in range(0, n, self.chunk):
            part = rows[first : first + self.chunk]
            scores = norms - 2 * (part.to(self.dtype) @ factors).float()
            found = scores.argmin(dim=1)
            labels[first : first + self.chunk] = found
            sums.index_add_(0, found, part)
        return labels, sums, torch.bincount(labels, minlength=k)


class FastKMeansIteration:
    """The Triton kernels of the package fastkmeans: one iteration of a fit from these centres."""

    name = "fastkmeans"

    def __init__(self):
        self._estimator = import_module("fastkmeans").FastKMeans

    def __call__(self, rows, centres):
        model = self._estimator(rows.shape[1], len(centres), niter=1, tol=-1.0, gpu=True)
        model.train(rows)


class FlashKMeansIteration:
    """The Triton kernels of the package flash-kmeans, in float16: one iteration."""

    name = "flash-kmeans"

    def __init__(self):
        self._run = import_module("flash_kmeans").batch_kmeans_Euclid

    def __call__(self, rows, centres):
        half = rows.to(torch.float16)[None]
        start = centres.to(torch.float16)[None]
        labels, *_ = self._run(half, len(centres), max_iters=1, tol=-1.0, init_centroids=start)
        return labels[0].to(torch.int64), None, None


class CupyIteration:
    """Chunked matrix products and argmin of cupy, float32."""

    name = "cupy float32"

    def __init__(self):
        self._cupy = import_module("cupy")

    def __call__(self, rows, centres):
        cupy = self._cupy
        points, near = cupy.from_dlpack(rows), cupy.from_dlpack(centres)
        labels = cupy.empty(len(points), cupy.int64)
        sums = cupy.zeros_like(near)
        norms = (near * near).sum(axis=1)
        for first in range(0, len(points), CHUNKS[0]):
            part = points[first : first + CHUNKS[0]]
            found = (norms - 2 * (part @ near.T)).argmin(axis=1)
            labels[first : first + CHUNKS[0]] = found
            cupy.add.at(sums, found, part)
        return torch.from_dlpack(labels), torch.from_dlpack(sums), None


def iterations():
    """Return the rivals that can run here."""
    found = [
        TorchIteration(dtype, chunk)
        for dtype in (torch.float32, torch.bfloat16)
        for chunk in CHUNKS
    ]
    packages = {
        "cupy": CupyIteration,
        "fastkmeans": FastKMeansIteration,
        "flash_kmeans": FlashKMeansIteration,
    }
    return found + [make() for name, make in packages.items() if util.find_spec(name)]
