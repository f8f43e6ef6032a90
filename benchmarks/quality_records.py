"""Records of single runs in one JSON file, and their means and spreads.

A record is a flat dict. Its key (part, rows, k, method, epsilon, seed) names the run; the rest are
figures. A run that is made again replaces its record, so that pieces can be run one by one.
"""

import json
import math
import os
import statistics

KEY = ("part", "rows", "k", "method", "epsilon", "seed")


def key(record):
    return tuple(record.get(name) for name in KEY)


def read(path):
    return json.loads(path.read_text()) if path and path.exists() else []


def merge(path, record):
    """Put the record in the file, in the place of an older one of the same run."""
    records = [old for old in read(path) if key(old) != key(record)] + [record]
    lines = ",\n".join(json.dumps(one) for one in records)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(f"[\n{lines}\n]\n")
    part.replace(path)


def written(epsilon):
    """Return epsilon as JSON has it, which knows no infinity."""
    return epsilon if math.isfinite(epsilon) else "inf"


def select(records, **wanted):
    return [r for r in records if all(r.get(name) == value for name, value in wanted.items())]


def different(records, name):
    """Return the distinct values of a field, in the order in which they came."""
    return list(dict.fromkeys(record.get(name) for record in records))


def epsilons(records):
    return sorted(different(records, "epsilon"), key=float)


def mean(records, figure):
    values = [record[figure] for record in records if figure in record]
    return statistics.fmean(values) if values else None


def spread(records, figure):
    """Return the standard deviation over runs, None for fewer than two."""
    values = [record[figure] for record in records if figure in record]
    return statistics.stdev(values) if len(values) > 1 else None
