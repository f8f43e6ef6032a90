"""How well a private mixture recovers known parameters, against n, d, k, ε and separation.

    python benchmarks/bench_recovery.py --json recovery.json --tables docs/recovery.md
    python benchmarks/bench_recovery.py --axis epsilon --seeds 1

One number of the base case changes at a time. Beside each error stand that of EM without privacy,
started at the truth, and what theory predicts (`known_mixtures.theory`). A slope is fitted to the
distance between private means and those of EM: noise alone makes it, 1 / (n ε) in theory.
"""

import argparse
import json
import math
from pathlib import Path
from statistics import fmean

import numpy as np

import tables
from cloister import DPGaussianMixture
from known_mixtures import DELTA, apart, em_fit, errors, known_mixture, theory

BASE = {"n": 100_000, "d": 32, "k": 8, "epsilon": 1.0, "separation": 8.0}
AXES = {
    "n": (5_000, 10_000, 30_000, 100_000, 300_000),
    "d": (2, 8, 32, 128),
    "k": (2, 8, 32, 64),
    "epsilon": (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, math.inf),
    "separation": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 16.0),
}
SLOPES = ("n", "epsilon")  # those in which noise falls
NAMES = {"epsilon": "ε"}


def measure(case, seeds):
    """Return the mean errors of a case over mixtures drawn anew, each with noise of its own."""
    found = []
    for seed in range(seeds):
        known = known_mixture(*(case[name] for name in ("n", "d", "k", "separation")), seed=seed)
        best = em_fit(known)
        model = DPGaussianMixture(case["k"], epsilon=case["epsilon"], delta=DELTA)
        model.fit(known.rows)
        fit = model.means_, model.weights_, model.covariances_.matrices()[0]
        em, predicted = errors(known, *best), theory(known, model)
        own = errors(known, *fit)
        found.append(
            {
                **own,
                **{f"em_{name}": value for name, value in em.items()},
                **{f"theory_{name}": value for name, value in predicted.items()},
                "added": apart(best[0], fit[0]) / known.deviation,
                "recovered": own["mean"] <= 2 * em["mean"] + predicted["noise"],
            }
        )
    means = {name: fmean(one[name] for one in found) for name in found[0]}
    return {**case, "runs": seeds, **means}


def walk(base, axis, values, seeds, say):
    """Measure the base case with each value of one number."""
    results = []
    for value in values:
        results.append({"axis": axis, **measure({**base, axis: value}, seeds)})
        say(line(results[-1]))
    return results


def line(result):
    """Return a row of the table."""
    case = " | ".join(f"{result[name]:,g}" for name in BASE)
    numbers = " | ".join(
        f"{result[name]:.3g}"
        for name in (
            *("mean", "em_mean", "theory_em", "theory_noise", "added"),
            *("weight", "em_weight", "spectrum", "em_spectrum"),
        )
    )
    return f"| {case} | {result['recovered'] * result['runs']:.0f} / {result['runs']} | {numbers} |"


def table(results):
    heads = [NAMES.get(name, name) for name in BASE] + [
        *("recovered", "mean", "EM", "theory: EM", "theory: noise", "from EM"),
        *("weight", "EM", "spectrum", "EM"),
    ]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for axis in AXES:
        rows += [line(one) for one in results if one["axis"] == axis]
    return "\n".join(rows)


def slopes(results):
    """Return the slope of log distance from EM's means on the log of n and of epsilon."""
    found = {}
    for axis in SLOPES:
        runs = [one for one in results if one["axis"] == axis and math.isfinite(one["epsilon"])]
        runs = [one for one in runs if one["recovered"] == 1]
        if len(runs) > 1:
            x, y = (np.log([one[name] for one in runs]) for name in (axis, "added"))
            found[axis] = float(np.polyfit(x, y, 1)[0])
    return found


def slope_table(results):
    rows = ["| against | slope of the distance from EM's means | theory |", "|---|---|---|"]
    rows += [f"| {NAMES.get(a, a)} | {slope:.2f} | -1 |" for a, slope in slopes(results).items()]
    return "\n".join(rows)


def changed(text):
    """Read a number of the base case, NAME=VALUE."""
    name, _, value = text.partition("=")
    return name, type(BASE[name])(value)


def plain(results):
    """JSON knows no infinity."""
    return [{**one, "epsilon": min(one["epsilon"], 1e300)} for one in results]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--axis", choices=AXES, nargs="+", default=list(AXES))
    add("--values", type=float, nargs="+", help="with one --axis: these instead")
    add("--base", nargs="+", type=changed, default=[], metavar="NAME=VALUE", help="another base")
    add("--seeds", type=int, default=3, help="mixtures and noise draws of each case")
    add("--json", type=Path, help="file that the figures are written to")
    add("--tables", type=Path, nargs="+", default=[], help="files with marked tables to rewrite")
    options = parser.parse_args()
    if options.values and len(options.axis) > 1:
        parser.error("--values needs one --axis")

    def say(text):
        print(text, flush=True)

    say(table([]))
    results, base = [], {**BASE, **dict(options.base)}
    for axis in options.axis:
        kind = type(BASE[axis])
        values = [kind(value) for value in options.values or AXES[axis]]
        results += walk(base, axis, values, options.seeds, say)
        if options.json:
            options.json.write_text(json.dumps(plain(results), indent=1) + "\n")
    print(slope_table(results))
    for path in options.tables:
        tables.rewrite(path, {"recovery": table(results), "slopes": slope_table(results)})


if __name__ == "__main__":
    main()
