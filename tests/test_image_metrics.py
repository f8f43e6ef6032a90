"""Metrics of images against their definitions, and on sets whose figures are known."""

from dataclasses import astuple

import numpy as np
import pytest

import reference_metrics
from cloister.errors import InvalidInput, InvalidType
from cloister.neural import row_distances
from cloister.neural.image_metrics import frechet_distance, manifold_metrics
from cloister.neural.image_report import evaluate_images
from tiny_codec import TinyCodec, tiny_images


@pytest.fixture
def sets(rng):
    return rng.normal(size=(40, 5)), 0.5 + 0.7 * rng.normal(size=(31, 5)) * [1, 2, 1, 0.5, 1]


def test_frechet_distance_is_that_of_the_matrix_square_root(sets):
    real, synthetic = sets
    assert frechet_distance(*sets) == pytest.approx(reference_metrics.frechet(*sets), rel=1e-9)
    assert frechet_distance(synthetic, real) == pytest.approx(frechet_distance(*sets), rel=1e-12)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-12)
    moved = real + np.array([3, 0, 0, 0, 4])
    assert frechet_distance(real, moved) == pytest.approx(25, rel=1e-12)


def test_frechet_distance_of_singular_covariances(rng):
    # Rank 3 in 8 dimensions: the product's square root is complex, or does not exist.
    narrow = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 8))
    assert frechet_distance(narrow, 2 * narrow + 1) == pytest.approx(
        np.square(narrow.mean(axis=0) + 1).sum() + np.trace(np.cov(narrow, rowvar=False)), rel=1e-9
    )
    one = rng.normal(size=(9, 1))
    assert frechet_distance(one, one * 3) == pytest.approx(
        4 * (one.mean() ** 2 + one.var(ddof=1)), rel=1e-9
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("chunk", [1, 7 * 40, 2**23])
def test_manifolds_are_those_of_all_pairs(sets, k, chunk, monkeypatch):
    monkeypatch.setattr(row_distances, "CHUNK_VALUES", chunk)
    found = manifold_metrics(*sets, k)
    assert astuple(found) == pytest.approx(reference_metrics.manifolds(*sets, k), rel=1e-12)


def test_manifolds_of_known_sets(rng):
    real = rng.normal(size=(200, 4))
    same = manifold_metrics(real, real, 3)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    far = manifold_metrics(real, real + 100, 3)
    assert astuple(far) == (0, 0, 0, 0)
    # One image over and over: plausible, without variety.
    collapsed = manifold_metrics(real, np.repeat(real[:1], 50, axis=0), 3)
    assert collapsed.precision == 1
    assert collapsed.recall == pytest.approx(1 / 200)
    copies = np.repeat(1e3 + rng.normal(size=(100, 40)), 3, axis=0)  # radii of 0, far from 0
    of_copies = manifold_metrics(copies, copies[::3], 2)
    assert (of_copies.precision, of_copies.recall, of_copies.density) == (1, 1, 1.5)


def test_images_are_compared_whole_and_by_class():
    codec = TinyCodec()
    real, truth = tiny_images(300, seed=1)
    samples, labels = tiny_images(250, seed=2)
    training = tiny_images(280, seed=3)[0]
    report = evaluate_images(samples, labels, real, truth, codec, training=training, k=3)
    rows = [codec.encode(images) for images in (samples, real, training)]
    assert report.overall.frechet == frechet_distance(rows[1], rows[0])
    assert report.overall.manifolds == manifold_metrics(rows[1], rows[0], 3)
    assert report.real_frechet == frechet_distance(rows[2], rows[1])
    assert (report.overall.n_real, report.overall.n_synthetic) == (300, 250)
    assert list(report.by_class) == [3, 5, 8]
    for name, figures in report.by_class.items():
        mine = rows[1][truth == name], rows[0][labels == name]
        assert figures.frechet == frechet_distance(*mine)
        assert (figures.n_real, figures.n_synthetic) == tuple(map(len, mine))
        assert len(figures.nearest.to_training) == (labels == name).sum()
    assert report.encoder_id == codec.id
    plain = report.to_dict()
    assert "does not cover" in plain["not_covered_by_the_guarantee"]
    quartiles = plain["overall"]["nearest"]["quartiles_to_training"]
    assert quartiles == np.quantile(report.overall.nearest.to_training, [0.25, 0.5, 0.75]).tolist()


def test_worse_images_look_worse():
    codec = TinyCodec()
    real, truth = tiny_images(300, seed=1)
    good = evaluate_images(*tiny_images(300, seed=2), real, truth, codec)
    bad = evaluate_images(*tiny_images(300, seed=2, noise=80), real, truth, codec)
    assert bad.overall.frechet > 3 * good.overall.frechet
    assert bad.overall.manifolds.precision < 0.5 < good.overall.manifolds.precision
    assert good.real_frechet is None
    assert good.overall.nearest is None


def test_small_classes_have_what_figures_they_can():
    codec = TinyCodec()
    real, truth = tiny_images(40, seed=1)
    samples, labels = tiny_images(40, seed=2)
    labels[:] = 3
    labels[:2] = [5, 99]
    report = evaluate_images(samples, labels, real, truth, codec)
    assert report.by_class[5].frechet is None
    assert report.by_class[8].manifolds is None
    assert report.by_class[99].n_real == 0
    assert report.by_class[3].manifolds is not None


BAD = [
    (lambda a, b: frechet_distance(a[0], b), InvalidInput, "^first has shape"),
    (lambda a, b: frechet_distance(a, b[:, :2]), InvalidInput, r"^second has shape .*\(n, 5\)"),
    (lambda a, b: frechet_distance(a, b[:1]), InvalidInput, "^second has 1 row"),
    (lambda a, b: frechet_distance(a * np.nan, b), InvalidInput, "^first has NaN"),
    (lambda a, b: frechet_distance("ab", b), InvalidInput, "^first must be"),
    (lambda a, b: manifold_metrics(a, b, 31), InvalidInput, r"^k=31 is outside \[1, 30\]"),
    (lambda a, b: manifold_metrics(a, b[:1], 1), InvalidInput, "synthetic 1;"),
    (lambda a, b: manifold_metrics(a, b, 2.0), InvalidType, "^k must be"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_rows_are_refused(sets, call, error, message):
    with pytest.raises(error, match=message):
        call(*sets)


def test_bad_images_are_refused():
    codec, (images, labels) = TinyCodec(), tiny_images(20)
    with pytest.raises(InvalidType, match=r"samples must be .* uint8 .*got float64"):
        evaluate_images(images / 2, labels, images, labels, codec)
    with pytest.raises(InvalidInput, match=r"real_labels has shape \(19,\)"):
        evaluate_images(images, labels, images, labels[1:], codec)
    with pytest.raises(InvalidType, match=r"^encoder must be"):
        evaluate_images(images, labels, images, labels, "resnet")


def test_classes_named_by_words_and_by_numbers_are_refused():
    images, labels = tiny_images(60)
    with pytest.raises(InvalidInput, match=r"^labels are words .* and real_labels numbers"):
        evaluate_images(images, labels.astype(str), images, labels, TinyCodec())
