"""Whole private fits in turns, with the error of the centres that they release."""

import statistics
import tempfile
from pathlib import Path

import numpy as np

import evaluate
from workers import Failed


def run_private(workers, rows_path, start_path, *, repeats, say):
    """Return a dict of each peer's whole fit, its error, and our noise a round."""
    rows = np.load(rows_path, mmap_mode="r")
    k, d = len(np.load(start_path)), rows.shape[1]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats):
            for worker in workers:
                if "failed" in results.get(worker.name, {}):
                    continue
                say(f"private fit {repeat + 1} of {repeats}: {worker.name}")
                path = Path(folder) / f"{worker.name}.npz"
                try:
                    if repeat == 0:
                        worker.load(rows_path, start_path)
                    answer = worker.fit(0, path)
                except Failed as error:
                    results[worker.name] = {"failed": str(error)}
                    continue
                with np.load(path) as file:
                    error = float(evaluate.nearest(rows, file["centres"]).squared.mean())
                one = results.setdefault(worker.name, {"version": worker.version, "runs": []})
                one["runs"].append(answer | {"mean_squared_distance": error})
    for worker in workers:
        runs = results[worker.name].pop("runs", [])
        if runs:
            results[worker.name] |= _medians(runs)
        if worker.name == "DPKMeans" and runs:
            results[worker.name]["noise_seconds_per_round"] = worker.noise(k * (d + 1))
    return results


def _medians(runs):
    keys = ("seconds", "mean_squared_distance", "peak_bytes")
    return {key: statistics.median(run[key] or 0 for run in runs) for key in keys} | {
        "rounds": len(runs),
        "n_iter": runs[-1]["n_iter"],
    }
