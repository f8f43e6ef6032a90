"""`KMeans` of rows that are not resident: memory maps, files, iterables of batches."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from cloister._backend import Devices, is_on_device, resolve_devices
from cloister.centred_rows import Array, CentredRows
from cloister.code_rows import CodeAssignment, CodeRows, finite_blocks
from cloister.code_seeding import plus_plus_codes
from cloister.errors import InvalidInput
from cloister.lloyd import lloyd
from cloister.parameters import check_features, feature_attributes, set_features
from cloister.sample_weight import check_sample_weight, refuse_weights
from cloister.sources import (
    Source,
    as_source,
    device_rows,
    host_array,
    is_resident,
    require_rereadable,
    with_features,
)


def resident_or_source(X: Any, *, cache: bool, devices: Devices = ()) -> tuple[Any, Source | None]:
    """Return rows that lie in memory as they are, and None; of others, a source that rereads them.

    Rows on a device, where there are `devices`, stay there.

    Rows that can be read only once are gathered in memory.

    Raises
    ------
    InvalidInput, InvalidType
        As `as_source`; and without `cache`, if the rows can be read only once.
    """
    if devices and is_on_device(X):
        return device_rows(X), None
    if is_resident(X):
        return host_array(X), None
    source = as_source(X)
    if not cache:
        require_rereadable(source, "leave cache=True")
    if source.rereadable:
        return X, source
    parts = [rows.astype(np.float32) for _, rows in finite_blocks(source)]
    return np.concatenate(parts), None


def fit_codes(model: Any, X: Any, source: Source, n_init: int) -> None:
    """Set the attributes of a fit, from int16 codes of the rows.

    Parameters
    ----------
    model : KMeans
        Its parameters are checked already.
    X : any
        As the caller gave it.
    source : Source
        The same, can be read many times.
    n_init : int
        Number of runs.
    """
    features = feature_attributes(with_features(X, source))
    on_sphere = model.metric == "cosine"
    rows = CodeRows(source, on_sphere=on_sphere, cache=model.cache)
    if len(rows) < model.n_clusters:
        raise InvalidInput(
            f"n_samples={len(rows)} should be >= n_clusters={model.n_clusters}: "
            "pass more rows or ask for fewer clusters"
        )
    set_features(model, features)
    model._shift = rows.shift
    random_state = check_random_state(model.random_state)
    best = np.inf
    for _ in range(n_init):
        if isinstance(model.init, str) and model.init == "k-means++":
            start = plus_plus_codes(rows, model.n_clusters, random_state)
        else:
            start = model._initial_centres(rows, random_state, None)
        result = lloyd(
            CodeAssignment(rows, model.n_clusters),
            start,
            max_iter=model.max_iter,
            tolerance=model.tol * rows.variance,
            on_sphere=on_sphere,
        )
        distance = rows.mean_distance(result.centres) if n_init > 1 else 0.0
        if distance < best:
            best = distance
            model.cluster_centers_ = result.centres + rows.shift
            model.n_iter_ = result.n_iter
    del rows  # the codes are not needed any more
    model.labels_, model.inertia_ = assigned(model, X)


def assigned(model: Any, X: Any, sample_weight: Any = None) -> tuple[Array, float]:
    """Return the labels of all rows, and their inertia: of the rows themselves, not of codes."""
    labels, inertia = [], 0.0
    if not is_resident(X):
        refuse_weights(sample_weight)
    for rows in _centred(model, X):
        weights = check_sample_weight(sample_weight, len(rows))
        here, distances = model._assign(rows, model.cluster_centers_)
        labels.append(here)
        inertia += model._inertia(distances, weights)
    return np.concatenate(labels), inertia


def transformed(model: Any, X: Any) -> Array:
    """Return the distances of all rows to all centres."""
    parts = [model._distances(rows) for rows in _centred(model, X)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _centred(model: Any, X: Any) -> Iterator[CentredRows]:
    """Yield rows with the features of the fit: an array as a whole, others in blocks."""
    check_is_fitted(model)
    if is_on_device(X) and resolve_devices(model.device):
        yield model._fitted_rows(device_rows(X))
        return
    if is_resident(X):
        yield model._fitted_rows(host_array(X))
        return
    source = as_source(X)
    check_features(model, with_features(X, source))
    for _, rows in finite_blocks(source):
        yield model._rows(np.ascontiguousarray(rows))
