"""Speed of the noise kernel on one core, each instruction set; the error of its variance beside it.

pytest benchmarks/bench_noise.py --benchmark-columns=min,median,rounds
"""

import time

import numpy as np
import pytest

from cloister import _backend
from cloister.privacy.generator import fresh_key, rounded_gaussian

N = 1_000_000


@pytest.mark.benchmark(timer=time.process_time)  # one thread: seconds of a core
@pytest.mark.parametrize("sigma", [1.0, 2.0**20, 2.0**40], ids=["1", "2^20", "2^40"])
@pytest.mark.parametrize("target", _backend.supported_targets())
def test_rounded_gaussian(benchmark, target, sigma):
    key = fresh_key()
    _backend.set_num_threads(1)
    try:
        with _backend.use_target(target):
            draws = benchmark(rounded_gaussian, sigma, N, key=key)
    finally:
        _backend.set_num_threads(None)
    variance = 1 + 1 / (12 * sigma**2)
    error = float(np.var(draws / sigma)) / variance - 1
    assert abs(error) < 10 * np.sqrt(2 / N)
    benchmark.extra_info["samples_per_second"] = round(N / benchmark.stats["min"])
    benchmark.extra_info["relative_error_of_variance"] = round(error, 6)
    benchmark.extra_info["its_standard_deviation"] = round(float(np.sqrt(2 / N)), 6)


@pytest.mark.parametrize("n", [513, 51_300, 10_000_000])  # a release of k = 1 and 100 at d = 512
def test_all_threads(benchmark, n):
    """Seconds of the clock, on every core: a small request must not wait for threads to start."""
    draws = benchmark(rounded_gaussian, 2.0**20, n, key=fresh_key())
    assert len(draws) == n
    benchmark.extra_info["samples_per_second"] = round(n / benchmark.stats["min"])
