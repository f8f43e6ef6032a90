"""Accuracy class by class against scikit-learn's recall."""

import numpy as np
import pytest
from sklearn.metrics import recall_score

from cloister.class_accuracy import ClassAccuracy
from cloister.cli_accuracy import by_class, worst_pairs
from cloister.errors import InvalidInput


@pytest.mark.parametrize("names", [[3, 1, 7, 2], ["a", "bb", "c", "d"]])
def test_recall_of_each_class_in_the_order_of_classes(rng, names):
    truth, found = np.array(names)[rng.integers(0, 4, size=(2, 500))]
    accuracy = ClassAccuracy.of(truth, found, names)
    assert accuracy.classes == names
    assert accuracy.rows == [int((truth == name).sum()) for name in names]
    expected = recall_score(truth, found, labels=names, average=None)
    np.testing.assert_allclose(accuracy.accuracies, expected)
    assert accuracy.overall == (truth == found).mean()
    assert accuracy.worst == (names[np.argmin(expected)], min(expected))


def test_classes_without_test_rows_are_left_out_and_strange_labels_are_wrong():
    accuracy = ClassAccuracy.of([1, 1, 9], [1, 2, 1], [0, 1, 2])
    assert (accuracy.classes, accuracy.rows, accuracy.accuracies) == ([1], [2], [0.5])
    assert accuracy.overall == pytest.approx(1 / 3)
    nobody = ClassAccuracy.of([9], [0], [0, 1])
    assert nobody.worst is None
    assert worst_pairs(by_class({"probe": nobody})) == {}


def test_nothing_measured_is_no_table():
    assert by_class({"probe": None}) is None
    assert worst_pairs(None) == {}


@pytest.mark.parametrize(("truth", "found"), [([], []), ([1, 2], [1])])
def test_unequal_or_no_rows_are_refused(truth, found):
    with pytest.raises(InvalidInput, match=r"^labels has shape"):
        ClassAccuracy.of(truth, found, [1, 2])
