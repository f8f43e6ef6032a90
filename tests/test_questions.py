"""A fit asks the same questions whatever BLAS and numpy make of the machine: it may be resumed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from cloister import DPGaussianMixture, DPKMeans
from cloister.privacy.release import Release

SCRIPT = Path(__file__).with_name("resumed_question.py")
# Noisy counts tie, and numpy sorts ties by instruction set unless it is told not to.
MACHINES = (
    {"OPENBLAS_NUM_THREADS": "1"},
    {"OPENBLAS_NUM_THREADS": "2"},
    {"OPENBLAS_NUM_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"},
)


def digests(machine):
    command = [sys.executable, "-W", "ignore", str(SCRIPT)]
    environment = {**os.environ, **machine}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("estimator", [DPKMeans(3), DPGaussianMixture(2)], ids=str)
def test_blas_has_one_thread_between_releases(estimator, rng, monkeypatch):
    # Eigenvectors depend on the threads of BLAS, and what is asked next on the eigenvectors.
    original, threads = Release._release, set()

    def watched(self, *question):
        threads.update(pool["num_threads"] for pool in threadpool_info())
        return original(self, *question)

    monkeypatch.setattr(Release, "_release", watched)
    with threadpool_limits(2):
        estimator.fit(rng.normal(size=(500, 4)) / 10)
    assert threads == {1}


def test_questions_depend_on_neither_threads_nor_sorts():
    first, *others = [digests(machine) for machine in MACHINES]
    assert "lift" in first
    assert "split-1" in first
    assert all(found == first for found in others)
