"""A fit asks the same questions whatever BLAS and numpy make of the machine: it may be resumed."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("resumed_question.py")
# Noisy counts tie, and numpy sorts ties by instruction set unless it is told not to; eigenvectors
# depend on the threads of BLAS.
MACHINES = (
    {"OPENBLAS_NUM_THREADS": "1"},
    {"OPENBLAS_NUM_THREADS": "2"},
    {"OPENBLAS_NUM_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX X86_V4"},
)


def digests(machine):
    command = [sys.executable, "-W", "ignore", str(SCRIPT)]
    environment = {**os.environ, **machine}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_questions_depend_on_neither_threads_nor_sorts():
    first, *others = [digests(machine) for machine in MACHINES]
    assert len(first) == 4
    assert all(found == first for found in others)
