"""Where rows come from, in chunks: arrays, memory maps, files, Arrow, iterables of batches."""

from cloister.sources.arrays import ArraySource, array_source, finite_float64, finite_rows
from cloister.sources.device_rows import DeviceSource, device_rows, returned_like
from cloister.sources.label_files import LabelColumn, find_labels
from cloister.sources.labels import ClassLabels, class_list, encode_labels, public_classes
from cloister.sources.opening import as_source, host_array, is_resident, with_features
from cloister.sources.protocol import Source, require_rereadable, rows_a_chunk

__all__ = [
    "ArraySource",
    "ClassLabels",
    "DeviceSource",
    "LabelColumn",
    "Source",
    "array_source",
    "as_source",
    "class_list",
    "device_rows",
    "encode_labels",
    "find_labels",
    "finite_float64",
    "finite_rows",
    "host_array",
    "is_resident",
    "public_classes",
    "require_rereadable",
    "returned_like",
    "rows_a_chunk",
    "with_features",
]
