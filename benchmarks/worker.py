"""A process that runs one peer: JSON lines in, JSON lines out, until its input ends.

    python benchmarks/worker.py scikit-learn

`{"rows": path, "start": path}` loads arrays; `{"iterations": i, "save": path}` fits and answers
seconds, iterations really made and peak memory; centres and labels go into the file `save`;
`{"noise": cells}` times the noise of a private peer; `{"privacy": {...}}` sets its budget.
"""

import gc
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from peers import PEERS
from peers_dp import PRIVATE_PEERS


def resident(field):
    """Return a memory figure of this process in bytes: VmRSS (now) or VmHWM (peak)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def forget_peak():
    """Start a new peak; return whether the system can do that (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def busy_seconds():
    """Return the seconds that all processors together have worked since boot; 0 if unknown."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    idle = int(fields[3]) + int(fields[4])  # idle, and waiting for disks
    return (sum(map(int, fields)) - idle) / os.sysconf("SC_CLK_TCK")


def timed_fit(peer, rows, start, iterations, save):
    gc.collect()
    before = resident("VmRSS") if forget_peak() else None
    busy, own = busy_seconds(), time.process_time()
    begin = time.perf_counter()
    fit = peer.fit(rows, start, iterations)
    end = time.perf_counter()
    own = time.process_time() - own
    others = (busy_seconds() - busy - own) / (os.cpu_count() * (end - begin))
    labels, label_end = fit.labels, end
    if labels is None and peer.labelled:
        labels = peer.label(rows, fit)
        label_end = time.perf_counter()
    peak = None if before is None else resident("VmHWM") - before
    if save:
        found = {} if labels is None else {"labels": labels}
        np.savez(save, centres=fit.centres, **found)
    return {
        "seconds": end - begin,
        "cpu_seconds": own,
        "others": min(max(others, 0.0), 1.0),  # the system counts in ticks
        "label_seconds": label_end - end,
        "n_iter": int(fit.n_iter),
        "peak_bytes": peak,
    }


def serve(name, requests, answers):
    def answer(message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        peer = (PEERS | PRIVATE_PEERS)[name]()
    except ImportError as error:  # PackageNotFoundError is one
        return answer({"missing": f"{type(error).__name__}: {error}"})
    toy = np.random.default_rng(0).standard_normal((2_000, 8), dtype=np.float32)
    peer.fit(toy, np.arange(4), 2)  # lazy imports and thread pools are no part of a fit
    blas = [f"{lib['prefix']} {lib.get('architecture', '')}".strip() for lib in threadpool_info()]
    answer({"version": peer.version, "own_start": peer.own_start, "libraries": blas})
    rows = start = None
    for line in requests:
        request = json.loads(line)
        try:
            if "rows" in request:
                rows = None
                rows, start = np.load(request["rows"]), np.load(request["start"])
                answer({"loaded": list(rows.shape)})
            elif "noise" in request:
                answer({"seconds": peer.noise_seconds(request["noise"])})
            elif "privacy" in request:
                peer.set_privacy(**request["privacy"])
                answer({})
            else:
                answer(timed_fit(peer, rows, start, request["iterations"], request.get("save")))
        except (RuntimeError, ValueError, MemoryError) as error:
            answer({"failed": f"{type(error).__name__}: {error}"})
    return None


if __name__ == "__main__":
    # Some peers print: what they say must not get between the answers.
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.argv[1], sys.stdin, own)
