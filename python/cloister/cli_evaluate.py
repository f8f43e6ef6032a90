"""`cloister evaluate-images`: synthetic images beside real ones, for their owner."""

from typing import Any

import click
from numpy.typing import NDArray

from cloister.cli_codec_option import open_codec
from cloister.cli_files import check_array_file, read_array
from cloister.cli_output import busy, emit, show_pairs, show_paragraph, show_table
from cloister.neural.codec_input import check_image_batch
from cloister.neural.image_report import ImageFigures, ImageReport, evaluate_images
from cloister.sources.file_names import split_key

Images = tuple[NDArray[Any], NDArray[Any]]


def evaluate(
    samples: str,
    labels: str | None,
    real: str,
    real_labels: str | None,
    training: str | None,
    codec: str,
    k: int,
    as_json: bool,
) -> None:
    """Measure and report."""
    for argument, spec in [
        ("SAMPLES", samples),
        ("--labels", labels),
        ("REAL", real),
        ("--real-labels", real_labels),
        ("--training", training),
    ]:
        if spec is not None:
            check_array_file(argument, spec)
    synthetic = _read("SAMPLES", samples, "--labels", labels)
    held_out = _read("REAL", real, "--real-labels", real_labels)
    fitted = None if training is None else read_array("--training", training, "x")
    encoder = open_codec(codec, synthetic[0].shape[1:])
    with busy("comparing images"):
        report = evaluate_images(*synthetic, *held_out, encoder, training=fitted, k=k)
    emit(report.to_dict(), as_json, lambda: _show(report))


def _read(argument: str, spec: str, option: str, labels: str | None) -> Images:
    if labels is None and split_key(spec)[1] is not None:
        raise click.UsageError(f"{argument} with a :KEY needs {option}")
    images = check_image_batch(argument, read_array(argument, spec, "x"))
    return images, read_array(argument if labels is None else option, labels or spec, "y")


def _show(report: ImageReport) -> None:
    show_pairs({"encoder": report.encoder_id, **_facts(report.overall)})
    if report.real_frechet is not None:
        show_pairs({"frechet of training images": report.real_frechet})
    click.echo()
    rows = [{"class": name, **_facts(one)} for name, one in report.by_class.items()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    show_table({name: [row.get(name, "-") for row in rows] for name in names})
    show_paragraph(report.not_covered_by_the_guarantee)


def _facts(figures: ImageFigures) -> dict[str, Any]:
    """Return the figures that there are, by name."""
    facts: dict[str, Any] = {"real": figures.n_real, "synthetic": figures.n_synthetic}
    if figures.frechet is not None:
        facts["frechet"] = figures.frechet
    if figures.manifolds is not None:
        facts |= vars(figures.manifolds)
    near = figures.nearest
    if near is not None:
        facts |= {
            "nearer to training": near.share_nearer_to_training,
            "expected": near.expected_share,
            "z": near.z,
        }
    return facts
