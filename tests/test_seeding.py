"""What seeding makes of released numbers: samples of a Gaussian, and k-means of weighted points."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from cloister import _backend, weighted_kmeans
from cloister.codes import CodeGrid
from cloister.dp_kmeans_seeds import Seeds
from cloister.seeding import Overview
from cloister.weighted_kmeans import weighted_kmeans as cluster


def overview(rng, d, unit, *, spectrum):
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0] if spectrum else None
    variances = unit**2 * rng.uniform(0.1, 2.0, size=d)
    return Overview(unit * rng.normal(size=d), 100.0, float(variances.sum()), variances, axes)


@pytest.mark.parametrize("spectrum", [True, False])
@pytest.mark.parametrize("unit", [1.0, 2.0**-120, 2.0**120])
def test_samples_have_the_mean_and_covariance(rng, unit, spectrum):
    d, n = 6, 200_000
    gaussian = overview(rng, d, unit, spectrum=spectrum)
    samples = (gaussian.sample(n, rng) - gaussian.mean) / unit
    axes = np.eye(d) if gaussian.axes is None else gaussian.axes
    covariance = (axes * (gaussian.variances / unit**2)) @ axes.T
    # Six standard deviations of each entry.
    assert np.abs(samples.mean(axis=0)).max() < 6 * np.sqrt(2.0 / n)
    assert np.abs(np.cov(samples.T) - covariance).max() < 6 * np.sqrt(2 * 2.0**2 / n)


def test_samples_are_those_of_the_generator(rng):
    gaussian = overview(rng, 5, 1.0, spectrum=True)
    first, again, other = (gaussian.sample(50, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).all()


def blobs(rng, k, m, d):
    centres = 10 * rng.normal(size=(k, d))
    return centres, centres[np.arange(m) % k] + rng.normal(size=(m, d))


@pytest.mark.parametrize("most_distances", [0, 2**24])
def test_finds_weighted_means_of_separate_blobs(rng, monkeypatch, most_distances):
    monkeypatch.setattr(weighted_kmeans, "MOST_DISTANCES", most_distances)
    _, points = blobs(rng, 12, 600, 5)
    weights = rng.uniform(0.1, 5.0, size=600)
    centres, inertia = cluster(points, weights, 12, rng)
    blob = np.arange(600) % 12
    means = np.stack([np.average(points[blob == j], 0, weights[blob == j]) for j in range(12)])
    order = ((means[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert sorted(order) == list(range(12))
    np.testing.assert_allclose(centres[order], means, rtol=1e-9)
    assert inertia == pytest.approx(float(weights @ ((points - means[blob]) ** 2).sum(axis=1)))


def test_no_worse_than_the_starts_of_scikit_learn(rng):
    points, weights = rng.normal(size=(400, 20)), rng.uniform(0.1, 5.0, size=400)
    inertia = cluster(points, weights, 25, rng)[1]
    peer = KMeans(25, n_init=20, max_iter=50, random_state=0).fit(points, sample_weight=weights)
    assert inertia <= 1.02 * peer.inertia_


@pytest.mark.parametrize("unit", [2.0**-400, 2.0**400])
def test_unit_of_the_points_does_not_matter(unit):
    points = np.random.default_rng(5).normal(size=(80, 3))
    weights = np.ones(80)
    centres = cluster(points, weights, 7, np.random.default_rng(1))[0]
    scaled = cluster(points * unit, weights, 7, np.random.default_rng(1))[0]
    assert (scaled == centres * unit).all()


def test_equal_points_and_as_many_centres_as_points(rng):
    centres, inertia = cluster(np.ones((9, 4)), np.ones(9), 3, rng)
    assert (centres == 1).all()
    assert inertia == 0
    points = rng.normal(size=(6, 2))
    assert cluster(points, np.ones(6), 6, rng)[1] == pytest.approx(0, abs=1e-12)


def test_same_bits_for_any_number_of_threads(rng, restore_threads):
    points, weights = rng.normal(size=(300, 16)), rng.uniform(0.1, 5.0, size=300)
    found = []
    for threads in (1, 2, 4):
        _backend.set_num_threads(threads)
        found.append(cluster(points, weights, 10, np.random.default_rng(3))[0])
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_the_best_exchange_is_found(rng):
    points, weights = rng.normal(size=(40, 3)), rng.uniform(0.1, 5.0, size=40)
    centres = points[:6] + 0.1
    table, scale = weighted_kmeans._all_squares(points)

    def cost(some):
        return float(weights @ ((points[:, None] - some) ** 2).sum(axis=2).min(axis=1))

    def exchange(j, point):
        return np.concatenate([np.delete(centres, j, axis=0), point[None]])

    best = min(cost(exchange(j, point)) for j in range(6) for point in points)
    swapped = weighted_kmeans._swapped(points, table, scale, weights, centres, rng)
    assert cost(swapped) == pytest.approx(best, rel=1e-5)
    assert best < cost(centres)
    assert weighted_kmeans._swapped(points, table, scale, weights, points[:1], rng) is None
    assert weighted_kmeans._swapped(points, table, scale, weights, points, rng) is None


def test_an_exchange_mends_what_the_iterations_cannot(rng, monkeypatch):
    # Two centres start in one far blob and one between the two others.
    places = np.array([[0.0, 0.0], [0.0, 10.0], [1000.0, 0.0]])
    points = np.repeat(places, 20, axis=0) + rng.normal(size=(60, 2))
    stuck = np.array([[0.0, 5.0], [1000.0, 1.0], [1000.0, -1.0]])
    monkeypatch.setattr(weighted_kmeans, "_starts", lambda *_: [stuck])
    mended = cluster(points, np.ones(60), 3, rng)[1]
    monkeypatch.setattr(weighted_kmeans, "MOST_SWAPS", 0)
    assert mended < 0.2 * cluster(points, np.ones(60), 3, rng)[1]


def test_a_cell_is_halved_where_its_means_differ_most(rng):
    d = 40
    gaussian = Overview(np.zeros(d), 1_000.0, 1.0, np.full(d, 1 / d), np.eye(d))
    seeds = Seeds(None, CodeGrid(d, 1.0), gaussian, 2, rng, np.zeros((1, d)))
    apart = np.eye(d)[3]
    points = 0.01 * rng.normal(size=(20, d)) + np.repeat([-0.3, 0.3], 10)[:, None] * apart
    lone = 5 * np.eye(d)[:1]
    seeds._lifted = np.concatenate([points, lone])[None], np.ones((1, 21))
    (axes,) = seeds.axes(np.stack([points.mean(axis=0), lone[0]])[None])
    assert abs(axes[0] @ apart) > 0.99
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1.0)  # drawn where one mean is left
