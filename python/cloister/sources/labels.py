"""Class labels of rows, as indices into a public list of classes."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from cloister._backend import DeviceArray, is_on_device, on_host
from cloister.errors import InvalidInput, InvalidType, PublicClassesWarning
from cloister.sources.label_files import LabelColumn

LARGEST_LABEL = 2**53
"""Beyond it one row's dtype could round the labels of the others, and so move them."""

_PART = 2**18  # labels looked up at a time: what that takes is 8 bytes a label, several times


@dataclass(frozen=True)
class ClassLabels:
    """The class of each row.

    Attributes
    ----------
    classes : array of shape (classes,)
        Public list of the classes, in the order of their indices.
    exact_index : array of shape (n,), unsigned integers; or None
        Index of each row's class, in the smallest dtype. Private. None: all rows have class 0.
    from_data : bool
        True if the list was read off the labels: the guarantee is then conditional on it.
    """

    classes: NDArray[Any]
    exact_index: NDArray[Any] | None
    from_data: bool


def encode_labels(y: Any, n: int | None, classes: Any = None) -> ClassLabels:
    """Turn labels into indices into the list of classes.

    Parameters
    ----------
    y : array-like of shape (n,), LabelColumn, or None
        Integers, booleans, floats that are whole numbers, or strings; None puts every row into
        one class. A column of shape (n, 1) is taken as its entries.
    n : int or None
        Number of rows that `y` must have; None if it is not known.
    classes : array-like of shape (classes,), optional
        The public list of classes; by default the labels present, in sorted order.

    Raises
    ------
    InvalidInput, InvalidType
        If `y` has another length or shape, misses values, mixes types, or holds a label that is
        not in `classes`; if `classes` repeats itself or is empty.
    """
    if y is None:
        listed = np.array([0]) if classes is None else class_list(classes)
        if len(listed) != 1:
            raise InvalidInput(f"y is None, but classes lists {len(listed)}; pass the labels as y")
        return ClassLabels(listed, None, from_data=False)
    if not isinstance(y, LabelColumn):
        y = _label_array(y)
        _check_length(len(y), n)
    if classes is None:
        listed = np.unique(np.concatenate([np.unique(part) for part in _parts(y)]))
    else:
        listed = class_list(classes)
    index = _index(y, listed)
    _check_length(len(index), n)
    return ClassLabels(listed, index, from_data=classes is None)


def _check_length(found: int, n: int | None) -> None:
    if n is not None and found != n:
        raise InvalidInput(f"y has {found} labels, but X has {n} rows; they must agree")


def _index(y: Any, listed: NDArray[Any]) -> NDArray[Any]:
    """Return the place of each label in the list; labels are read once."""
    dtype = np.min_scalar_type(len(listed) - 1)
    index = [np.empty(0, dtype)]
    order = np.argsort(listed)
    first, unknown, example = 0, 0, (0, None)
    for labels in _parts(y):
        if (listed.dtype.kind == "U") != (labels.dtype.kind == "U"):
            raise InvalidType(
                f"y has dtype {labels.dtype}, but classes has {listed.dtype}; give both the same "
                "type"
            )
        place = np.searchsorted(listed, labels, sorter=order)
        here = order[np.minimum(place, len(listed) - 1)]
        outside = np.flatnonzero(listed[here] != labels)
        if len(outside) and not unknown:
            example = (first + int(outside[0]), labels[outside[0]])
        unknown += len(outside)
        index.append(here.astype(dtype))
        first += len(labels)
    if unknown:
        raise InvalidInput(
            f"y has {unknown} label(s) outside classes, the first is {example[1]!r} in row "
            f"{example[0]}; add it to classes={listed.tolist()} or leave these rows out"
        )
    return np.concatenate(index)


def _parts(y: Any) -> Iterator[NDArray[Any]]:
    """Yield labels, checked, so many at a time."""
    if isinstance(y, LabelColumn):
        for part in y.parts():
            yield _comparable(_flat(part), "y")
        return
    for first in range(0, max(1, len(y)), _PART):
        yield y[first : first + _PART]


def public_classes(y: Any, n: int | None, classes: Any) -> tuple[NDArray[Any], bool]:
    """Return the public list of classes, and whether it was read off the labels: with a warning.

    Raises
    ------
    InvalidInput, InvalidType
        As `encode_labels` and `class_list`.
    """
    if classes is not None:
        return class_list(classes), False
    if y is not None:
        warnings.warn(
            "classes was not given: the labels present are taken as the list of classes and are "
            "thereby public. Pass classes=[...] from public knowledge.",
            PublicClassesWarning,
            stacklevel=3,
        )
    return encode_labels(y, n).classes, y is not None


def class_list(classes: Any) -> NDArray[Any]:
    """Return a public list of classes as an array.

    Raises
    ------
    InvalidInput, InvalidType
        If it is empty, repeats itself, or is no list of integers or strings.
    """
    listed = _comparable(_label_like(classes, "classes"), "classes")
    if listed.ndim != 1 or len(listed) == 0:
        raise InvalidInput(f"classes must list at least 1 class, got shape {listed.shape}")
    if len(np.unique(listed)) != len(listed):
        raise InvalidInput(f"classes repeats itself: {listed.tolist()}; list each class once")
    return listed


def _label_array(y: Any) -> NDArray[Any]:
    return _comparable(_flat(_label_like(y, "y")), "y")


def _flat(labels: NDArray[Any]) -> NDArray[Any]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InvalidInput(f"y must have shape (n,), got {labels.shape}; pass one label a row")
    return labels


def _label_like(values: Any, name: str) -> NDArray[Any]:
    """Return labels as the array that they are, numbers and strings not yet told apart."""
    if issparse(values) or isinstance(values, dict | set):
        raise InvalidType(
            f"{name} must be an array of labels, got {type(values).__name__}; pass integers or "
            "strings in a list"
        )
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InvalidType(f"{name} has masked entries; fill them with {name}.filled(value) first")
    try:
        if is_on_device(values):
            values = on_host(DeviceArray.from_foreign(values, name))
        labels = np.asarray(values)
        if labels.dtype.kind == "U" and not isinstance(values, np.ndarray):
            # numpy makes strings of the numbers in a mixed list, and "nan" of a missing label.
            labels = np.asarray(values, dtype=object)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidType(
            f"{name} cannot be read as labels: {error}; pass integers or strings, one a row"
        ) from error
    return labels


def _comparable(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return labels as an array of integers, booleans, whole floats or strings.

    Raises
    ------
    InvalidInput, InvalidType
        If they are nothing of one such kind.
    """
    if labels.dtype == object:
        labels = _of_one_type(labels, name)
    if labels.dtype.kind not in "biufU":
        raise InvalidType(
            f"{name} has dtype {labels.dtype}; labels must be integers or strings: "
            f"{name}.astype(str) makes strings"
        )
    if labels.dtype.kind == "f" and not (np.isfinite(labels) & (labels == np.rint(labels))).all():
        raise InvalidInput(
            f"{name} holds a label that is not a whole number (NaN included): Unknown label type; "
            "labels must be integers or strings"
        )
    if labels.dtype.kind in "iuf" and ((labels > LARGEST_LABEL) | (labels < -LARGEST_LABEL)).any():
        raise InvalidInput(
            f"{name} holds a label beyond {LARGEST_LABEL}; use smaller integers, or strings"
        )
    return labels


def _of_one_type(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Turn an array of objects into one of integers or of strings."""
    found = labels.ravel().tolist()
    if all(isinstance(label, str) for label in found):
        return labels.astype(str)
    if not all(isinstance(label, Integral | np.bool_) for label in found):
        kinds = sorted({type(label).__name__ for label in found})
        raise InvalidType(f"{name} mixes {kinds}; labels must be all integers or all strings")
    try:
        return labels.astype(np.int64)
    except OverflowError as error:
        raise InvalidType(
            f"{name} holds an integer beyond 64 bits; labels must be smaller integers or strings"
        ) from error
