"""Probes on disk: a model file of kind "probe".

Its header holds `parameters` (those of the constructor), `classes`, `classes_dtype`, `encoder_id`,
and of a probe trained on a mixture `transform` (a name, or what a whitening is made of) and
`privacy` (its guarantee). Its arrays are
`center` and `scale` (float64) and `first`, `first_bias`, `second`, `second_bias` (float32).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import CloisterError, InvalidType, ModelFileError
from cloister.model_file import model_array, model_value, read_model, write_model
from cloister.privacy.guarantee import PrivacyGuarantee
from cloister.privacy.plain_values import plain_json
from cloister.transforms import as_transform
from cloister.whitening import PublicWhitening


def write(probe: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted probe; a crash leaves the old file or the new one, never half of one."""
    write_model(path, "probe", *contents(probe))


def contents(probe: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the header of a fitted probe; `from_contents` undoes it."""
    labels = probe.classes_
    if labels.dtype.kind not in "biufUO" or not all(_is_plain(c) for c in labels.tolist()):
        raise InvalidType(f"y: labels of dtype {labels.dtype} cannot be saved; use int or str")
    header = {
        "parameters": {name: _plain(value) for name, value in probe.get_params().items()},
        "classes": labels.tolist(),
        "classes_dtype": labels.dtype.str,
        "encoder_id": probe.encoder_id_,
        "transform": plain_json(probe.transform_),
    }
    if probe.privacy_ is not None:
        header["privacy"] = probe.privacy_.to_dict()
    arrays = {
        "center": probe.center_,
        "scale": np.array([probe.scale_]),
        "first": probe.coefs_[0],
        "first_bias": probe.intercepts_[0],
        "second": probe.coefs_[1],
        "second_bias": probe.intercepts_[1],
    }
    return arrays, header


def read(cls: type[Any], path: str | os.PathLike[str]) -> Any:
    """Read what `write` wrote into an instance of `cls`, or raise ModelFileError."""
    _, arrays, header = read_model(path, "probe")
    return from_contents(cls, path, arrays, header)


def from_contents(
    cls: type[Any],
    path: str | os.PathLike[str],
    arrays: dict[str, NDArray[Any]],
    header: dict[str, Any],
) -> Any:
    """Undo `contents`, or raise ModelFileError; `path` is the file that held them."""
    try:
        return _restore(cls, path, arrays, header)
    except ModelFileError:
        raise
    except (CloisterError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"path: {os.fspath(path)!r}: the file of this probe is damaged: "
            f"{type(error).__name__}: {error}"
        ) from error


def _restore(
    cls: type[Any],
    path: str | os.PathLike[str],
    arrays: dict[str, NDArray[Any]],
    header: dict[str, Any],
) -> Any:
    probe = cls(**model_value(path, header, "parameters", dict))
    probe.check_parameters()
    listed = model_value(path, header, "classes", list)
    classes = np.array(listed, dtype=np.dtype(model_value(path, header, "classes_dtype", str)))
    if classes.ndim != 1 or len(set(classes.tolist())) != len(classes) or len(classes) == 0:
        raise ValueError(f"classes: not a list of distinct labels: {listed}")

    def array(name: str, dtype: type[Any], *shape: int | None) -> NDArray[Any]:
        return model_array(path, arrays, name, dtype, shape)

    probe.classes_ = classes
    probe.center_ = array("center", np.float64, None)
    _restore_origin(probe, path, header)
    probe.scale_ = float(array("scale", np.float64, 1)[0])
    if probe.scale_ <= 0:
        raise ValueError(f"scale: {probe.scale_}, expected above 0")
    d, hidden, n_classes = len(probe.center_), probe.hidden, len(classes)
    probe.n_features_in_ = d
    probe.coefs_ = [
        array("first", np.float32, d, hidden),
        array("second", np.float32, hidden, n_classes),
    ]
    probe.intercepts_ = [
        array("first_bias", np.float32, hidden),
        array("second_bias", np.float32, n_classes),
    ]
    return probe


def _restore_origin(probe: Any, path: str | os.PathLike[str], header: dict[str, Any]) -> None:
    """Take what is known of the rows that the probe was trained on; what is absent is None."""

    def known(name: str, of_type: type[Any]) -> Any:
        return None if header.get(name) is None else model_value(path, header, name, of_type)

    probe.encoder_id_, stored = known("encoder_id", str), header.get("transform")
    transform = as_transform(stored)
    if transform is not None:
        transform.check_features(len(probe.center_))
    probe.transform_ = transform if isinstance(transform, PublicWhitening) else stored
    guarantee = known("privacy", dict)
    probe.privacy_ = None if guarantee is None else PrivacyGuarantee.from_dict(guarantee)


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float | str)


def _plain(value: Any) -> Any:
    """Return a parameter as JSON can hold it; a generator's state is not kept."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if _is_plain(value) else None
