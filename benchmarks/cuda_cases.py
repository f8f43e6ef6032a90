"""The cases of bench_cuda.py: what runs, the least time it could take, and how it is checked."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

import cuda_rivals
from cloister import _backend
from cloister._backend import DeviceArray, Partition
from cloister.codes import MOMENT_BOUND
from cuda_problem import BLOCK, DEVICE, HAS_GPU, Problem

CHECKED = 20_000  # rows that the CPU answers too
STREAMED = 2_000_000
RESIDUAL_RADIUS = 0.6


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes
    ----------
    floor : float
        Seconds that its operations or bytes would take at the measured rates.
    bound : str
        Which of the two is larger.
    check : callable
        Returns the error, in words or numbers.
    rivals : dict of callables
        Each returns labels, sums and counts, as far as it has them.
    nearest : callable
        Returns the exact labels of the first rows, which rivals are held against.
    """

    name: str
    run: Callable[[], object]
    floor: float
    bound: str
    check: Callable[[], str]
    rivals: dict[str, Callable[[], object]] = field(default_factory=dict)
    nearest: Callable[[], np.ndarray] | None = None

    def wrong_labels(self, found):
        """Return the share of a rival's labels that are not the nearest centre's."""
        if found is None or self.nearest is None:
            return float("nan")
        truth = self.nearest()
        return float((found[0][: len(truth)].cpu().numpy() != truth).mean())


def cases(machine, arguments):
    """Yield the cases asked for."""
    n, d = arguments.rows, arguments.features
    problem = Problem(n, d, max(arguments.clusters))
    parts = {
        "encode": lambda: [encode_case(problem, machine)],
        "tally": lambda: [
            tally_case(problem, k, clipped, machine)
            for k in arguments.clusters
            for clipped in (False, True)
        ],
        "kmeans": lambda: [kmeans_case(problem, k, machine) for k in arguments.clusters],
        "stream": lambda: [stream_case(problem, k, machine) for k in arguments.clusters],
        "moments": lambda: [moments_case(problem, machine)],
        "sample": lambda: [sample_case(problem, rank, machine) for rank in (0, 16)],
    }
    for name, make in parts.items():
        if not arguments.only or name in arguments.only:
            yield from make()


def floor(machine, *, operations=0.0, kind="int8", read=0.0):
    """Return the least seconds, and what binds."""
    by_products, by_bytes = operations / machine[kind], read / machine["bandwidth"]
    if by_products > by_bytes:
        return by_products, f"{kind} products"
    return by_bytes, "memory"


def encode_case(problem, machine):
    n, d = problem.n, problem.d
    seconds, bound = floor(machine, read=6.0 * n * d)

    def check():
        rows = problem.rows[:CHECKED].numpy()
        codes, valid = np.empty(rows.shape, np.int16), np.empty(len(rows), np.bool_)
        _backend.encode(rows, problem.grid.encode_clip, codes, valid)
        return same(codes, problem.codes[:CHECKED].numpy())

    return Case(f"encode {n:,} × {d}, float32", problem.encode, seconds, bound, check)


def tally_case(problem, k, clipped, machine):
    n, d = problem.n, problem.d
    centres = np.ascontiguousarray(problem.grid.round_centres(problem.start(k))[None])
    clip = problem.grid.residual_clip(RESIDUAL_RADIUS) if clipped else None
    operations = 2.0 * n * k * d
    seconds, bound = floor(machine, operations=operations, read=2.0 * n * d)

    def tally(codes):
        counts, sums = np.zeros((1, k), np.int64), np.zeros((1, k, d), np.int64)
        partition = Partition(centres, np.array([0, len(codes)]))
        _backend.tally(codes, partition, clip, counts, sums)
        return counts, sums

    def check():
        few = problem.codes[:CHECKED]
        return same(*tally(few), *tally(few.numpy()))

    kind = "residuals" if clipped else "codes"
    start = problem.start(k).astype(np.float32)
    near = torch.from_numpy(start).to(DEVICE)
    return Case(
        f"tally of {kind} {n:,} × {d}, k={k:,}",
        lambda: tally(problem.codes),
        seconds,
        bound,
        check,
        torch_rivals(problem.torch_rows(), near),
        lambda: nearest_labels(problem, start),
    )


def stream_case(problem, k, machine):
    """A tally of codes that the host keeps, against the bus."""
    n, d = min(problem.n, STREAMED), problem.d
    centres = np.ascontiguousarray(problem.grid.round_centres(problem.start(k))[None])
    host = _backend.pinned_array((n, d), np.int16, 0)
    problem.codes[:n].copy_to(host)
    windows = [host[first : first + BLOCK] for first in range(0, n, BLOCK)]

    def tally():
        counts, sums = np.zeros((1, k), np.int64), np.zeros((1, k, d), np.int64)
        for codes in _backend.uploads(windows, 0):
            partition = Partition(centres, np.array([0, len(codes)]))
            _backend.tally(codes, partition, None, counts, sums)
        return counts, sums

    def check():
        counts, sums = np.zeros((1, k), np.int64), np.zeros((1, k, d), np.int64)
        partition = Partition(centres, np.array([0, n]))
        _backend.tally(problem.codes[:n], partition, None, counts, sums)
        return same(*tally(), counts, sums)

    name = f"tally of streamed codes {n:,} × {d}, k={k:,}"
    return Case(name, tally, 2.0 * n * d / machine["bus"], "bus", check)


def nearest_labels(problem, centres):
    """The labels of the first rows, by the CPU."""
    labels = np.empty(min(CHECKED, problem.n), np.int32)
    _backend.nearest(problem.rows[:CHECKED].numpy(), centres, labels=labels)
    return labels


def kmeans_case(problem, k, machine):
    n, d = problem.n, problem.d
    centres = problem.start(k).astype(np.float32)
    labels = DeviceArray.empty((n,), np.int32, 0)
    seconds, bound = floor(machine, operations=2.0 * n * k * d, kind="float16", read=4.0 * n * d)

    def iterate(rows, labels):
        sums, counts = np.zeros((k, d), np.int64), np.zeros(k, np.int64)
        _backend.nearest(rows, centres, labels=labels, sums=sums, counts=counts, sum_scale=2.0**30)
        return sums, counts

    def check():
        few = problem.rows[:CHECKED]
        host, own = np.empty(len(few), np.int32), labels[:CHECKED]
        return same(*iterate(few, own), own.numpy(), *iterate(few.numpy(), host), host)

    return Case(
        f"KMeans iteration {n:,} × {d}, k={k:,}",
        lambda: iterate(problem.rows, labels),
        seconds,
        bound,
        check,
        torch_rivals(problem.torch_rows(), torch.from_numpy(centres).to(DEVICE)),
        lambda: nearest_labels(problem, centres),
    )


def moments_case(problem, machine):
    n, d = problem.n, problem.d
    clip = problem.grid.residual_clip(RESIDUAL_RADIUS, MOMENT_BOUND)
    centres = np.zeros((1, 1, d), np.int16)
    # Two planes of six bits: three products of half a square each.
    seconds, bound = floor(machine, operations=3.0 * n * d * d, read=2.0 * n * d)

    def moments(codes):
        out = np.zeros((1, d * (d + 1) // 2), np.int64)
        partition = Partition(centres, np.array([0, len(codes)]))
        _backend.moments(codes, partition, clip, np.zeros(1, np.int64), "full", out)
        return out

    few = problem.codes[:CHECKED]
    return Case(
        f"second moment {n:,} × {d}",
        lambda: moments(problem.codes),
        seconds,
        bound,
        lambda: same(moments(few), moments(few.numpy())),
    )


def sample_case(problem, rank, machine):
    n, d = problem.n, problem.d
    generator = np.random.default_rng(2)
    means = generator.normal(size=(8, d)).astype(np.float32)
    factors = generator.normal(size=(1, rank, d)).astype(np.float32)
    scales = generator.uniform(0.5, 2, (1, d)).astype(np.float32)
    components = DeviceArray.copy_of(generator.integers(8, size=n).astype(np.int32), 0)
    out = DeviceArray.empty((n, d), np.float32, 0)
    seconds, bound = floor(machine, read=4.0 * n * d)

    def sample(components, out):
        which = np.zeros(8, np.int64)
        _backend.sample_mixture(1, 0, means, factors, scales, which, components, out)

    def check():
        few = out[:CHECKED]
        sample(components[:CHECKED], few)
        host = np.empty(few.shape, np.float32)
        sample(components[:CHECKED].numpy(), host)
        return same(few.numpy(), host)

    covariance = f"rank {rank} + diagonal" if rank else "diagonal"
    return Case(
        f"sample {n:,} × {d}, {covariance}", lambda: sample(components, out), seconds, bound, check
    )


def torch_rivals(rows, centres):
    return {
        rival.name: lambda rival=rival: rival(rows, centres) for rival in cuda_rivals.iterations()
    }


def same(*arrays):
    """Say whether the second half of the arrays has the bits of the first."""
    half = len(arrays) // 2
    digests = [
        hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in part))
        for part in (arrays[:half], arrays[half:])
    ]
    equal = digests[0].digest() == digests[1].digest()
    return "the CPU's SHA-256" if equal else "DIFFERENT BITS"


def machine():
    """Return this device's name and what it reaches: bytes and operations a second."""
    support = _backend.cuda_support()
    (description, *_) = support.devices
    side, size = (8192, 2**31) if HAS_GPU else (128, 2**22)
    buffer = torch.zeros(size, dtype=torch.uint8, device=DEVICE)
    other = torch.empty_like(buffer)
    pinned = torch.zeros(size // 8, dtype=torch.uint8, pin_memory=HAS_GPU)
    left = torch.randint(-100, 100, (side, side), dtype=torch.int8, device=DEVICE)
    half = torch.randn(side, side, device=DEVICE).to(torch.float16)
    return {
        "name": description.name,
        "driver": support.driver,
        "bus": size / 8 / best(lambda: other[: size // 8].copy_(pinned)),
        "bandwidth": 2.0 * size / best(lambda: other.copy_(buffer)),
        "int8": 2.0 * side**3 / best(lambda: torch._int_mm(left, left)),
        "float16": 2.0 * side**3 / best(lambda: half @ half),
    }


def best(call, repeats=10):
    times = []
    for _ in range(repeats):
        if HAS_GPU:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        if HAS_GPU:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times[1:])
