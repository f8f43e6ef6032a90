"""One adapter a peer: `fit(rows, start, iterations)` from the same rows and the same centres.

`start` is the index of the row that each centre starts at. A peer that cannot be given centres
says so in `own_start`. `fit` is the peer's own whole call; where that call gives no labels,
`label` is a second one. All peers run with `THREADS` threads, without tolerance or restarts.

Nothing is imported before a peer is asked for: each runs in a process of its own (`worker.py`),
because OpenMP runtimes of several packages in one process slow each other down.
"""

import warnings
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import ClassVar
from unittest import mock

import numpy as np

THREADS = 2
NO_LIMIT = 1_000_000_000


@dataclass
class Fit:
    """What a peer's call returned; `labels` of the same rows, or None."""

    centres: np.ndarray
    n_iter: int
    labels: np.ndarray | None = None


class Peer:
    """A package under test. `environment` is set before its process starts."""

    package = ""
    environment: ClassVar[dict] = {}
    own_start = False
    labelled = True

    def __init__(self):
        self.version = version(self.package)

    def fit(self, rows, start, iterations):
        raise NotImplementedError

    def label(self, rows, fit):
        raise NotImplementedError


class ScikitLearn(Peer):
    package = "scikit-learn"
    algorithm = "lloyd"

    def __init__(self):
        super().__init__()
        self.estimator = import_module("sklearn.cluster").KMeans

    def fit(self, rows, start, iterations):
        k = len(start)
        model = self.estimator(
            k, init=rows[start], n_init=1, max_iter=iterations, tol=0.0, algorithm=self.algorithm
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that ten iterations do not converge is known
            model.fit(rows)
        self.check(model)
        return Fit(model.cluster_centers_, model.n_iter_, model.labels_)

    def check(self, model):
        pass


class Sklearnex(ScikitLearn):
    package = "scikit-learn-intelex"

    def __init__(self):
        super().__init__()
        self.estimator = import_module("sklearnex.cluster").KMeans

    def check(self, model):
        if not hasattr(model, "_onedal_estimator"):
            raise RuntimeError("sklearnex fell back to scikit-learn: this would time it twice")


class Cloister(ScikitLearn):
    package = "cloister"

    def __init__(self):
        cloister = import_module("cloister")
        self.version = cloister.__version__
        cloister.set_num_threads(THREADS)
        self.estimator = cloister.KMeans

    def fit(self, rows, start, iterations):
        model = self.estimator(len(start), init=rows[start], n_init=1, max_iter=iterations, tol=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(rows)
        return Fit(model.cluster_centers_, model.n_iter_, model.labels_)


class Faiss(Peer):
    package = "faiss-cpu"
    # The wheel's OpenBLAS does not know newer AMD processors and takes SSE3 kernels for them.
    environment: ClassVar[dict] = {"OPENBLAS_CORETYPE": "SKYLAKEX"}

    def __init__(self):
        super().__init__()
        self.faiss = import_module("faiss")
        self.faiss.omp_set_num_threads(THREADS)

    def fit(self, rows, start, iterations):
        d, k = rows.shape[1], len(start)
        limits = {"min_points_per_centroid": 1, "max_points_per_centroid": NO_LIMIT}
        self.model = self.faiss.Kmeans(d, k, niter=iterations, nredo=1, **limits)
        self.model.train(rows, init_centroids=rows[start])
        return Fit(self.model.centroids.copy(), len(self.model.iteration_stats))

    def label(self, rows, fit):
        return self.model.index.search(rows, 1)[1].ravel()


class FastKMeans(Peer):
    package = "fastkmeans"

    def __init__(self):
        super().__init__()
        self.torch = import_module("torch")
        self.torch.set_num_threads(THREADS)
        self.estimator = import_module("fastkmeans").FastKMeans

    def fit(self, rows, start, iterations):
        d, k = rows.shape[1], len(start)
        self.model = self.estimator(d, k, niter=iterations, tol=-1.0, gpu=False)
        # Its centres start at the first k of a permutation of the rows: give it ours.
        first = self.torch.from_numpy(start)
        with mock.patch.object(self.torch, "randperm", return_value=first):
            self.model.train(rows)
        return Fit(self.model.centroids.copy(), iterations)

    def label(self, rows, fit):
        return self.model.predict(rows)


class SuperKMeans(Peer):
    package = "superkmeans"
    own_start = True
    settings: ClassVar[dict] = {}

    def __init__(self):
        super().__init__()
        self.estimator = import_module("superkmeans").SuperKMeans

    def fit(self, rows, start, iterations):
        self.model = self.estimator(
            len(start),
            rows.shape[1],
            hierarchical=False,
            iters=iterations,
            sampling_fraction=1.0,
            max_points_per_cluster=NO_LIMIT,
            n_threads=THREADS,
            early_termination=False,
            **self.settings,
        )
        centres = self.model.train(rows)
        return Fit(np.array(centres), len(self.model.iteration_stats) or iterations)

    def label(self, rows, fit):
        return self.model.assign(rows, fit.centres)


class SuperKMeansBlas(SuperKMeans):
    settings: ClassVar[dict] = {"use_blas_only": True}


class SuperKMeansSq8(SuperKMeans):
    settings: ClassVar[dict] = {"quantizer": "sq8"}

    def label(self, rows, fit):
        return self.model.quantized_assign(rows, fit.centres)


class Torch(Peer):
    """What one writes by hand: product, minimum and `index_add_` of a chunk while it is cached."""

    package = "torch"
    chunk = 4_096

    def __init__(self):
        super().__init__()
        self.torch = import_module("torch")
        self.torch.set_num_threads(THREADS)

    def fit(self, rows, start, iterations):
        torch = self.torch
        data = torch.from_numpy(rows)
        centres = data[torch.from_numpy(start)].clone()
        for _ in range(iterations):
            sums, counts = torch.zeros_like(centres), torch.zeros(len(centres))
            for part, labels in self.nearest(data, centres):
                sums.index_add_(0, labels, part)
                counts += torch.bincount(labels, minlength=len(centres))
            filled = counts > 0
            centres[filled] = sums[filled] / counts[filled, None]
        labels = torch.cat([labels for _, labels in self.nearest(data, centres)])
        return Fit(centres.numpy(), iterations, labels.numpy())

    def nearest(self, data, centres):
        torch = self.torch
        half_norms = (centres * centres).sum(1) * 0.5
        distances = torch.empty(self.chunk, len(centres))
        for part in data.split(self.chunk):
            out = distances[: len(part)]
            torch.addmm(half_norms, part, centres.T, alpha=-1.0, out=out)
            yield part, out.min(1)[1]


PEERS = {
    "cloister": Cloister,
    "scikit-learn": ScikitLearn,
    "sklearnex": Sklearnex,
    "faiss": Faiss,
    "fastkmeans": FastKMeans,
    "superkmeans": SuperKMeans,
    "superkmeans-blas": SuperKMeansBlas,
    "superkmeans-sq8": SuperKMeansSq8,
    "torch": Torch,
}
