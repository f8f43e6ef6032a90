"""Adapters of private clustering, beside those of `peers.py`: ε = 1, δ = 1e-5, rows in a ball.

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


class DPKMeans(PrivatePeer):
    package = "cloister"

    def __init__(self):
        cloister = import_module("cloister")
        self.version = cloister.__version__
        cloister.set_num_threads(THREADS)
        self.estimator = cloister.DPKMeans

    def fit(self, rows, start, iterations):
        settings = {"clip_norm": ROW_NORM, "n_hint": len(rows)}
        if iterations:
            settings |= {"init": rows[start].astype(np.float64), "n_rounds": iterations}
        model = self.estimator(len(start), EPSILON, DELTA, **settings).fit(rows)
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
            self.params.Data(rows, ROW_NORM),
            self.params.DifferentialPrivacyParam(EPSILON, DELTA),
        )
        return Fit(centres, 1)


class Diffprivlib(PrivatePeer):
    """Pure ε; each feature lies between -ROW_NORM and ROW_NORM."""

    package = "diffprivlib"

    def __init__(self):
        super().__init__()
        self.estimator = import_module("diffprivlib.models").KMeans

    def fit(self, rows, start, iterations):
        model = self.estimator(len(start), epsilon=EPSILON, bounds=(-ROW_NORM, ROW_NORM))
        model.fit(rows)
        return Fit(model.cluster_centers_, model.n_iter_)


PRIVATE_PEERS = {"DPKMeans": DPKMeans, "google": Google, "diffprivlib": Diffprivlib}
