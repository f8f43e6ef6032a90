"""Where rows come from: arrays and memory maps, read in chunks."""

from cloister.sources.arrays import ArraySource, as_source, finite_float64, finite_rows
from cloister.sources.labels import ClassLabels, class_list, encode_labels

__all__ = [
    "ArraySource",
    "ClassLabels",
    "as_source",
    "class_list",
    "encode_labels",
    "finite_float64",
    "finite_rows",
]
