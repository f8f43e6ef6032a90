"""The two data sets that k-means is measured on; made once a shape and kept in a folder.

`mixture` is hard: k overlapping Gaussians, of which ten iterations settle nothing, and where
most rows have several centres at nearly the same distance. `embeddings` is what users bring:
CIFAR-10 through MobileNetV2, unit rows, rotated or projected to d, tiled with jitter to n rows.
Rows of both have a norm of about 1.
"""

import os
from pathlib import Path

import numpy as np

EMBEDDINGS = "cifar10_mobilenetv2.npz"
KINDS = ("embeddings", "mixture")
BLOCK = 50_000
MIXTURE_SPREAD = 0.2
# No row of either data set is longer: the public radius of private peers.
ROW_NORM = 1.25


class MissingData(Exception):
    """The real embeddings are not at hand; the message says where they were looked for."""


def find_embeddings(path=None):
    """Return the file of embeddings: the one given, or `../shared/data` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / EMBEDDINGS
    found = Path(path) if path else beside
    if not found.exists():
        raise MissingData(f"no {found}: name the file with --embeddings, or use --data mixture")
    return found


def make(kind, n, d, k, folder, *, embeddings=None, jitter=0.05):
    """Return the paths of (rows, start): float32 (n, d), and int64 indices of k distinct rows.

    Parameters
    ----------
    kind : {"embeddings", "mixture"}
    folder : Path
        Where the arrays are kept for the next run.
    embeddings : path, optional
        The file of real embeddings, if it is not beside the checkout.
    jitter : float
        Expected norm of the Gaussian noise on each tiled copy, in units of the row norm.
    """
    stem = f"{kind}-{n}-{d}" + (f"-{k}" if kind == "mixture" else f"-{jitter:g}")
    rows_path, start_path = folder / f"{stem}.npy", folder / f"start-{n}-{k}.npy"
    if not rows_path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = rows_path.with_suffix(f".{os.getpid()}.part")
        rows = np.lib.format.open_memmap(part, "w+", np.float32, (n, d))
        if kind == "mixture":
            _fill_mixture(rows, k)
        else:
            _fill_embeddings(rows, find_embeddings(embeddings), jitter)
        rows.flush()
        part.rename(rows_path)
    if not start_path.exists():
        np.save(start_path, np.random.default_rng(1).choice(n, k, replace=False))
    return rows_path, start_path


def _fill_mixture(rows, k):
    n, d = rows.shape
    rng = np.random.default_rng(0)
    means = rng.standard_normal((k, d), dtype=np.float32) * np.float32(MIXTURE_SPREAD)
    scale = np.float32(1 / np.sqrt(d * (1 + MIXTURE_SPREAD**2)))
    for first in range(0, n, BLOCK):
        block = rows[first : first + BLOCK]
        noise = rng.standard_normal(block.shape, dtype=np.float32)
        block[:] = scale * (noise + means[rng.integers(0, k, len(block))])


def _fill_embeddings(rows, path, jitter):
    """Jitter comes after the projection: isotropic noise projected is isotropic noise again."""
    n, d = rows.shape
    rng = np.random.default_rng(0)
    with np.load(path) as data:
        real = data["x_train"].astype(np.float32)
    real /= np.linalg.norm(real, axis=1, keepdims=True)
    tile = project(real, d)
    for first in range(0, n, len(tile)):
        block = rows[first : first + len(tile)]
        noise = rng.standard_normal(block.shape, dtype=np.float32)
        block[:] = tile[: len(block)] + np.float32(jitter / np.sqrt(d)) * noise


def project(rows, d):
    """Return rows times a fixed random matrix of orthonormal rows or columns.

    Where d is smaller than the rows' own number of features the result is scaled so that squared
    norms keep their expectation (Johnson and Lindenstrauss 1984).
    """
    own = rows.shape[1]
    gaussian = np.random.default_rng(2).standard_normal((max(own, d), min(own, d)))
    basis, _ = np.linalg.qr(gaussian)
    matrix = basis * np.sqrt(own / d) if d < own else basis.T
    return rows @ matrix.astype(np.float32)
