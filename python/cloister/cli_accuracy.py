"""What `fit --test` and `probe --test` say of a classifier on real rows: owner-side."""

from collections.abc import Mapping
from typing import Any

import click
from numpy.typing import NDArray

from cloister.class_accuracy import ClassAccuracy
from cloister.cli_output import show_table

NOT_COVERED = (
    "Owner-side: accuracies are measured on the real rows of --test; the guarantee does not "
    "cover them."
)
RESULTS = ["accuracy", "class_accuracy"]  # the names of what is measured, in a command's result

Measured = Mapping[str, ClassAccuracy | None]


def measure(classifier: Any, rows: NDArray[Any], labels: NDArray[Any]) -> ClassAccuracy:
    """Return the accuracy of a fitted classifier on real rows, class by class."""
    return ClassAccuracy.of(labels, classifier.predict(rows), classifier.classes_)


def overall(measured: Measured) -> dict[str, float | None]:
    """Return the accuracy of each classifier on all rows; None where there is no classifier."""
    return {name: None if found is None else found.overall for name, found in measured.items()}


def by_class(measured: Measured) -> dict[str, Any] | None:
    """Return what `class_accuracy` holds: classes, their test rows, a column a classifier, worst.

    None if nothing was measured.
    """
    known = {name: found for name, found in measured.items() if found is not None}
    if not known:
        return None
    first = next(iter(known.values()))
    worst = {name: found.worst for name, found in known.items()}
    return {
        "classes": first.classes,
        "rows": first.rows,
        **{name: found.accuracies for name, found in known.items()},
        "worst": {
            name: found and {"class": found[0], "accuracy": found[1]}
            for name, found in worst.items()
        },
    }


def worst_pairs(table: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the worst class of each classifier as pairs to show."""
    worst = table["worst"] if table is not None else {}
    return {
        f"worst class of the {name}": f"{one['class']} ({one['accuracy']:.6g})"
        for name, one in worst.items()
        if one is not None
    }


def show_by_class(table: Mapping[str, Any] | None) -> None:
    """Print the table, if there is one."""
    if table is not None:
        click.echo()
        titles = {"classes": "class", "rows": "test rows"}
        columns = {name: list(cells) for name, cells in table.items() if name != "worst"}
        show_table({titles.get(name, f"right: {name}"): cells for name, cells in columns.items()})
