"""One case: peers in turns on the same arrays, then one judge for their results."""

import statistics
import tempfile
from pathlib import Path

import numpy as np

import evaluate
from workers import Failed

OURS = "cloister"
ALWAYS = (OURS, "DPKMeans")
# A peer is left out whose short fit takes so many times the fastest one's, and so many seconds.
HOPELESS, LONG_SECONDS = 10.0, 5.0
MEDIANS = (
    "seconds_per_iteration",
    "cpu_seconds_per_iteration",
    "fit_seconds",
    "label_seconds",
    "others",
)


def run_case(workers, rows_path, start_path, *, short, long, repeats, patience, say):
    """Return a dict of each peer's figures.

    Seconds an iteration are the difference of two whole fits, of `long` and of `short` iterations,
    over the iterations really made in between: what a peer does once a fit (copies, checks, the
    last labelling) cancels. All peers make the short fit in turn, then all the long one; the
    medians are over `repeats` such rounds. After the first round a peer that was more than
    `patience` times slower than the fastest is left with that one figure.
    """
    results = {}
    rounds = {worker.name: [] for worker in workers}
    with tempfile.TemporaryDirectory() as folder:
        running = _each(workers, results, lambda worker: worker.load(rows_path, start_path))[0]
        for repeat in range(repeats):
            kept = Path(folder) if repeat == 0 else None
            running, brief = _fits(running, results, short, kept)
            if repeat == 0:
                running = _hopeful(running, results, brief)
            running, full = _fits(running, results, long, kept)
            for worker in running:
                name = worker.name
                rounds[name].append(_round(brief[name], full[name]))
            if repeat == 0:
                judged = running
                running = _fast_enough(running, rounds, patience)
            say(f"round {repeat + 1} of {repeats}: {', '.join(full)}")
        say("judging labels, steps and errors")
        judged = _fits([w for w in judged if w.name not in results], results, short + 1, folder)[0]
        rows = np.load(rows_path, mmap_mode="r")
        for worker in judged:
            results[worker.name] = {
                "version": worker.version,
                "libraries": worker.libraries,
                "own_start": worker.own_start,
                **_medians(rounds[worker.name]),
                **_ratios(rounds[worker.name], rounds.get(OURS, [])),
                **_judge(rows, Path(folder), worker.name, short, long),
            }
    return results


def _fits(workers, results, iterations, folder):
    """Ask all for a fit; keep what they find in `folder`, if given."""

    def fit(worker):
        save = folder and Path(folder) / f"{worker.name}-{iterations}.npz"
        return worker.fit(iterations, save)

    return _each(workers, results, fit)


def _each(workers, results, ask):
    """Return the workers that could answer, and their answers; note why others could not."""
    able, answers = [], {}
    for worker in workers:
        try:
            answers[worker.name] = ask(worker)
            able.append(worker)
        except Failed as error:
            results[worker.name] = {"failed": str(error)}
    return able, answers


def _hopeful(workers, results, fits):
    fastest = min((fit["seconds"] for fit in fits.values()), default=0)
    for name, fit in fits.items():
        times = fit["seconds"] / fastest
        if times > HOPELESS and fit["seconds"] > LONG_SECONDS and name not in ALWAYS:
            text = f"left out: {fit['seconds']:.1f} s for {fit['n_iter']} iterations, {times:.0f} ×"
            results[name] = {"failed": f"{text} the fastest"}
    return [worker for worker in workers if worker.name not in results]


def _fast_enough(workers, rounds, patience):
    """Return the peers worth more rounds, by whole fits: differences of one round are noisy."""
    first = {worker.name: rounds[worker.name][0]["fit_seconds"] for worker in workers}
    limit = patience * min(first.values(), default=0)
    return [worker for worker in workers if worker.name in ALWAYS or first[worker.name] <= limit]


def _round(brief, full):
    made = full["n_iter"] - brief["n_iter"]
    gained = full["seconds"] - brief["seconds"]
    return {
        # Where both converged, or something else ran during the short fit, it says nothing.
        "seconds_per_iteration": gained / made if made > 0 and gained > 0 else None,
        "cpu_seconds_per_iteration": (full["cpu_seconds"] - brief["cpu_seconds"]) / max(made, 1),
        "fit_seconds": full["seconds"] + full["label_seconds"],
        "label_seconds": full["label_seconds"],
        "n_iter": full["n_iter"],
        "peak_bytes": max(fit["peak_bytes"] or 0 for fit in (brief, full)),
        "others": full["others"],
    }


def _medians(rounds):
    return {
        **{key: _median([one[key] for one in rounds]) for key in MEDIANS},
        "rounds": len(rounds),
        "n_iter": rounds[-1]["n_iter"],
        "peak_bytes": max(one["peak_bytes"] for one in rounds),
    }


def _ratios(rounds, ours):
    """Return the medians over rounds of (the peer's time / ours in the same round).

    Of a peer that was given up after its first round: its time / our median.
    """
    ratios = {}
    for key in ("seconds_per_iteration", "fit_seconds"):
        if len(rounds) < len(ours):
            theirs, median = (_median([r[key] for r in some if r[key]]) for some in (rounds, ours))
            ratios[f"{key}_ratio"] = theirs / median if theirs and median else None
            continue
        pairs = [(b[key], a[key]) for b, a in zip(rounds, ours, strict=False)]
        ratios[f"{key}_ratio"] = _median([b / a for b, a in pairs if a and b])
    return ratios


def _median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _judge(rows, folder, name, short, long):
    """Return the error of the long fit, and whether its labels and its steps are exact."""

    def load(iterations, key):
        with np.load(folder / f"{name}-{iterations}.npz") as file:
            return file.get(key)

    centres, labels = load(long, "centres"), load(long, "labels")
    exact = evaluate.nearest(rows, centres)
    error = float(exact.squared.mean())
    if labels is None:  # a private round promises neither
        return {"mean_squared_distance": error, "exact": False, "private": True}
    wrong = evaluate.wrong_labels(rows, centres, labels, exact)
    step = evaluate.step_error(rows, load(short, "centres"), load(short + 1, "centres"))
    return {
        "mean_squared_distance": error,
        "wrong_labels": wrong,
        "step_error": step,
        "exact": wrong == 0 and step <= evaluate.STEP_ERROR,
    }
