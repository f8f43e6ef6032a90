"""The rows that quality is measured on: all of norm at most 1, which is all that is public of them.

`synth-64-100` is the mixture that Google's differentially private clustering was published with: 64
centres uniform on the sphere of radius 7/8 in 100 dimensions, 100,000 points, Gaussian of standard
deviation 1/80 a coordinate, clipped to norm 1. `-half` and `-quarter` have that sphere, and so all
distances of centres, 2 and 4 times smaller; the weights of `-unequal` are one draw of Dirichlet(1).
Real rows are pixels or embeddings scaled to unit norm, in one fixed order; `embed.py` makes the
embeddings that are not in the shared folder. `-10000` takes the first 10,000 rows of its set.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
# Radius of the centres' sphere, and whether clusters differ in size.
SYNTH = {
    "synth-64-100": (7 / 8, False),
    "synth-64-100-half": (7 / 16, False),
    "synth-64-100-quarter": (7 / 32, False),
    "synth-64-100-unequal": (7 / 8, True),
}
# The file of each, and how many of its rows are taken.
REAL = {
    "mnist": ("mnist", None),
    "fashion_mnist": ("fashion_mnist", None),
    "cifar10_mobilenetv2": ("cifar10_mobilenetv2", None),
    "cifar10_mobilenetv2-10000": ("cifar10_mobilenetv2", 10_000),
    "mnist_mobilenetv2": ("mnist_mobilenetv2", None),
    "fashion_mnist_mobilenetv2": ("fashion_mnist_mobilenetv2", None),
    "fashion_mnist_mobilenetv2-10000": ("fashion_mnist_mobilenetv2", 10_000),
}
NAMES = [*SYNTH, *REAL, "toy"]


class MissingData(Exception):
    """A data set is not at hand; the message says where it was looked for."""


@dataclass
class Labelled:
    """Rows to learn from and rows to test on, with labels."""

    rows: np.ndarray
    labels: np.ndarray
    test_rows: np.ndarray
    test_labels: np.ndarray
    n_classes: int

    def held_out(self, n_held_out):
        """Return a set whose test rows are the last training rows: to tune without the test set."""
        first = len(self.rows) - n_held_out
        return Labelled(
            self.rows[:first],
            self.labels[:first],
            self.rows[first:],
            self.labels[first:],
            self.n_classes,
        )


def unlabelled(name, folders=None):
    """Return float32 rows (n, d) and, of a synthetic set, the true centres (None otherwise)."""
    if name in SYNTH:
        return gaussians(*SYNTH[name])
    if name == "toy":
        return gaussians(7 / 8, False, n=2_000, d=8, k=4)
    return labelled(name, folders).rows, None


def labelled(name, folders=None):
    """Return a `Labelled` set, of the first of the folders that has its file."""
    if name == "toy":
        return toy()
    file, n = REAL[name]
    paths = [Path(folder) / f"{file}.npz" for folder in folders or [SHARED]]
    found = [path for path in paths if path.exists()]
    if not found:
        raise MissingData(f"no {' nor '.join(map(str, paths))}: name its folder with --data")
    with np.load(found[0]) as data:
        arrays = [data[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    rows, labels, test_rows, test_labels = arrays
    # Two of the files are sorted by class.
    order = np.arange(len(rows))
    if rows.ndim == 3:
        order = np.random.default_rng(0).permutation(len(rows))
    order = order[:n]
    return Labelled(
        unit(rows[order]), labels[order].astype(int), unit(test_rows), test_labels.astype(int), 10
    )


def unit(rows):
    rows = rows.reshape(len(rows), -1).astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def gaussians(radius, unequal, *, n=100_000, d=100, k=64):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((k, d))
    centres *= radius / np.linalg.norm(centres, axis=1, keepdims=True)
    weights = rng.dirichlet(np.ones(k)) if unequal else np.full(k, 1 / k)
    rows = rng.standard_normal((n, d), dtype=np.float32) / np.float32(80)
    rows += centres[rng.choice(k, n, p=weights)].astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
    return rows, centres


def toy():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 3_000)
    rows = np.abs(unit(2 * np.eye(3, 8)[labels] + 0.6 * rng.standard_normal((3_000, 8))))
    return Labelled(rows[:2_000], labels[:2_000], rows[2_000:], labels[2_000:], 3)
