"""The parent's side of `worker.py`: a process for each peer, asked in turn."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from peers import PEERS, THREADS
from peers_dp import PRIVATE_PEERS

HERE = Path(__file__).resolve().parent
# OpenMP threads spin on for 0.2 s after a parallel region: not in the next peer's time.
PAUSE = 0.3
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Missing(Exception):
    """A peer that is not available here; the message says why."""


class Failed(Exception):
    """A peer that could not do what was asked; the message is its own."""


class Worker:
    """A running peer.

    Parameters
    ----------
    name : str
        A key of `PEERS`.
    python, path : path, optional
        The interpreter of another environment, and a folder of modules, for peers that need them.
    """

    def __init__(self, name, python=None, path=None):
        self.name = name
        environment = dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, str(THREADS))
        if path:
            environment["PYTHONPATH"] = str(path)
        self.process = subprocess.Popen(
            [str(python or sys.executable), str(HERE / "worker.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | (PEERS | PRIVATE_PEERS)[name].environment,
        )
        hello = self._answer()
        if "missing" in hello:
            self.close()
            raise Missing(hello["missing"])
        self.version, self.own_start = hello["version"], hello["own_start"]
        self.libraries = hello["libraries"]

    def load(self, rows, start):
        return self._ask({"rows": str(rows), "start": str(start)})

    def fit(self, iterations, save=None):
        """Return seconds, label_seconds, n_iter and peak_bytes of one call."""
        time.sleep(PAUSE)
        return self._ask({"iterations": iterations, "save": save and str(save)})

    def noise(self, cells):
        """Return the seconds that noise for so many cells takes a private peer."""
        return self._ask({"noise": cells})["seconds"]

    def set_privacy(self, epsilon, delta, radius):
        self._ask({"privacy": {"epsilon": epsilon, "delta": delta, "radius": radius}})

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name}: its process ended with code {self.process.wait()}")
        return json.loads(line)
