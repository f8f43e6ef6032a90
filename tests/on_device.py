"""Run the functions of `cloister._backend` on a device, from and to the host's arrays.

The tests of the kernels call `_backend` with numpy arrays. Here the arrays that have an entry for
each row are copied to the device before a call and back after it.
"""

import inspect
from contextlib import contextmanager

import numpy as np

from cloister import _backend
from cloister._backend import ClosestState, DeviceArray

ROW_ARRAYS = {
    "encode": ("rows", "codes", "valid"),
    "tally": ("codes", "labels"),
    "moments": ("codes",),
    "bins": ("codes",),
    "gradient": ("codes",),
    "nearest": ("rows", "weights", "labels", "distances"),
    "column_ranges": ("rows",),
    "all_distances": ("rows", "out"),
    "closest": ("rows", "weights"),
    "sample_mixture": ("components", "out"),
}
WRITTEN = {
    "encode": ("codes", "valid"),
    "tally": ("labels",),
    "nearest": ("labels", "distances"),
    "all_distances": ("out",),
    "sample_mixture": ("out",),
}
# What makes the host's kernels faster, and what they know to be impossible there.
HOST_ONLY = ("screened", "squares", "recollection")


def on(device, kernel):
    """Return the function of `_backend` that does its work on a device."""
    call, signature = getattr(_backend, kernel), inspect.signature(getattr(_backend, kernel))

    def called(*arguments, **named):
        bound = signature.bind(*arguments, **named).arguments
        given = dict(bound)
        for name in HOST_ONLY:
            bound.pop(name, None)
        for name in ROW_ARRAYS[kernel]:
            if isinstance(bound.get(name), np.ndarray):
                bound[name] = uploaded(bound[name], device)
        state = bound.get("state")
        if state is not None:
            parts = [uploaded(part, device) for part in vars(state).values()]
            bound["state"] = ClosestState(*parts)
        result = call(**bound)
        for name in WRITTEN.get(kernel, ()):
            if isinstance(given.get(name), np.ndarray):
                given[name][...] = bound[name].numpy()
        if state is not None:
            for name, part in vars(state).items():
                part[...] = getattr(bound["state"], name).numpy()
        return result

    return called


def uploaded(array, device):
    """Return a copy on a device; arrays that the host's functions refuse stay as they are."""
    try:
        return DeviceArray.copy_of(array, device)
    except TypeError:
        return array


@contextmanager
def on_device(device=0):
    """Let `_backend` use the kernels of a device."""
    replaced = {name: getattr(_backend, name) for name in [*ROW_ARRAYS, "screens_by_codes"]}
    made = {name: on(device, name) for name in ROW_ARRAYS}
    for name, function in made.items():
        setattr(_backend, name, function)
    _backend.screens_by_codes = lambda d, k: False
    try:
        yield _backend
    finally:
        for name, function in replaced.items():
            setattr(_backend, name, function)
