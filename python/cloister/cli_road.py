"""From a fitted mixture to samples, a probe and its accuracy: `fit --probe`, `sample`, `probe`."""

import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
from numpy.typing import NDArray

import cloister
from cloister.atomic_file import check_destination
from cloister.cli_accuracy import (
    RESULTS,
    by_class,
    measure,
    overall,
    show_by_class,
    worst_pairs,
)
from cloister.cli_encoder import check_test_encoder
from cloister.cli_files import (
    array_destination,
    check_array_file,
    read_array,
    read_rows,
    unit_rows,
    write_npy,
    write_npz,
)
from cloister.cli_output import busy, emit, say, show_pairs
from cloister.errors import CloisterError, InvalidInput
from cloister.neural import Probe
from cloister.neural.optional_packages import need_torch
from cloister.sources import Source, as_source
from cloister.sources.arrays import finite_float64
from cloister.sources.file_names import split_key
from cloister.sources.labels import encode_labels

DEFAULT_SAMPLES = 50_000

# How `probe` names what it learns from.
ORIGIN = "MODEL|SYNTHETIC.npz"

Rows = NDArray[Any]
Labels = NDArray[Any]


@dataclass(frozen=True)
class RoadOptions:
    """What `cloister fit` is to make of the mixture once it is saved; None where nothing."""

    synthetic: str | None
    n_samples: int | None
    probe: str | None
    test: str | None
    test_labels: str | None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return any(vars(self)[name] is not None for name in ("synthetic", "probe", "test"))

    def check(self, model: str, labels: str | None) -> None:
        """Refuse, before anything is spent, what would fail after it; opens no file.

        Raises
        ------
        click.UsageError, InvalidInput
            For options that mean nothing, places that cannot be written, test files not there.
        MissingDependency
            If there is a probe to train and no torch.
        """
        given = [name for name, value in vars(self).items() if value is not None]
        if given and model != "mixture":
            option = given[0].replace("_", "-")
            raise click.UsageError(f"--{option} needs --model mixture, got {model}")
        if self.n_samples is not None and self.synthetic is None and self.probe is None:
            raise click.UsageError("--n-samples needs --synthetic or --probe")
        for name in ("probe", "test"):
            if vars(self)[name] is not None and labels is None:
                raise click.UsageError(f"--{name} needs --labels: it is about classes")
        check_test_options(self.test, self.test_labels)
        for name, spec in (("--test", self.test), ("--test-labels", self.test_labels)):
            if spec is not None:
                check_array_file(name, spec)
        if self.synthetic is not None:
            array_destination("--synthetic", self.synthetic, (".npz",))
        if self.probe is not None:
            check_destination(self.probe, "--probe")
            need_torch("training a Probe")

    def read_test(
        self, rows: Source, labels: Any, classes: Any, *, normalize: bool
    ) -> tuple[Rows, Labels] | None:
        """Return the test rows and their labels, if any, checked against the rows of the fit.

        Raises
        ------
        InvalidInput, InvalidType
            If one of them would be refused, or never be right, once the mixture is fitted.
        """
        if self.test is None:
            return None
        test, found = read_test(self.test, self.test_labels, normalize=normalize)
        if test.shape[1] != rows.d:
            raise InvalidInput(
                f"--test has {test.shape[1]} features a row, but ROWS has {rows.d}; embed "
                "both with the same encoder"
            )
        known = encode_labels(labels, rows.n, classes).classes
        try:
            places = encode_labels(found, len(test), known).exact_index
        except CloisterError as error:
            option = "--test-labels" if self.test_labels else "--test"
            raise type(error)(f"{option}: {error}") from error
        return test, known[places]

    def walk(
        self, mixture: Any, random_state: int | None, test: tuple[Rows, Labels] | None
    ) -> dict[str, Any]:
        """Draw, save, train and measure; costs no privacy. Returns what there is to report."""
        classifier, n = None, None
        if self.synthetic is not None or self.probe is not None:
            n = DEFAULT_SAMPLES if self.n_samples is None else self.n_samples
            if self.synthetic is not None:
                rows, labels = draw(mixture, n, random_state)
                write_npz(array_destination("--synthetic", self.synthetic, (".npz",)), rows, labels)
            if self.probe is not None:
                with busy("training the probe"):
                    classifier = new_probe(random_state).fit_mixture(mixture, n)
                classifier.save(self.probe)
        measured = None
        if test is not None:
            with busy("measuring on the rows of --test"):
                measured = {
                    "probe": None if classifier is None else measure(classifier, *test),
                    "mixture": measure(mixture, *test),
                }
        return {
            "synthetic": self.synthetic,
            "n_samples": n,
            "probe": self.probe,
            "accuracy": None if measured is None else overall(measured),
            "class_accuracy": None if measured is None else by_class(measured),
            "not_covered_by_the_guarantee": [] if measured is None else RESULTS,
        }


def pairs(walked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of `RoadOptions.walk` as pairs to show; of nothing, none."""
    if not walked:
        return {}
    shown = {name: walked[name] for name in ("synthetic", "n_samples", "probe")}
    accuracy = walked["accuracy"] or {}
    shown |= {f"accuracy of the {name}": value for name, value in accuracy.items()}
    shown |= worst_pairs(walked["class_accuracy"])
    return {name: value for name, value in shown.items() if value is not None}


def check_distinct(written: Mapping[str, str | None], read: Mapping[str, str | None]) -> None:
    """Refuse to write two results to one file, or over a file that is read.

    Raises
    ------
    click.UsageError
        Naming both options.
    """
    seen: dict[str, str] = {}
    for name, spec in [*read.items(), *written.items()]:
        if spec is not None:
            path = split_key(spec)[0] if name in read else spec
            matches = [] if name in written or os.path.exists(path) else glob.glob(path)
            for file in map(os.path.realpath, matches or [path]):
                if file in seen and name in written:
                    raise click.UsageError(f"{seen[file]} and {name} name the same file")
                seen[file] = name


def check_test_options(test: str | None, test_labels: str | None) -> None:
    """Refuse labels without rows, and rows of one key without labels."""
    if test_labels is not None and test is None:
        raise click.UsageError("--test-labels needs --test")
    if test is not None and test_labels is None and split_key(test)[1] is not None:
        raise click.UsageError("--test with a :KEY needs --test-labels")


def read_test(test: str, test_labels: str | None, *, normalize: bool) -> tuple[Rows, Labels]:
    """Read rows to measure an accuracy on, of norm 1 if asked for, and their labels.

    Raises
    ------
    InvalidInput, InvalidType
        As `read_rows` and `read_array`, and if a row holds NaN or infinity.
    """
    rows = read_rows("--test", test)
    for first, part in as_source(rows, "--test").chunks():
        finite_float64(part, first, "--test")
    labels = read_array("--test-labels" if test_labels else "--test", test_labels or test, "y")
    return unit_rows(rows) if normalize else rows, labels


def draw(mixture: Any, n: int, random_state: int | None) -> tuple[Rows, Labels]:
    """Draw synthetic rows and their labels."""
    with busy(f"drawing {n} rows"):
        rows, labels = mixture.sample(n, random_state)
    return rows, labels


def new_probe(random_state: int | None) -> Probe:
    """Return the two-layer classifier, untrained."""
    return Probe(random_state=0 if random_state is None else random_state)


def train_probe(origin: str, random_state: int | None, test: str | None = None) -> Probe:
    """Train the two-layer classifier on a file of synthetic rows, or on draws from a model file.

    InvalidInput, before training, if `test` names rows of another encoder than the model's.
    """
    classifier = new_probe(random_state)
    if not is_archive(origin):
        mixture = cloister.DPGaussianMixture.load(origin)
        check_test_encoder(test, mixture.encoder_id)
        with busy("training the probe"):
            return classifier.fit_mixture(mixture, DEFAULT_SAMPLES)
    rows, labels = read_rows(ORIGIN, origin), read_array(ORIGIN, origin, "y")
    with busy("training the probe"):
        return classifier.fit(rows, labels)


def is_archive(path: str) -> bool:
    """Whether a file holds rows and labels, as its name says; it is a model file otherwise."""
    return path.lower().endswith(".npz")


def sample(
    model: str,
    n_samples: int,
    out: str,
    labels_out: str | None,
    random_state: int | None,
    as_json: bool,
) -> None:
    """Draw rows from a model file, write them and report."""
    target = array_destination("--out", out, (".npy", ".npz"))
    archive = target.suffix.lower() == ".npz"
    if labels_out is not None and archive:
        raise click.UsageError("--labels-out needs an --out that ends in .npy; .npz holds both")
    labels_target = labels_out and array_destination("--labels-out", labels_out, (".npy",))
    check_distinct({"--out": out, "--labels-out": labels_out}, {"MODEL": model})
    mixture = cloister.DPGaussianMixture.load(model)
    rows, labels = draw(mixture, n_samples, random_state)
    if archive:
        write_npz(target, rows, labels)
    else:
        write_npy(target, rows)
    if labels_target:
        write_npy(labels_target, labels)
    result = {
        "out": out,
        "labels_out": labels_out,
        "n": n_samples,
        "n_features": rows.shape[1],
        "dtype": str(rows.dtype),
        "privacy": mixture.privacy_.to_dict(),
    }
    emit(result, as_json, lambda: say(f"wrote {n_samples} x {rows.shape[1]} rows to {out}"))


def probe(
    origin: str,
    test: str | None,
    test_labels: str | None,
    normalize: bool,
    out: str,
    random_state: int | None,
    as_json: bool,
) -> None:
    """Train a probe on a mixture or on a file of synthetic rows, write it and report."""
    check_test_options(test, test_labels)
    if normalize and test is None:
        raise click.UsageError("--normalize scales the rows of --test, which is not given")
    if split_key(origin)[1] is not None:
        raise click.UsageError(f"{ORIGIN} is one file; leave out its :KEY (.npz holds x and y)")
    check_destination(out, "--out")
    read = {ORIGIN: origin, "--test": test, "--test-labels": test_labels}
    check_distinct({"--out": out}, read)
    measured = None if test is None else read_test(test, test_labels, normalize=normalize)
    classifier = train_probe(origin, random_state, test)
    found = {"probe": None if measured is None else measure(classifier, *measured)}
    classifier.save(out)
    accuracy, table = overall(found)["probe"], by_class(found)
    result = {"probe": out, "classes": classifier.classes_, "accuracy": accuracy}

    def show() -> None:
        show_pairs(result | worst_pairs(table))
        show_by_class(table)

    emit(result | {"class_accuracy": table}, as_json, show)
