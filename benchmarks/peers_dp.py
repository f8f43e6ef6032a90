"""Adapters of private clustering, beside those of `peers.py`; by default ε = 1 and δ = 1e-5.

`iterations` counts rounds from public centres where a peer has them. With 0 it is the peer's whole
private fit with its own settings and its own start, which is how users call it.

Google's library is on no package index: clone github.com/google/differential-privacy and name its
folder `learning` with `--dp-path`. diffprivlib needs an older scikit-learn than the other peers:
name the interpreter of an environment with `requirements-peers-dp.txt` with `--dp-python`.
"""

import time
from importlib import import_module

import numpy as np

from data import ROW_NORM
from peers import THREADS, Fit, Peer

EPSILON, DELTA = 1.0, 1e-5


class PrivatePeer(Peer):
    labelled = False
    epsilon, delta, radius = EPSILON, DELTA, ROW_NORM

    def set_privacy(self, epsilon, delta, radius):
        """Take another budget, and another public bound on the norms of rows."""
        self.epsilon, self.delta, self.radius = epsilon, delta, radius


class DPKMeans(PrivatePeer):
    package = "cloister"

    def __init__(self):
        cloister = import_module("cloister")
        self.version = cloister.__version__
        cloister.set_num_threads(THREADS)
        self.estimator = cloister.DPKMeans

    def fit(self, rows, start, iterations):
        settings = {"clip_norm": self.radius, "n_hint": len(rows)}
        if iterations:
            settings |= {"init": rows[start].astype(np.float64), "n_rounds": iterations}
        model = self.estimator(len(start), self.epsilon, self.delta, **settings).fit(rows)
        return Fit(model.cluster_centers_, model.n_iter_)

    def noise_seconds(self, cells):
        """Return the seconds that the noise of one released tally of that many cells takes."""
        generator = import_module("cloister.privacy.generator")
        durations = []
        for _ in range(5):
            begin = time.perf_counter()
            generator.rounded_gaussian(2.0**20, cells, key=generator.fresh_key())
            durations.append(time.perf_counter() - begin)
        return sorted(durations)[2]


class Google(PrivatePeer):
    """The private centres alone: its call also labels all rows in a Python loop, not timed here."""

    package = "dp-accounting"  # Google's own package, that its clustering is built on

    def __init__(self):
        super().__init__()
        self.algorithm = import_module("clustering.clustering_algorithm")
        self.params = import_module("clustering.clustering_params")
        self.algorithm.ClusteringResult = lambda data, centres: centres

    def fit(self, rows, start, iterations):
        centres = self.algorithm.private_lsh_clustering(
            len(start),
            self.params.Data(rows, self.radius),
            self.params.DifferentialPrivacyParam(self.epsilon, self.delta),
        )
        return Fit(centres, 1)


class Diffprivlib(PrivatePeer):
    """Pure ε; each feature lies between minus and plus the bound on the norm."""

    package = "diffprivlib"

    def __init__(self):
        super().__init__()
        self.estimator = import_module("diffprivlib.models").KMeans

    def fit(self, rows, start, iterations):
        bounds = (-self.radius, self.radius)
        model = self.estimator(len(start), epsilon=self.epsilon, bounds=bounds)
        model.fit(rows)
        return Fit(model.cluster_centers_, model.n_iter_)


PRIVATE_PEERS = {"DPKMeans": DPKMeans, "google": Google, "diffprivlib": Diffprivlib}
