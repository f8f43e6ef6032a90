"""One case: peers in turns on the same arrays, then one judge for their results."""

import statistics
import tempfile
from pathlib import Path

import numpy as np

import evaluate
from workers import Failed

OURS = "cloister"
ALWAYS = (OURS, "DPKMeans")


def run_case(workers, rows_path, start_path, *, short, long, repeats, patience, say):
    """Return a dict of each peer's figures.

    Seconds an iteration are the difference of two whole fits, of `long` and of `short` iterations,
    over the iterations really made in between: what a peer does once a fit (copies, checks, the
    last labelling) cancels. All peers make the short fit in turn, then all the long one; the
    medians are over `repeats` such rounds. After the first round a peer that was more than
    `patience` times slower than the fastest is left with that one figure.
    """
    for worker in workers:
        worker.load(rows_path, start_path)
    timings = {worker.name: [] for worker in workers}
    failures = {}
    running = list(workers)
    for repeat in range(repeats):
        fits = {worker.name: {} for worker in running}
        for iterations in (short, long):
            for worker in list(running):
                try:
                    fits[worker.name][iterations] = worker.fit(iterations)
                except Failed as error:
                    failures[worker.name] = str(error)
                    running.remove(worker)
        for worker in running:
            timings[worker.name].append(_round(fits[worker.name], short, long))
        if repeat == 0:
            running = _fast_enough(running, timings, patience)
        say(f"round {repeat + 1} of {repeats}: {', '.join(w.name for w in running)} go on")
    rows, start = np.load(rows_path, mmap_mode="r"), np.load(start_path)
    results = {name: {"failed": why} for name, why in failures.items()}
    for worker in workers:
        if worker.name not in failures:
            say(f"judging {worker.name}")
            results[worker.name] = {
                "version": worker.version,
                "libraries": worker.libraries,
                "own_start": worker.own_start,
                **_medians(timings[worker.name]),
                **_judge(worker, rows, start, short, long),
            }
    _add_ratios(results, timings)
    return results


def _round(fits, short, long):
    brief, full = fits[short], fits[long]
    made = full["n_iter"] - brief["n_iter"]
    gained = full["seconds"] - brief["seconds"]
    return {
        # Where both converged, or something else ran during the short fit, it says nothing.
        "seconds_per_iteration": gained / made if made > 0 and gained > 0 else None,
        "fit_seconds": full["seconds"] + full["label_seconds"],
        "label_seconds": full["label_seconds"],
        "n_iter": full["n_iter"],
        "peak_bytes": max((f["peak_bytes"] or 0 for f in fits.values()), default=0),
    }


def _fast_enough(running, timings, patience):
    """Return the peers worth more rounds, by whole fits: differences of one round are noisy."""
    first = {worker.name: timings[worker.name][0]["fit_seconds"] for worker in running}
    limit = patience * min(first.values(), default=0)
    return [worker for worker in running if first[worker.name] <= limit or worker.name in ALWAYS]


def _medians(rounds):
    keys = ("seconds_per_iteration", "fit_seconds", "label_seconds")
    return {
        **{key: _median([one[key] for one in rounds]) for key in keys},
        "rounds": len(rounds),
        "n_iter": rounds[-1]["n_iter"],
        "peak_bytes": max(one["peak_bytes"] for one in rounds),
    }


def _median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _judge(worker, rows, start, short, long):
    """Return the error of the long fit, and whether its labels and its steps are exact."""
    with tempfile.TemporaryDirectory() as folder:
        saved = {}
        for iterations in (short, short + 1, long):
            path = Path(folder) / f"{iterations}.npz"
            worker.fit(iterations, path)
            with np.load(path) as file:
                saved[iterations] = file["centres"], file.get("labels")
    centres, labels = saved[long]
    exact = evaluate.nearest(rows, centres)
    error = float(exact.squared.mean())
    if labels is None:  # a private round promises neither
        return {"mean_squared_distance": error, "exact": False, "private": True}
    wrong = evaluate.wrong_labels(rows, centres, labels, exact)
    step = evaluate.step_error(rows, saved[short][0], saved[short + 1][0])
    return {
        "mean_squared_distance": error,
        "wrong_labels": wrong,
        "step_error": step,
        "exact": wrong == 0 and step <= evaluate.STEP_ERROR,
    }


def _add_ratios(results, timings):
    """Add the median over rounds of (the peer's time / ours in the same round)."""
    ours = timings.get(OURS, [])
    for name, result in results.items():
        for key in ("seconds_per_iteration", "fit_seconds"):
            pairs = zip(timings[name], ours, strict=False)
            ratios = [b[key] / a[key] for b, a in pairs if a[key] and b[key]]
            if "failed" not in result:
                result[f"{key}_ratio"] = _median(ratios)
