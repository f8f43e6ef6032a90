"""The host's bits from every device kernel and estimator, in one short run.

With a GPU it runs there too: ``pytest -m cuda`` is what compute-sanitizer watches.
"""

import signal
from threading import Thread

import numpy as np
import pytest

from cloister import DPGaussianMixture, DPKMeans, KMeans, _backend
from cloister._backend import ClosestState, DeviceArray, Grid, Partition, SoftmaxRegression
from cloister.codes import CODE_BOUND, MOMENT_BOUND, Clip, CodeGrid
from conftest import sha256
from on_device import on_device

N, D, K, CLASSES = 900, 70, 40, 3
GRID = CodeGrid(D, 1.5)
SEEDED = {"unsafe_noise_seed": 3, "random_state": 5}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(11)
    centres = rng.normal(size=(K, D))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows = centres[rng.integers(K, size=N)] + rng.normal(size=(N, D)) * (0.6 / D**0.5)
    return rows.astype(np.float32)


def codes_of(rows):
    codes, valid = np.empty(rows.shape, np.int16), np.empty(len(rows), np.bool_)
    _backend.encode(rows, GRID.encode_clip, codes, valid)
    return codes, valid


def integers(codes):
    """The answers of all questions about codes."""
    rng = np.random.default_rng(12)
    offsets = np.array([0, 300, 500, N - 7])
    public = GRID.round_centres(rng.normal(size=(CLASSES, K, D)) / D**0.5)
    partition = Partition(public, offsets)
    for clip in (None, GRID.residual_clip(0.5)):
        counts = np.zeros((CLASSES, K), np.int64)
        sums = np.zeros((CLASSES, K, D), np.int64)
        labels = np.full(len(codes), -7, np.int32)
        _backend.tally(codes, partition, clip, counts, sums, labels)
        yield from (counts, sums, labels)
    clip, group = GRID.residual_clip(0.5, MOMENT_BOUND), np.arange(CLASSES * K) % 2
    for moment, size in (("full", D * (D + 1) // 2), ("diagonal", D), ("trace", 1)):
        out = np.zeros((2, size), np.int64)
        _backend.moments(codes, partition, clip, group, moment, out)
        yield out
    directions = GRID.round_centres(rng.normal(size=(2, D)) / D**0.5)
    grid = Grid(directions, np.full(2, -(2**26)), np.full(2, 2**24), np.array([8, 9]))
    bins = np.zeros((CLASSES, 72), np.int64)
    _backend.bins(codes, grid, offsets, bins)
    yield bins
    residual_clip = Clip.to_ball(1.5, CLASSES, MOMENT_BOUND)
    model = SoftmaxRegression(
        public[0, 0], clip, public[:, 1].copy(), 3.0 / CODE_BOUND**2, rng.normal(size=CLASSES),
        residual_clip,
    )  # fmt: skip
    gradient = np.zeros((CLASSES, D), np.int64)
    _backend.gradient(codes, offsets, model, gradient)
    yield gradient


def floats(rows):
    """What the owner-side kernels say of the rows."""
    rng = np.random.default_rng(13)
    shift, weights = rows.mean(axis=0), rng.uniform(0, 2, N)
    labels, distances = np.zeros(N, np.int32), np.empty(N)
    sums, counts = np.zeros((K, D), np.int64), np.zeros(K, np.int64)
    for turn in range(2):
        _backend.nearest(
            rows, rows[turn : turn + K] - shift, shift=shift, weights=weights, labels=labels,
            distances=distances, sums=sums, counts=counts, sum_scale=2.0**40,
            count_scale=2.0**40, updates=turn > 0,
        )  # fmt: skip
        yield from (labels.copy(), distances.copy(), sums.copy(), counts.copy())
    out = np.empty((N, K), np.float32)
    _backend.all_distances(rows, rows[:K] - shift, out, shift=shift)
    state = ClosestState.without_centres(N, 5)
    state.distances.fill(0)
    yield _backend.closest(rows, rows[:1] - shift, state, shift=shift, weights=weights)
    yield _backend.closest(rows, rows[1:6] - shift, state, accepted=0, shift=shift, weights=weights)
    ranges = _backend.column_ranges(rows)
    yield from (out, state.closest, state.improved, ranges.mean, ranges.lowest, ranges.highest)
    for rank in (0, 3):
        means, factors = rng.normal(size=(4, D)), rng.normal(size=(2, rank, D))
        scales, which = rng.uniform(1, 2, (2, D)).astype(np.float32), np.array([0, 1, 1, 0])
        components, samples = rng.integers(4, size=200).astype(np.int32), np.empty((200, D), "f4")
        _backend.sample_mixture(
            7, 3, means.astype(np.float32), factors.astype(np.float32), scales, which, components,
            samples,
        )  # fmt: skip
        yield samples


def hashes(rows):
    codes, valid = codes_of(rows)
    return [sha256(answer) for answer in (codes, valid, *integers(codes), *floats(rows))]


@pytest.fixture(scope="module")
def expected(rows):
    return hashes(rows)


def test_every_kernel_has_the_hosts_sha256(device_kernels, rows, expected):
    with on_device():
        assert hashes(rows) == expected
    assert len(set(expected)) >= len(expected) - 2  # answers are not all alike


@pytest.mark.parametrize("order", ["reverse", "shuffled"])
def test_no_kernel_depends_on_the_order_of_its_threads(
    emulated_cuda, monkeypatch, rows, expected, order
):
    monkeypatch.setenv("CLOISTER_EMULATED_ORDER", order)
    with on_device():
        assert hashes(rows) == expected


def test_a_device_without_memory_pools(emulated_cuda, monkeypatch, rows, expected):
    monkeypatch.setenv("CLOISTER_EMULATED_POOLS", "0")
    found = []

    def work():  # what a device offers is asked once a thread
        with on_device():
            found.extend(hashes(rows))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert found == expected


def test_a_signal_ends_a_kernel_and_spoils_nothing(emulated_cuda, rows, expected):
    class Stop(Exception):
        pass

    def stop(number, frame):
        raise Stop

    codes = DeviceArray.copy_of(np.zeros((200_000, 64), np.int16), 0)  # seconds of work
    partition = Partition(np.zeros((1, 64, 64), np.int16), np.array([0, len(codes)]))
    counts, sums = np.zeros((1, 64), np.int64), np.zeros((1, 64, 64), np.int64)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Stop):
            _backend.tally(codes, partition, None, counts, sums)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not counts.any()  # it did not run to its end
    with on_device():
        assert hashes(rows) == expected


def test_other_rows_have_other_hashes(emulated_cuda, rows, expected):
    """What the tests above compare is not the same whatever the kernels do."""
    changed = rows.copy()
    changed[5, 5] += 0.5
    with on_device():
        assert hashes(changed) != expected


@pytest.mark.parametrize("where", ["host", "device"])
def test_estimators(device_kernels, rows, where):
    y = np.arange(N) % 2
    X = rows if where == "host" else DeviceArray.copy_of(rows, 0)
    models = {
        "KMeans": lambda device: KMeans(12, random_state=0, device=device),
        "DPKMeans": lambda device: DPKMeans(6, 4.0, clip_norm=1.5, device=device, **SEEDED),
        "DPGaussianMixture": lambda device: DPGaussianMixture(
            epsilon=4.0, clip_norm=1.5, classes=[0, 1], device=device, **SEEDED
        ),
    }
    for name, make in models.items():
        labels = (y,) if name == "DPGaussianMixture" else ()
        host, device = make("cpu").fit(rows, *labels), make("cuda:0").fit(X, *labels)
        attribute = "means_" if name == "DPGaussianMixture" else "cluster_centers_"
        assert (getattr(host, attribute) == getattr(device, attribute)).all(), name
    samples = device.sample(300, random_state=1, device="cuda:0")
    assert (samples[0].numpy() == host.sample(300, random_state=1)[0]).all()


@pytest.mark.cuda
def test_torch_tensors_on_a_gpu(cuda, rows):
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(rows).cuda()
    model = KMeans(12, random_state=0, device="cuda").fit(X)
    host = KMeans(12, random_state=0).fit(rows)
    assert model.labels_.is_cuda
    assert (model.labels_.cpu().numpy() == host.labels_).all()
    assert (model.cluster_centers_ == host.cluster_centers_).all()
    half = X.to(torch.bfloat16)
    private = DPKMeans(6, 4.0, clip_norm=1.5, device="cuda", **SEEDED)
    assert np.isfinite(private.fit(half).cluster_centers_).all()


@pytest.mark.cuda
def test_cupy_arrays_on_a_gpu(cuda, rows):
    cupy = pytest.importorskip("cupy")
    X = cupy.asarray(rows)
    model = KMeans(12, random_state=0, device="cuda").fit(X)
    assert isinstance(model.labels_, cupy.ndarray)
    assert (cupy.asnumpy(model.predict(X)) == cupy.asnumpy(model.labels_)).all()
