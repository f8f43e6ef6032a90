"""The class of a row is a function of its own label, whatever dtype the other labels bring."""

import numpy as np
import pytest

from cloister.errors import InvalidInput
from cloister.sources import encode_labels

BIG = 2**53


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64])
def test_the_dtype_of_the_array_moves_no_row(dtype):
    labels = np.array([BIG, BIG - 1, 5, BIG - 1], dtype=dtype)
    classes = [5, BIG - 1, BIG]
    assert encode_labels(labels, 4, classes).exact_index.tolist() == [2, 1, 0, 1]


@pytest.mark.parametrize("label", [BIG + 1, -BIG - 1, 2**60])
def test_labels_that_float64_would_round_are_refused(label):
    # As floats 2^53 + 1 is 2^53: one row with a float label would move the rows of another class.
    with pytest.raises(InvalidInput, match=rf"y holds a label beyond {BIG}.*strings"):
        encode_labels([label, 5], 2, [5, 6])
    with pytest.raises(InvalidInput, match="classes holds a label beyond"):
        encode_labels([5, 5], 2, [5, label])
