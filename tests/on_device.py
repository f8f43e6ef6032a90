"""Run the functions of `cloister._backend` on a device, from and to the host's arrays.

The tests of the kernels call `_backend` with numpy arrays. Here the arrays that have an entry for
each row are copied to the device before a kernel and back after it.
"""

from contextlib import contextmanager

from cloister import _backend
from cloister._backend import library

ROW_ARRAYS = {
    "encode": {"rows", "codes", "valid"},
    "tally": {"codes", "labels"},
    "moments": {"codes"},
    "bins": {"codes"},
    "gradient": {"codes"},
    "nearest": {"rows", "weights", "labels", "distances"},
    "column_ranges": {"rows"},
    "all_distances": {"rows", "out"},
    "closest": {"rows", "weights", "closest", "distances", "improved"},
    "sample_mixture": {"components", "out"},
}
MODULES = ("rows", "tallies", "gradients", "nearest", "closest", "random")


class DeviceKernels:
    """The kernels of `module`, given addresses of the host."""

    def __init__(self, module):
        self._module, self._seen = module, []
        self.candidate_block = module.candidate_block
        self.range_rows = module.range_rows
        self.most_candidates = module.most_candidates

    def address(self, name, array, dtype, shape, *, writeable=False):
        found = library.__dict__["address"](name, array, dtype, shape, writeable=writeable)
        if array is not None:
            self._seen.append((found, name, array.nbytes, writeable))
        return found

    def screens_by_codes(self, d, k):
        return False

    def __getattr__(self, kernel):
        row_arrays = ROW_ARRAYS[kernel]

        def call(*arguments):
            seen, self._seen = self._seen, []
            if kernel == "encode":
                rows, dtype, stride, n, d, *_ = arguments
                item = (4, 8, 2, 2)[dtype]
                seen.append((rows, "rows", ((n - 1) * stride + d) * item if n else 0, False))
            arguments, copies = list(arguments), []
            for place, argument in enumerate(arguments):
                found = [array for array in seen if array[0] == argument and argument]
                if not found:
                    continue
                seen.remove(found[0])  # an address may come twice: a centre that is the first row
                host, name, size, writeable = found[0]
                if name in row_arrays:
                    copy = self._module.allocate(size, 0)
                    self._module.copy(copy, host, size, 0)
                    copies.append((copy, host, size, writeable))
                    arguments[place] = copy
            try:
                return getattr(self._module, kernel)(*arguments)
            finally:
                for copy, host, size, writeable in copies:
                    if writeable:
                        self._module.copy(host, copy, size, 0)
                self._module.synchronize(0)
                for copy, *_ in copies:
                    self._module.release(copy, 0)

        return call


@contextmanager
def on_device(module):
    """Let `_backend` use the kernels of a device's module."""
    kernels, host = DeviceKernels(module), library.kernels
    modules = [
        __import__(f"cloister._backend.{name}", fromlist=[name]).__dict__ for name in MODULES
    ]
    addresses = [names["address"] if "address" in names else None for names in modules]
    library.kernels = kernels
    for names in modules:
        names["address"] = kernels.address
    try:
        yield _backend
    finally:
        library.kernels = host
        for names, address in zip(modules, addresses, strict=True):
            names["address"] = address
