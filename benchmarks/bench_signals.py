"""How long a kernel runs on after Ctrl-C: the longest of several, on each instruction set.

python benchmarks/bench_signals.py [--repeats 5]
"""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from cloister import _backend
from signals import KERNELS


def latency(call, delay: float) -> float:
    """Seconds from a SIGINT, `delay` after the start, to the KeyboardInterrupt."""
    sent = []

    def interrupt() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(delay, interrupt).start()
    try:
        while True:
            call()
    except KeyboardInterrupt:
        return time.perf_counter() - sent[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    rng = np.random.default_rng(0)
    print("kernel                  target   one call   latency, longest")
    for name, kernel in KERNELS.items():
        call = kernel(rng, 4)
        for target in _backend.supported_targets():
            with _backend.use_target(target):
                start = time.perf_counter()
                call()
                once = time.perf_counter() - start
                within = min(max(once, 0.2), 2.0)  # past what prepares the call, too
                longest = max(latency(call, rng.uniform(0.02, within)) for _ in range(repeats))
            print(f"{name:23} {target:8} {once:8.2f} s {longest:9.3f} s", flush=True)


if __name__ == "__main__":
    main()
