"""The commands about images: `synthesize` and `sample-images`."""

from typing import Any

import click

from cloister.cli_shared_options import (
    budget_options,
    count_or_auto,
    declared,
    delta_option,
    epsilon_option,
    json_option,
    seed_option,
    threads_option,
)

codec_option = click.option(
    "--codec",
    default="dct",
    show_default=True,
    metavar="dct[:NAME=NUMBER,...]|FILE",
    help="Public encoder and decoder: the cosine codec, or a file of `train-codec`.",
)
grid_option = click.option("--grid", metavar="FILE.png", help="Picture of samples, a row a class.")
temperature_option = click.option(
    "--temperature", type=float, default=1.0, show_default=True, help="Below 1: nearer to means."
)
n_images_option = click.option(
    "-n", "n_samples", type=click.IntRange(min=1), help="Synthetic images to draw."
)


# The options of `synthesize` that become a `SynthesizeOptions`.
_synthesize_options = declared(
    [
        click.argument("images", metavar="IMAGES"),
        click.option("--labels", metavar="FILE[:KEY]", help="Classes of the images."),
        codec_option,
        click.option("--out", required=True, metavar="MODEL", help="Model file to write."),
        epsilon_option,
        delta_option,
        click.option(
            "--n-components",
            callback=count_or_auto,
            metavar="INTEGER|auto",
            help="Mixture components a class; `auto` follows --n-hint.",
        ),
        click.option("--covariance-type", metavar="TYPE", help="tied, full, diag, spherical ..."),
        click.option("--classes", metavar="LIST", help='Public list of classes: "0,1,2".'),
        click.option("--n-hint", type=int, help="Public guess of the number of images."),
        click.option(
            "--labeller-share",
            type=float,
            help="Share of the budget for a second rule that labels the samples, such as 0.5.",
        ),
        budget_options,
    ]
)


@click.command()
@_synthesize_options
@click.option("--samples", metavar="FOLDER|FILE", help="Draw into PNGs, .parquet or .npz.")
@n_images_option
@grid_option
@temperature_option
@seed_option
@threads_option
@json_option
def synthesize(
    samples: str | None,
    n_samples: int | None,
    grid: str | None,
    temperature: float,
    random_state: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit private IMAGES and draw synthetic ones, as many as one likes.

    IMAGES is a folder of images, whose subfolders are their classes, or a .npy file, or
    FILE.npz:KEY, of uint8 images of shape (n, height, width) or (n, height, width, 3). The codec is
    public; a mixture of embeddings under --epsilon is all that touches the images.
    """
    from cloister import cli_synthesize  # noqa: PLC0415

    of_mixture = ("epsilon", "delta", "n_components", "covariance_type", "n_hint")
    mixture = {name: options.pop(name) for name in of_mixture}
    drawn = cli_synthesize.SampleOptions(samples, n_samples, grid, temperature, random_state)
    checked = cli_synthesize.SynthesizeOptions(**options, mixture=mixture, drawn=drawn)
    cli_synthesize.synthesize(checked, as_json)


@click.command("sample-images")
@click.argument("model", metavar="MODEL")
@codec_option
@click.option("--out", metavar="FOLDER|FILE", help="Draw into PNGs, .parquet or .npz.")
@n_images_option
@click.option("--resume", is_flag=True, help="Go on with a folder of the same draw.")
@grid_option
@temperature_option
@seed_option
@threads_option
@json_option
def sample_images(
    model: str,
    codec: str,
    out: str | None,
    n_samples: int | None,
    resume: bool,
    grid: str | None,
    temperature: float,
    random_state: int | None,
    as_json: bool,
) -> None:
    """Draw synthetic images from a MODEL of `synthesize`; costs no privacy."""
    from cloister import cli_synthesize  # noqa: PLC0415

    options = cli_synthesize.SampleOptions(out, n_samples, grid, temperature, random_state, resume)
    cli_synthesize.sample_images(model, codec, options, as_json)


@click.command("evaluate-images")
@click.argument("samples", metavar="SAMPLES")
@click.argument("real", metavar="REAL")
@click.option("--labels", metavar="FILE[:KEY]", help="Of SAMPLES; its y by default.")
@click.option("--real-labels", metavar="FILE[:KEY]", help="Of REAL; its y by default.")
@click.option("--training", metavar="FILE[:KEY]", help="The images that were fitted.")
@codec_option
@click.option("-k", "k", type=int, default=5, show_default=True, help="Neighbours.")
@threads_option
@json_option
def evaluate_images(
    samples: str,
    real: str,
    labels: str | None,
    real_labels: str | None,
    training: str | None,
    codec: str,
    k: int,
    as_json: bool,
) -> None:
    """Compare synthetic images SAMPLES with held-out images REAL, in the space of a codec.

    Frechet distance, precision, recall, density and coverage, whole and class by class; with
    --training also whether samples are nearer to the images that were fitted than to REAL. All of
    it is for the owner of the images: the guarantee does not cover it.
    """
    from cloister import cli_evaluate  # noqa: PLC0415

    cli_evaluate.evaluate(samples, labels, real, real_labels, training, codec, k, as_json)
