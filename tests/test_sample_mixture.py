"""The kernel sample_mixture against its slow twin, and its samples against the distribution.

Seeds are fixed, so a statistical test either always passes or always fails; its bound is the one a
correct sampler would miss with the probability stated beside it.
"""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

import reference_sample as reference
from cloister import _backend

SEED = 0xC3D2_E1F0_8765_4321


def sample(mixture, components, *, seed=SEED, first_row=0, threads=1):
    out = np.full((len(components), mixture[0].shape[1]), np.nan, np.float32)
    _backend.set_num_threads(threads)
    try:
        _backend.sample_mixture(seed, first_row, *mixture, components, out)
    finally:
        _backend.set_num_threads(None)
    return out


def random_mixture(d, rank, *, components=5, covariances=3, scales=True, seed=0):
    generator = np.random.default_rng(seed)
    return (
        generator.normal(size=(components, d)).astype(np.float32),
        generator.normal(size=(covariances, rank, d)).astype(np.float32),
        generator.uniform(0.5, 2, (covariances, d)).astype(np.float32) if scales else None,
        generator.integers(0, covariances, components),
    )


def random_components(n, components=5, seed=1):
    return np.random.default_rng(seed).integers(0, components, n).astype(np.int32)


def standard_normals(n, d, **where):
    one = np.zeros(1, np.int64)
    mixture = (np.zeros((1, d), np.float32), np.zeros((1, 0, d), np.float32))
    mixture = (*mixture, np.ones((1, d), np.float32), one)
    return sample(mixture, np.zeros(n, np.int32), **where)


def digest(array):
    return np.ascontiguousarray(array).view(np.uint32).tolist()


# --- bits


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_twin_generator_gives_the_vectors_of_random123(counter, key, expected):
    words = reference.philox4x32_10(counter, key)
    assert [f"{word:08x}" for word in words] == expected.split()


def test_twin_multiply_add_rounds_once():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 3000)).astype(np.float32)
    c = (-a.astype(np.float64) * b).astype(np.float32)  # cancels: the low bits are all that is left
    c[1000:] = generator.normal(size=2000) * 10.0 ** generator.integers(-12, 12, 2000)
    # The product is a tie of float32, and the float64 sum cannot hold what c adds to it.
    a[:2], b[:2], c[:2] = 1 + 2.0**-12, 1 + 2.0**-12, [2.0**-60, -(2.0**-60)]
    for x, y, z, got in zip(a, b, c, reference.fused_multiply_add(a, b, c), strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        error = abs(Fraction(float(got)) - exact)
        for neighbour in np.nextafter(got, np.float32([-np.inf, np.inf])):
            beside = abs(Fraction(float(neighbour)) - exact)
            assert error < beside or (error == beside and int(got.view(np.uint32)) % 2 == 0)


@pytest.mark.parametrize("scales", [True, False])
@pytest.mark.parametrize("rank", [0, 1, 3, 4, 6, 17])
@pytest.mark.parametrize("d", [1, 3, 15, 17, 48, 50, 65])
def test_equals_twin_bit_for_bit(target, d, rank, scales):
    mixture = random_mixture(d, rank, scales=scales)
    for n in (1, 8, 17, 150):
        components = random_components(n)
        got = sample(mixture, components, first_row=2**32 - 9)
        expected = reference.sample_mixture(SEED, 2**32 - 9, mixture, components)
        assert digest(got) == digest(expected)


@pytest.mark.parametrize("n", [127, 128, 129])
@pytest.mark.parametrize(("covariances", "d"), [(1, 64), (1, 61), (40, 64)])
def test_few_rows_of_one_covariance_or_of_many_equal_twin(target, n, covariances, d):
    mixture = random_mixture(d, 20, components=50, covariances=covariances)
    components = random_components(n, 50)
    expected = reference.sample_mixture(SEED, 7, mixture, components)
    assert digest(sample(mixture, components, first_row=7)) == digest(expected)


@pytest.mark.parametrize("scales", [True, False])
@pytest.mark.parametrize("shape", ["upper", "lower", "band", "zero"])
@pytest.mark.parametrize(("d", "rank"), [(50, 50), (65, 20), (17, 40)])
def test_factors_that_are_zero_equal_twin(target, d, rank, shape, scales):
    """What the kernel leaves out; products that underflow to -0, and means of -0, included."""
    means, factors, scale, covariance_of = random_mixture(d, rank, scales=scales)
    kept = {
        "upper": np.triu(np.ones((rank, d))),
        "lower": np.tril(np.ones((rank, d))),
        "band": np.abs(np.arange(rank)[:, None] - np.arange(d)) < 3,
        "zero": np.zeros((rank, d)),
    }[shape]
    factors = np.where(kept == 1, factors, np.float32(-0.0)).astype(np.float32)
    factors[1] *= np.float32(1e-45)  # |z| < 1/2 gives a product that rounds to zero
    means[0] = -0.0
    if scale is not None:
        scale[0] = 0
    mixture = (means, factors, scale, covariance_of)
    components = random_components(70)
    expected = reference.sample_mixture(SEED, 3, mixture, components)
    assert digest(sample(mixture, components, first_row=3)) == digest(expected)


@pytest.mark.parametrize(
    ("seed", "first_row"), [(0, 0), (2**64 - 1, 0), (2**32, 2**32), (1, 2**62)]
)
def test_normals_equal_twin_for_extreme_seeds_and_rows(target, seed, first_row):
    got = standard_normals(40, 21, seed=seed, first_row=first_row)
    assert digest(got) == digest(reference.normals(seed, first_row, 40, 21))


def test_threads_do_not_change_bits(target):
    mixture = random_mixture(33, 9)
    # Several chunks.
    components = random_components(4000 if target == "emulated" else 9001)
    expected = digest(sample(mixture, components))
    for threads in (2, 3, 8):
        assert digest(sample(mixture, components, threads=threads)) == expected


def test_splits_do_not_change_bits(target):
    mixture = random_mixture(19, 5)
    components = random_components(300)
    whole = sample(mixture, components, first_row=1000)
    for size in (1, 7, 64, 299):
        parts = [
            sample(mixture, components[i : i + size], first_row=1000 + i)
            for i in range(0, 300, size)
        ]
        assert digest(np.concatenate(parts)) == digest(whole)


def test_a_row_does_not_depend_on_the_components_of_others(target):
    mixture = random_mixture(19, 5)
    components = random_components(300)
    others = random_components(300, seed=2)
    kept = np.arange(300) % 3 == 0
    mixed = np.where(kept, components, others).astype(np.int32)
    assert digest(sample(mixture, mixed)[kept]) == digest(sample(mixture, components)[kept])


def test_equals_twin_at_full_size(target):
    mixture = random_mixture(512, 512, components=3, covariances=2, scales=False)
    components = random_components(70, 3)
    found = sample(mixture, components, threads=2)
    assert digest(found) == digest(reference.sample_mixture(SEED, 0, mixture, components))


def test_no_rows_and_no_randomness(target):
    mixture = random_mixture(7, 0, scales=False)
    assert sample(mixture, np.zeros(0, np.int32)).shape == (0, 7)
    components = random_components(20)
    np.testing.assert_array_equal(sample(mixture, components), mixture[0][components])


# --- accuracy of the transform


def test_transform_is_accurate_to_single_precision():
    # Both ends of the words, the seam of the logarithm at u = sqrt(1/2), and words at random.
    seam = int(2**31.5) + np.arange(-(2**15), 2**15)
    ends = np.arange(2**16)
    inside = np.random.default_rng(0).integers(0, 2**32, 2**18)
    word = np.concatenate([ends, 2**32 - 1 - ends, seam, inside]).astype(np.uint64)
    u, one_minus_u = (word + 0.5) / 2**32, (2**32 - word.astype(np.float64) - 0.5) / 2**32
    radius = np.sqrt(-2 * np.where(u < 0.5, np.log(u), np.log1p(-one_minus_u)))
    assert np.abs(reference.radius(word) / radius - 1).max() < 1.6e-7
    cosine, sine = reference.circle(word)
    assert np.abs(cosine - np.cos(2 * np.pi * u)).max() < 1.2e-7
    assert np.abs(sine - np.sin(2 * np.pi * u)).max() < 1.2e-7


@pytest.mark.parametrize(
    ("x", "tolerance"), [(4, 1e-7), (5, 1e-5), (5.5, 1e-4), (6, 2e-3), (6.5, 2e-2)]
)
def test_tail_mass_of_the_transform(x, tolerance):
    # Over all 2^32 radii and a uniform angle: P(|z| > x) = mean of 2/pi arccos(x / radius).
    word = np.arange(int(2**32 * np.exp(-(x**2) / 2)) + 10, dtype=np.uint64)
    radius = np.maximum(reference.radius(word).astype(np.float64), x)
    mass = np.arccos(x / radius).sum() * 2 / np.pi / 2**32
    assert mass == pytest.approx(2 * stats.norm.sf(x), rel=tolerance)


# --- distribution


def test_every_coordinate_is_normal():
    z = standard_normals(20_000, 96)
    p_values = [stats.kstest(column, "norm").pvalue for column in z.T]
    assert min(p_values) > 1e-4  # missed with probability 1 %
    assert stats.kstest(p_values, "uniform").pvalue > 1e-4


def test_tail_counts_of_ten_million():
    z = np.abs(standard_normals(20_000, 500, threads=2))
    for x in (3, 4, 4.5, 5):
        expected = z.size * 2 * stats.norm.sf(x)
        p_value = 2 * min(
            stats.poisson.cdf(np.sum(z > x), expected),
            stats.poisson.sf(np.sum(z > x) - 1, expected),
        )
        assert p_value > 1e-4
    assert z.max() < 6.765


def test_coordinates_rows_and_seeds_are_uncorrelated():
    n, d = 100_000, 40
    z = standard_normals(n, d).astype(np.float64)
    following = standard_normals(n, d, first_row=1).astype(np.float64)
    other = standard_normals(n, d, seed=SEED + 1).astype(np.float64)
    bound = 5.5 / np.sqrt(n)  # 5.5 sigma: missed with probability 2e-4 over all pairs
    square = z**2 - 1
    for a, b in ((z, z), (z, following), (z, other), (square, square), (square, z)):
        correlation = a.T @ b / n / (a.std() * b.std())
        if a is b:
            np.fill_diagonal(correlation, 0)
        assert np.abs(correlation).max() < bound


@pytest.mark.parametrize(
    ("rank", "scales"), [(12, False), (3, True), (0, True)], ids=["full", "low rank", "diagonal"]
)
def test_recovers_means_and_covariances(rank, scales):
    d, n = 12, 200_000
    mixture = random_mixture(d, rank, scales=scales)
    means, factors, scale, covariance_of = mixture
    components = random_components(n)
    rows = sample(mixture, components, threads=2).astype(np.float64)
    for c in range(len(means)):
        mine = rows[components == c]
        f = covariance_of[c]
        covariance = factors[f].T @ factors[f] + (np.diag(scale[f] ** 2) if scales else 0)
        variance = np.diag(covariance)
        error = (mine.mean(axis=0) - means[c]) / np.sqrt(variance / len(mine))
        assert np.abs(error).max() < 5
        # Var of an entry of the sample covariance: (S_ii S_jj + S_ij^2) / n
        deviation = np.sqrt((np.outer(variance, variance) + covariance**2) / len(mine))
        assert np.abs((np.cov(mine.T) - covariance) / deviation).max() < 5
