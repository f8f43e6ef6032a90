"""Accuracy class by class: what an average over rows hides of the rare ones."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cloister.errors import InvalidInput


@dataclass(frozen=True)
class ClassAccuracy:
    """Shares of test rows whose predicted class is theirs. Of private rows, owner-side.

    Attributes
    ----------
    classes : list
        Those that have a test row, in the order given.
    rows : list of int
        Test rows of each.
    accuracies : list of float
        Share of each class's rows that are predicted to be of it (its recall).
    overall : float
        Share of all rows.
    """

    classes: list[Any]
    rows: list[int]
    accuracies: list[float]
    overall: float

    @classmethod
    def of(cls, labels: ArrayLike, predicted: ArrayLike, classes: ArrayLike) -> Self:
        """Compare predictions with labels.

        Parameters
        ----------
        labels, predicted : array-like of shape (n,)
            Real classes of the rows, and those predicted.
        classes : array-like of shape (classes,)
            All classes, distinct. Labels that are none of them count as wrong.

        Raises
        ------
        InvalidInput
            If the lengths differ or there is no row.
        """
        truth, found = np.asarray(labels), np.asarray(predicted)
        if truth.shape != found.shape or truth.size == 0:
            raise InvalidInput(
                f"labels has shape {truth.shape} and predicted {found.shape}; give one of each for "
                "every test row, and at least one"
            )
        right: NDArray[np.bool_] = truth == found
        members = [(name, truth == name) for name in np.asarray(classes).tolist()]
        present = [(name, mine) for name, mine in members if mine.any()]
        return cls(
            [name for name, _ in present],
            [int(mine.sum()) for _, mine in present],
            [float(right[mine].mean()) for _, mine in present],
            float(right.mean()),
        )

    @property
    def worst(self) -> tuple[Any, float] | None:
        """The class of smallest accuracy (the first of several) and its accuracy; None: no class.

        With few rows of a class its accuracy is a rough estimate: see `rows`.
        """
        if not self.classes:
            return None
        place = int(np.argmin(self.accuracies))
        return self.classes[place], self.accuracies[place]
