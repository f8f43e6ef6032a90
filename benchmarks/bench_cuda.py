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

import cuda_cases
import torch

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
    rivals = {}
    for name, call in case.rivals.items():
        try:
            rivals[name] = seconds(call, max(1, repeats // 2))
        except (RuntimeError, MemoryError) as error:  # shown in the table, not hidden
            rivals[name] = str(error).splitlines()[0][:80]
    return {
        "case": case.name,
        "seconds": own,
        "floor": case.floor,
        "bound": case.bound,
        "error": case.check(),
        "rivals": rivals,
    }


def line(result):
    ratio = result["seconds"] / result["floor"]
    timed = {name: value for name, value in result["rivals"].items() if not isinstance(value, str)}
    best = min(timed, key=timed.get, default=None)
    rival = "–" if best is None else f"{timed[best] / result['seconds']:.2f} × ({best})"
    return (
        f"| {result['case']} | {1e3 * result['seconds']:.3g} | {1e3 * result['floor']:.3g} "
        f"({result['bound']}) | {ratio:.2f} | {rival} | {result['error']} |"
    )


def table(record):
    machine = record["machine"]
    head = (
        f"{machine['name']}, driver {machine['driver']}: copies at {machine['bandwidth'] / 1e12:.2f}"
        f" TB/s, int8 products at {machine['int8'] / 1e12:.0f}, float16 at "
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
