"""Ctrl-C stops every kernel of a list, and fits; another Python thread runs meanwhile."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cloister import _backend
from signals import FITS, KERNELS

# The child repeats the call, so that the signal finds it inside one on a machine of any speed.
CHILD = """
import os, signal, sys, threading
import numpy as np
from cloister import _backend
from signals import FITS, KERNELS

name, target = sys.argv[1:]
call = (KERNELS | FITS)[name](np.random.default_rng(0), 1)
with _backend.use_target(target):
    call()  # memory is touched by now
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        while True:
            call()
    except KeyboardInterrupt:
        print("stopped")
"""


def assert_signal_stops(name, target):
    result = subprocess.run(
        [sys.executable, "-c", CHILD, name, target],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert result.stdout == "stopped\n"


@pytest.mark.parametrize("name", KERNELS)
def test_signal_stops_the_kernel(name, host_target):
    assert_signal_stops(name, host_target)


@pytest.mark.parametrize("name", FITS)
def test_signal_stops_the_fit(name):
    assert_signal_stops(name, _backend.supported_targets()[-1])


@pytest.mark.parametrize("name", KERNELS)
def test_another_thread_runs_during_a_kernel(name):
    """Without the GIL: the other thread counts between the start and the end of one call."""
    call = KERNELS[name](np.random.default_rng(0), 1)
    moments_seen, done = [], threading.Event()

    def watch():
        while not done.is_set():
            moments_seen.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
    finally:
        done.set()
        thread.join()
    assert any(start < moment < end for moment in moments_seen)
