"""Time the device kernels beside their floors, beside torch and other packages, and check them.

Every figure stands beside the least time that the operations, at the rate measured for the largest
matrix product here, or the bytes, at the bandwidth measured for the largest copy, would take.
Every row has an error beside its speed: the tallies' SHA-256 against the CPU's on the first rows,
or the share of labels that differ from exact ones.

python benchmarks/bench_cuda.py --json cuda.json [--tables docs/cuda.md] [--rows 10000000]
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

import cuda_cases

START, END = "<!-- measured -->", "<!-- /measured -->"


def seconds(call, repeats):
    """Return the median time of `call` after one for warmth; it waits for the device itself."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        call()
        synchronize()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measured(case, repeats):
    """Return one line of the table as a dictionary."""
    own = seconds(case.run, repeats)
    rivals = {name: rival(case, call, repeats) for name, call in case.rivals.items()}
    return {
        "case": case.name,
        "seconds": own,
        "floor": case.floor,
        "bound": case.bound,
        "error": case.check(),
        "rivals": rivals,
    }


def rival(case, call, repeats):
    """Return a rival's time, and the share of its labels that are not the nearest centre's."""
    try:
        taken = seconds(call, max(1, repeats // 2))
    except (RuntimeError, MemoryError) as error:  # shown in the record, not hidden
        return {"failed": str(error).splitlines()[0][:80]}
    return {"seconds": taken, "wrong_labels": case.wrong_labels(call())}


def line(result):
    ratio = result["seconds"] / result["floor"]
    timed = {name: found for name, found in result["rivals"].items() if "seconds" in found}
    best = min(timed, key=lambda name: timed[name]["seconds"], default=None)
    beside = "–"
    if best is not None:
        times, wrong = timed[best]["seconds"] / result["seconds"], timed[best]["wrong_labels"]
        beside = f"{times:.2f} × ({best}; {wrong:.2g} of its labels wrong)"
    return (
        f"| {result['case']} | {1e3 * result['seconds']:.3g} | {1e3 * result['floor']:.3g} "
        f"({result['bound']}) | {ratio:.2f} | {beside} | {result['error']} |"
    )


def table(record):
    machine = record["machine"]
    head = (
        f"{machine['name']}, driver {machine['driver']}: copies at "
        f"{machine['bandwidth'] / 1e12:.2f} TB/s, over the bus at {machine['bus'] / 1e9:.0f} GB/s, "
        f"int8 products at {machine['int8'] / 1e12:.0f} and float16 at "
        f"{machine['float16'] / 1e12:.0f} · 10^12 operations a second.\n\n"
        "| case | ms | floor, ms (what binds) | times the floor | best rival | error |\n"
        "|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(line(result) for result in record["results"])


def write_tables(path, record):
    text = path.read_text()
    before, after = text.split(START)[0], text.split(END)[1]
    path.write_text(f"{before}{START}\n\n{table(record)}\n\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--clusters", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="names of parts, such as tally")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tables", type=Path)
    arguments = parser.parse_args()
    machine = cuda_cases.machine()
    results = []
    for case in cuda_cases.cases(machine, arguments):
        results.append(measured(case, arguments.repeats))
        print(line(results[-1]), flush=True)
    record = {"machine": machine, "results": results}
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    if arguments.tables:
        write_tables(arguments.tables, record)


if __name__ == "__main__":
    main()
