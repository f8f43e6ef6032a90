"""Nearest private rows: exact distances, and a test that finds copies and nothing else."""

from dataclasses import fields

import numpy as np
import pytest
from scipy.stats import kstest

import reference_metrics
from cloister.errors import InvalidInput
from cloister.neural.nearest_private import nearest_private, nearest_private_by_class


@pytest.fixture
def rows(rng):
    return rng.normal(size=(60, 3)), rng.normal(size=(45, 3)), rng.normal(size=(45, 3))


def test_distances_are_those_of_all_pairs(rows):
    samples, training, held_out = rows
    found = nearest_private(*rows)
    to_training = reference_metrics.distances(samples, training).min(axis=1)
    to_held_out = reference_metrics.distances(samples, held_out).min(axis=1)
    np.testing.assert_allclose(found.to_training, to_training, rtol=1e-12)
    np.testing.assert_allclose(found.to_held_out, to_held_out, rtol=1e-12)
    assert found.share_nearer_to_training == np.mean(to_training < to_held_out)
    assert found.expected_share == 0.5
    assert (found.n_training, found.n_held_out) == (45, 45)


def test_standard_error_is_that_of_a_draw_of_the_held_out_rows(rng):
    # Few rows are nearest to many samples: a binomial interval would be far too narrow.
    samples, pool = rng.normal(size=(300, 6)), rng.normal(size=(40, 6))
    shares, errors, z = [], [], []
    for _ in range(2000):
        order = rng.permutation(40)
        found = nearest_private(samples, pool[order[:25]], pool[order[25:]])
        shares.append(found.share_nearer_to_training)
        errors.append(found.standard_error)
        z.append(found.z)
    assert found.expected_share == 25 / 40
    assert np.mean(shares) == pytest.approx(25 / 40, abs=0.01)
    # The error is a function of the samples and the pool alone.
    np.testing.assert_allclose(errors, errors[0], rtol=1e-9)
    assert np.std(shares) == pytest.approx(errors[0], rel=0.06)
    binomial = np.sqrt(25 * 15 / 40**2 / 300)
    assert errors[0] > 1.5 * binomial
    assert kstest(z, "norm").statistic < 0.08


def test_copies_are_found(rng):
    training, held_out, fresh = (rng.normal(size=(400, 4)) for _ in range(3))
    clean = nearest_private(fresh, training, held_out)
    assert abs(clean.z) < 4
    assert clean.interval[0] < 0.5 < clean.interval[1]
    copied = nearest_private(np.concatenate([fresh, training[:120]]), training, held_out)
    assert copied.z > 4
    assert copied.p_value < 1e-4
    assert copied.interval[0] > 0.5
    assert (copied.to_training == 0).sum() == 120
    kept = nearest_private(held_out, training, held_out)
    assert kept.share_nearer_to_training == 0
    assert kept.p_value > 0.999


def test_a_tie_counts_half(rows):
    samples, training, _ = rows
    tied = nearest_private(samples, training, training)
    assert tied.share_nearer_to_training == 0.5
    assert tied.z == 0


def test_by_class_is_the_samples_of_each_class(rows):
    samples, training, held_out = rows
    labels = np.arange(60) % 3
    found = nearest_private_by_class(samples, labels, training, held_out)
    assert list(found) == [0, 1, 2]
    for name, one in found.items():
        alone = nearest_private(samples[labels == name], training, held_out)
        for field in fields(one):
            np.testing.assert_allclose(getattr(one, field.name), getattr(alone, field.name))


def test_bad_input_is_refused(rows):
    samples, training, held_out = rows
    with pytest.raises(InvalidInput, match=r"^training has shape \(45, 2\)"):
        nearest_private(samples, training[:, 1:], held_out)
    with pytest.raises(InvalidInput, match=r"^held_out has NaN"):
        nearest_private(samples, training, held_out * np.nan)
    with pytest.raises(InvalidInput, match=r"^labels has shape \(59,\)"):
        nearest_private_by_class(samples, np.arange(59), training, held_out)
