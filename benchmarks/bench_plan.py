"""The rules of plans beside measurement: what noise adds, and whether another plan were better.

    python benchmarks/bench_plan.py --json plan.json --tables docs/plan.md
    python benchmarks/bench_plan.py --parts noise --shape 1000 16 4 --epsilon 1
    python benchmarks/bench_plan.py --json plan.json --tables docs/plan.md --render

"noise": measured over predicted loss and largest eigenvalue (`cloister.predictions`). "rules": the
loss of DPKMeans as planned, beside that with other rounds, splits and clips of rounds given through
`plan_overrides`; its regret is by how much the best of them is better. Both at delta = 1e-6, means
over seeds.
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path

import plan_measure
import tables

PARTS = ("noise", "rules")
SHAPES = {
    "noise": [(1_000, 2, 2), (1_000, 16, 16), (10_000, 64, 256), (30_000, 1_024, 10),
              (100_000, 256, 64), (1_000_000, 16, 256)],
    "rules": [(1_000, 2, 2), (1_000, 16, 8), (10_000, 64, 10), (10_000, 64, 256),
              (30_000, 1_024, 10), (100_000, 2, 16), (100_000, 64, 64), (1_000_000, 16, 256)],
}  # fmt: skip
EPSILONS = (0.25, 1.0, 8.0)
ALTERNATIVES = {
    **{f"{rounds} rounds": {"rounds": rounds} for rounds in (1, 2, 5, 10, 20)},
    **{f"{splits} splits": {"splits": splits} for splits in (0, 1, 2)},
    **{f"clip {radius}": {"round_radius": radius} for radius in (0.5, 0.75, 2.0)},
}


def noise(shape, epsilon, seeds):
    n, d, k = shape
    losses = [plan_measure.loss_ratio(n, d, k, epsilon, seed) for seed in seeds]
    tops = [plan_measure.eigenvalue_ratio(n, d, epsilon, seed) for seed in seeds]
    return {"loss_ratio": statistics.fmean(losses), "eigenvalue_ratio": statistics.fmean(tops)}


def rules(shape, epsilon, seeds, kind):
    """Return the mean loss of each plan, and what the rule chose."""
    n, d, k = shape
    rows = plan_measure.rows_of(kind, n, d, k)
    free = [plan_measure.fit_loss(rows, k, math.inf, seed, None)[0] for seed in seeds]
    losses, planned = {}, None
    for name, overrides in {"rule": None, **ALTERNATIVES}.items():
        if planned is not None and all(
            getattr(planned, field) == value for field, value in overrides.items()
        ):
            losses[name] = losses["rule"]
            continue
        fits = [plan_measure.fit_loss(rows, k, epsilon, seed, overrides) for seed in seeds]
        losses[name] = [loss for loss, _ in fits]
        planned = planned or fits[0][1]
    means = {name: statistics.fmean(values) for name, values in losses.items()}
    best = min(means, key=means.get)
    return {
        "rounds": planned.rounds,
        "splits": planned.splits,
        "clip": planned.round_radius,
        "predicted_added_loss": planned.added_loss,
        "losses": means,
        "spread": statistics.stdev(losses["rule"]) if len(seeds) > 1 else None,
        "without_noise": statistics.fmean(free),
        "best": best,
        "regret": means["rule"] / means[best] - 1,
    }


def measure(options):
    """Yield a record of each case that was asked for."""
    seeds = range(options.seeds)
    for part in options.parts:
        for shape in [tuple(shape) for shape in options.shape or SHAPES[part]]:
            for kind in plan_measure.KINDS if part == "rules" else ["clusters"]:
                for epsilon in options.epsilon or EPSILONS:
                    begin = time.perf_counter()
                    case = {"part": part, "rows": kind, "shape": list(shape), "epsilon": epsilon}
                    more = (kind,) if part == "rules" else ()
                    found = {"noise": noise, "rules": rules}[part](shape, epsilon, seeds, *more)
                    seconds = time.perf_counter() - begin
                    print(f"{' '.join(map(str, case.values()))} ({seconds:.0f} s): {found}")
                    yield {**case, "seeds": options.seeds, **found}


def noise_table(records):
    lines = [
        "| n × d × k | ε | added loss, measured / predicted | eigenvalue, measured / predicted |",
        "|---|---|---|---|",
    ]
    for r in records:
        ratios = f"{r['loss_ratio']:.2f} | {r['eigenvalue_ratio']:.2f}"
        lines.append(f"| {tables.shape(r)} | {r['epsilon']:g} | {ratios} |")
    return "\n".join(lines)


def rules_table(records):
    lines = [
        "| rows | n × d × k | ε | rounds, splits, clip | loss | ± | without noise "
        "| added, measured | predicted | best of the others | regret |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in records:
        loss, free = r["losses"]["rule"], r["without_noise"]
        spread = "–" if r["spread"] is None else f"{r['spread']:.4f}"
        lines.append(
            f"| {r['rows']} | {tables.shape(r)} | {r['epsilon']:g} "
            f"| {r['rounds']}, {r['splits']}, {r['clip']:.2f} | {loss:.4f} | {spread} | {free:.4f} "
            f"| {loss / free - 1:+.1%} | {r['predicted_added_loss']:.1%} "
            f"| {'the rule' if r['best'] == 'rule' else r['best']} | {r['regret']:.1%} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--parts", choices=PARTS, nargs="+", default=PARTS)
    add("--shape", nargs=3, type=int, action="append", metavar=("N", "D", "K"),
        help="instead of the grid")  # fmt: skip
    add("--epsilon", type=float, nargs="+", help="default: 0.25, 1 and 8")
    add("--seeds", type=int, default=3, help="draws of rows, of noise and of public randomness")
    add("--json", type=Path, help="file into which cases are merged")
    add("--tables", type=Path, nargs="+", default=[], help="files with marked tables to rewrite")
    add("--render", action="store_true", help="run nothing: tables from the JSON file")
    options = parser.parse_args()
    records = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    for record in [] if options.render else measure(options):
        records = sorted([r for r in records if order(r) != order(record)] + [record], key=order)
        if options.json:
            options.json.write_text(json.dumps(records, indent=1) + "\n")
    parts = {part: [r for r in records if r["part"] == part] for part in PARTS}
    made = {"plan noise": noise_table(parts["noise"]), "plan rules": rules_table(parts["rules"])}
    for path in options.tables:
        print(f"{path}: {', '.join(tables.rewrite(path, made)) or 'no table'}")


def order(record):
    return record["part"], record["rows"], record["shape"], record["epsilon"]


if __name__ == "__main__":
    main()
