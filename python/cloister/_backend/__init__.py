"""The only door to the compiled kernels.

Arrays cross as addresses, so a wrong shape would be a segmentation fault: every function here
checks dtype, layout and shape of what it passes. The kernels themselves check nothing. What each
one computes is written in cpp/kernels.hpp.
"""

from cloister._backend.closest import (
    CANDIDATE_BLOCK,
    ClosestState,
    closest,
    code_squares,
)
from cloister._backend.device_array import (
    DeviceArray,
    RowArray,
    dtype_name,
    empty_rows,
    on_host,
    placed,
)
from cloister._backend.devices import (
    CudaSupport,
    DeviceDescription,
    Devices,
    check_device,
    cuda_support,
    resolve_devices,
)
from cloister._backend.dlpack import is_on_device
from cloister._backend.gradients import MAX_LOGIT, SoftmaxRegression, gradient
from cloister._backend.library import (
    TARGETS,
    num_threads,
    set_num_threads,
    supported_targets,
    target,
    use_target,
)
from cloister._backend.nearest import (
    Changes,
    ColumnRanges,
    ScreenedRows,
    all_distances,
    column_ranges,
    nearest,
    screen_rows,
    screens_by_codes,
)
from cloister._backend.neighbours import (
    MAX_CALLS,
    MAX_LISTED_CENTRES,
    Neighbours,
    Recollection,
)
from cloister._backend.placement import Placement
from cloister._backend.random import chacha20_block, judge_attempts, noise, sample_mixture
from cloister._backend.rows import ROW_DTYPES, encode
from cloister._backend.tallies import MOMENTS, Grid, Partition, bins, moments, tally
from cloister._backend.transfers import PageLock, free_memory, pinned_array, uploads

__all__ = [
    "CANDIDATE_BLOCK",
    "MAX_CALLS",
    "MAX_LISTED_CENTRES",
    "MAX_LOGIT",
    "MOMENTS",
    "ROW_DTYPES",
    "TARGETS",
    "Changes",
    "ClosestState",
    "ColumnRanges",
    "CudaSupport",
    "DeviceArray",
    "DeviceDescription",
    "Devices",
    "Grid",
    "Neighbours",
    "PageLock",
    "Partition",
    "Placement",
    "Recollection",
    "RowArray",
    "ScreenedRows",
    "SoftmaxRegression",
    "all_distances",
    "bins",
    "chacha20_block",
    "check_device",
    "closest",
    "code_squares",
    "column_ranges",
    "cuda_support",
    "dtype_name",
    "empty_rows",
    "encode",
    "free_memory",
    "gradient",
    "is_on_device",
    "judge_attempts",
    "moments",
    "nearest",
    "noise",
    "num_threads",
    "on_host",
    "pinned_array",
    "placed",
    "resolve_devices",
    "sample_mixture",
    "screen_rows",
    "screens_by_codes",
    "set_num_threads",
    "supported_targets",
    "tally",
    "target",
    "uploads",
    "use_target",
]
