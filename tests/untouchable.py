"""Rows that notice when somebody reads them."""

import numpy as np


class RowWasRead(AssertionError):
    """Some code looked at a private row."""


class Untouchable(np.ndarray):
    """An array that can be measured, but not read."""

    def __getitem__(self, key):
        raise RowWasRead

    def __array_ufunc__(self, *_, **__):
        raise RowWasRead

    def __array_function__(self, *_, **__):
        raise RowWasRead


def untouchable(X):
    return np.array(X).view(Untouchable)
