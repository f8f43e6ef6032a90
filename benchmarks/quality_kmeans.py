"""Part 1: mean squared distance of private centres, at equal (ε, δ), beside the non-private one."""

import math
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

import evaluate
import quality_rows
from cloister import DPKMeans, KMeans
from quality_records import written
from workers import Failed, Missing, Worker

DELTA = 1e-6
RADIUS = 1.0
STARTS = 5
# What needs no budget is measured once, as ε = ∞.
FREE = ("one mean", "true centres", "KMeans")
FOREIGN = ("google", "google centred", "diffprivlib")
METHODS = [*FREE, "DPKMeans", *FOREIGN]


def run(names, counts, epsilons, methods, seeds, *, options, say):
    """Yield a record of each run."""
    for name in names:
        try:
            rows, centres = quality_rows.unlabelled(name, options.data)
        except quality_rows.MissingData as error:
            say(f"{name}: skipped: {error}")
            continue
        # The synthetic sets say how many centres they have.
        for k in counts if centres is None else [len(centres)]:
            case = Case(name, rows, centres, k, epsilons, seeds, say)
            yield from case.free([method for method in methods if method in FREE])
            if "DPKMeans" in methods:
                yield from case.ours()
            for method in methods:
                if method in FOREIGN:
                    yield from case.foreign(method, options)


class Case:
    """One set of rows and one k."""

    def __init__(self, name, rows, centres, k, epsilons, seeds, say):
        self.name, self.rows, self.true_centres, self.k = name, rows, centres, k
        self.epsilons, self.seeds, self.say = epsilons, seeds, say

    def record(self, method, epsilon, seed, centres, seconds, **more):
        loss = float(evaluate.nearest(self.rows, centres).squared.mean())
        self.say(f"{self.name} k={self.k} {method} ε={epsilon:g}: {loss:.4f} in {seconds:.1f} s")
        return {
            "part": "k-means",
            "rows": self.name,
            "shape": list(self.rows.shape),
            "k": self.k,
            "method": method,
            "epsilon": written(epsilon),
            "delta": DELTA,
            "seed": seed,
            "loss": loss,
            "seconds": round(seconds, 3),
            **more,
        }

    def free(self, methods):
        for method in methods:
            begin = time.perf_counter()
            if method == "one mean":
                centres = self.rows.mean(0, dtype=np.float64)[None]
            elif method == "true centres":
                centres = self.true_centres
            else:
                model = KMeans(self.k, n_init=STARTS, random_state=0)
                centres = model.fit(self.rows).cluster_centers_
            if centres is not None:
                seconds = time.perf_counter() - begin
                yield self.record(method, math.inf, 0, centres, seconds)

    def ours(self):
        """The rows' norm is all that is known: not even their number."""
        for epsilon in self.epsilons:
            for seed in self.seeds if math.isfinite(epsilon) else [0]:
                settings = {"clip_norm": RADIUS, "random_state": seed}
                begin = time.perf_counter()
                model = DPKMeans(self.k, epsilon, DELTA, **settings).fit(self.rows)
                seconds = time.perf_counter() - begin
                centres = model.cluster_centers_
                yield self.record("DPKMeans", epsilon, seed, centres, seconds)

    def foreign(self, method, options):
        """Run a library in its own process; `centred` gives it the exact mean as a present.

        Centred rows have the exact largest norm as their radius, a second present.
        """
        name = method.split()[0]
        shift, radius = np.zeros(self.rows.shape[1], np.float32), RADIUS
        if method.endswith("centred"):
            shift = self.rows.mean(0, dtype=np.float64).astype(np.float32)
            radius = float(np.linalg.norm(self.rows - shift, axis=1).max())
        try:
            worker = Worker(name, python=options.dp_python, path=options.dp_path)
        except (Missing, Failed) as error:
            self.say(f"{method} is not available here: {error}")
            return
        with closing(worker), tempfile.TemporaryDirectory() as folder:
            rows, start, save = (Path(folder) / f"{part}.npy" for part in ("rows", "k", "fit"))
            np.save(rows, self.rows - shift)
            np.save(start, np.arange(self.k))
            worker.load(rows, start)
            for epsilon in filter(math.isfinite, self.epsilons):
                worker.set_privacy(epsilon, DELTA, radius)
                yield from self.foreign_fits(method, worker, epsilon, shift, save)

    def foreign_fits(self, method, worker, epsilon, shift, save):
        save = save.with_suffix(".npz")
        for seed in self.seeds:
            try:
                seconds = worker.fit(0, save)["seconds"]
            except Failed as error:
                self.say(f"{self.name} k={self.k} {method} ε={epsilon:g} failed: {error}")
                return
            with np.load(save) as file:
                centres = file["centres"] + shift
            found = {"version": worker.version, "n_centres": len(centres)}
            yield self.record(method, epsilon, seed, centres, seconds, **found)
