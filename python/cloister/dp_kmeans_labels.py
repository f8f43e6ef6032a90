"""Owner-side labels: the nearest released centre of each row, a chunk of rows at a time."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from cloister import _backend
from cloister._backend import resolve_devices
from cloister.privacy.guarantee import UNIT_NORM, PrivacyGuarantee
from cloister.private_model import PrivateModel
from cloister.shrinkage import project_to_ball, scaled_to_norm
from cloister.sources import (
    Source,
    as_source,
    finite_float64,
    finite_rows,
    require_rereadable,
    returned_like,
    rows_a_chunk,
)

# Rows farther out, in units of the clip norm, are shortened before float32 looks for the nearest
# centre: it could not tell the centres apart from there, nor hold the squares.
LABEL_RADIUS = 1e3


class LabelledModel(PrivateModel):
    """The methods of `DPKMeans` that say something about single rows: owner-side, all of them."""

    cluster_centers_: NDArray[np.float64]
    labels_: Any
    compute_labels: bool
    on_invalid: str

    @abstractmethod
    def fit(self, X: Any, y: Any = None) -> Self:
        """Release private centres of the rows."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled or copied: all but the owner-side labels."""
        state = cast(dict[str, Any], super().__getstate__())
        return {name: value for name, value in state.items() if name != "labels_"}

    def fit_predict(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit, then return owner-side labels; they are exact and may not be released.

        -1 stands for rows that `on_invalid="drop"` left out.
        """
        source = as_source(X, devices=resolve_devices(self.device))
        require_rereadable(source, "call fit alone")
        self.fit(X)
        if self.compute_labels:
            return self.labels_
        return self._labels(X, source, self.on_invalid)

    def predict(self, X: Any) -> Any:
        """Return the nearest centre of each row, shape (n,); with "cosine" that of least angle.

        Of private rows this is owner-side: exact, and may not be released. int32; of rows on a
        GPU, an array of their library there, otherwise numpy's.

        Raises
        ------
        InvalidInput, InvalidType
            If `X` is no array of finite rows with the features of the fit.
        """
        return self._labels(X, self._checked(X), "error")

    def score(self, X: Any, y: Any = None) -> float:
        """Return minus the mean squared distance, or 1 - cos, to the nearest centre; owner-side."""
        return -mean_distance(self._checked(X), self.cluster_centers_, self.privacy_)

    def _labels(self, X: Any, source: Source, on_invalid: str) -> Any:
        """Return the labels of the rows of `source`, which `X` gave, to where these lie."""
        labels = labels_of(source, self.cluster_centers_, self.privacy_, on_invalid)
        return returned_like(X, labels)


def labels_of(
    source: Source, cluster_centers: NDArray[np.float64], privacy: PrivacyGuarantee, on_invalid: str
) -> NDArray[np.int32]:
    """Return the label of each row; -1 for those that `on_invalid="drop"` leaves out."""
    parts = _labelled_chunks(source, cluster_centers, privacy, on_invalid)
    return np.concatenate([labels for _, labels in parts])


def mean_distance(
    source: Source, cluster_centers: NDArray[np.float64], privacy: PrivacyGuarantee
) -> float:
    """Return the mean squared distance to the nearest centre, or mean 1 - cos of scaled rows."""
    total, n = 0.0, 0
    for rows, labels in _labelled_chunks(source, cluster_centers, privacy, "error"):
        nearest = cluster_centers[labels]
        if privacy.transform == UNIT_NORM:
            total += len(rows) - float((rows * nearest).sum())
        else:
            total += float(((rows - nearest) ** 2).sum())
        n += len(rows)
    return total / n


def _labelled_chunks(
    source: Source, cluster_centers: NDArray[np.float64], privacy: PrivacyGuarantee, on_invalid: str
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int32]]]:
    """Yield the finite rows of each chunk as the fit saw them, and a label for each of its rows.

    Raises
    ------
    InvalidInput
        If a row has NaN, infinity or a value beyond float32, unless `on_invalid` is "drop": its
        label is then -1.
    """
    centres = cluster_centers.astype(np.float32)
    shift = centres.mean(axis=0)
    # So many rows for every dtype and source: sums of a score then add up in the same order.
    for first, chunk in source.chunks(rows_a_chunk(source.d)):
        rows = _backend.on_host(chunk)
        labels = np.full(len(rows), -1, dtype=np.int32)
        kept = finite_rows(rows) if on_invalid == "drop" else np.ones(len(rows), dtype=bool)
        values = finite_float64(rows[kept], first)
        if privacy.transform == UNIT_NORM:
            values = scaled_to_norm(values.astype(np.float32).astype(np.float64), 1.0)
        near = project_to_ball(values, LABEL_RADIUS * privacy.clip_norm)
        found = np.empty(len(near), dtype=np.int32)
        points = np.ascontiguousarray(near, dtype=np.float32)
        _backend.nearest(points, centres - shift, shift=shift, labels=found)
        labels[kept] = found
        yield values, labels
