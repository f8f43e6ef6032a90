"""The command line: `cloister --help`.

Commands import what they need when they run, so that help is there at once.
"""

from typing import Any

import click

from cloister.cli_embed import embed
from cloister.cli_image_commands import evaluate_images, sample_images, synthesize
from cloister.cli_output import Commands
from cloister.cli_shared_options import (
    budget_options,
    count_or_auto,
    declared,
    delta_option,
    epsilon_option,
    json_option,
    seed_option,
    test_labels_option,
    test_option,
    threads_option,
)
from cloister.version import __version__


@click.group(cls=Commands, invoke_without_command=True)
@click.version_option(__version__, prog_name="cloister")
@click.pass_context
def main(context: click.Context) -> None:
    """Differentially private clusters, mixtures and synthetic embeddings.

    Exit codes: 0 done, 2 wrong usage or bad input, 3 privacy budget exceeded, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


main.add_command(embed)


# The options of `fit` that become a `FitOptions`.
_fit_options = declared(
    [
        click.argument("rows", metavar="ROWS"),
        click.option(
            "--labels", metavar="FILE[:KEY]|COLUMN", help="Classes of the rows: a file or a column."
        ),
        click.option("--out", required=True, metavar="MODEL", help="Model file to write."),
        click.option(
            "--model",
            type=click.Choice(["mixture", "kmeans"]),
            default="mixture",
            show_default=True,
            help="What to fit.",
        ),
        epsilon_option,
        delta_option,
        click.option(
            "--n-components",
            callback=count_or_auto,
            metavar="INTEGER|auto",
            help="Mixture components a class; `auto` follows --n-hint, where nothing is tilted.",
        ),
        click.option("--n-clusters", type=int, help="Clusters of --model kmeans."),
        click.option("--metric", metavar="NAME", help="kmeans: euclidean (default) or cosine."),
        click.option("--covariance-type", metavar="TYPE", help="tied, full, diag, spherical ..."),
        click.option(
            "--row-transform", metavar="NAME", help="Public map of mixture rows: root, power:0.25."
        ),
        click.option(
            "--class-prior",
            type=click.Choice(["uniform"]),
            help="Predict and sample classes as equally likely, however few rows some have.",
        ),
        click.option(
            "--clip-norm",
            type=float,
            default=1.0,
            show_default=True,
            help="Public norm; longer rows are shortened to it.",
        ),
        click.option(
            "--classes",
            metavar="LIST",
            help="""Public list of classes: 0,1,2 or cat,dog; '"0",1' are words, as of folders.""",
        ),
        click.option("--n-hint", type=int, help="Public guess of the number of rows."),
        click.option(
            "--on-invalid",
            type=click.Choice(["error", "drop"]),
            default="error",
            show_default=True,
            help="Rows with NaN or infinity.",
        ),
        click.option(
            "--cache/--no-cache",
            default=True,
            show_default=True,
            help="Keep 2 bytes a number in memory, or read the files for each question.",
        ),
        click.option(
            "--device",
            default="cpu",
            show_default=True,
            help="cuda for all GPUs, cuda:1 for one, auto for GPUs if any; the same bits.",
        ),
        click.option("--normalize", is_flag=True, help="Scale each row to norm 1 first."),
        budget_options,
        click.option("--encoder-id", metavar="NAME", help="Public encoder that made the rows."),
        seed_option,
    ]
)


@main.command()
@_fit_options
@click.option("--synthetic", metavar="FILE.npz", help="Draw synthetic rows x, labels y into it.")
@click.option(
    "--n-samples",
    type=click.IntRange(min=1),
    help="Synthetic rows to draw, or to train on in an epoch; 50000 by default.",
)
@click.option("--probe", metavar="PROBE", help="Train a classifier on the mixture alone.")
@test_option
@test_labels_option
@threads_option
@click.option("--dry-run", is_flag=True, help="Print cost and plan; open no rows or labels.")
@click.option("--n-features", type=click.IntRange(min=1), help="Features, for --dry-run.")
@json_option
def fit(
    synthetic: str | None,
    n_samples: int | None,
    probe: str | None,
    test: str | None,
    test_labels: str | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a private model to ROWS: a file, FILE:KEY, or a quoted pattern such as 'emb/*.parquet'.

    Files are .npy, .npz, .safetensors, .parquet or .arrow; KEY names an array or a column where
    there are several. They are read in chunks and may be larger than memory. ROWS hold one
    embedding a row, of norm at most --clip-norm (longer ones are shortened).

    A mixture may go the whole road at once: --synthetic draws from it and --probe trains on
    draws of its own, which costs no privacy; --test measures on real rows, for their owner only.
    """
    from cloister import cli_fit, cli_options, cli_price, cli_road  # noqa: PLC0415

    road = cli_road.RoadOptions(synthetic, n_samples, probe, test, test_labels)
    checked = cli_options.FitOptions(**options, dry_run=dry_run, road=road)
    checked.check()
    (cli_price.dry_run if dry_run else cli_fit.fit)(checked, as_json)


@main.command()
@click.argument("model", metavar="MODEL")
@click.option("-n", "n_samples", type=click.IntRange(min=1), required=True, help="Rows to draw.")
@click.option("--out", required=True, metavar="FILE", help=".npz with x and y, or .npy of rows.")
@click.option("--labels-out", metavar="FILE.npy", help="Labels, where --out is .npy.")
@seed_option
@threads_option
@json_option
def sample(
    model: str,
    n_samples: int,
    out: str,
    labels_out: str | None,
    random_state: int | None,
    as_json: bool,
) -> None:
    """Draw synthetic rows from a mixture MODEL; costs no privacy."""
    from cloister import cli_road  # noqa: PLC0415

    cli_road.sample(model, n_samples, out, labels_out, random_state, as_json)


@main.command()
@click.argument("origin", metavar="MODEL|SYNTHETIC.npz")
@test_option
@test_labels_option
@click.option("--normalize", is_flag=True, help="Scale each row of --test to norm 1 first.")
@click.option("--out", required=True, metavar="PROBE", help="Probe file to write.")
@seed_option
@json_option
def probe(
    origin: str,
    test: str | None,
    test_labels: str | None,
    normalize: bool,
    out: str,
    random_state: int | None,
    as_json: bool,
) -> None:
    """Train a two-layer classifier on draws from a mixture MODEL; costs no privacy.

    It learns the mixture's posterior. Given SYNTHETIC.npz, a file of rows x and labels y, it learns
    those labels, which say less.

    The accuracy on real test rows is for their owner: the guarantee does not cover it.
    """
    from cloister import cli_road  # noqa: PLC0415

    cli_road.probe(origin, test, test_labels, normalize, out, random_state, as_json)


@main.command("train-codec")
@click.argument("images", metavar="[PUBLIC_IMAGES]", required=False)
@click.option("--out", required=True, metavar="CODEC", help="Codec file to write.")
@click.option("--public-data", metavar="WORDS", help='Which public images: "MNIST train".')
@click.option(
    "--procedural",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train on N images made by a formula, too or instead.",
)
@click.option("--image-shape", metavar="HxW[x3]", help="Of --procedural images alone: 28x28.")
@click.option("--n-features", type=int, default=64, show_default=True, help="Of an embedding.")
@click.option("--epochs", type=int, default=20, show_default=True, help="Passes over the images.")
@click.option("--width", type=int, default=32, show_default=True, help="Channels, in eights.")
@click.option("--kl-weight", type=float, default=0.0, help="Above 0: a VAE; 0.02 is common.")
@click.option("--edge-weight", type=float, default=0.0, help="Weight of edges in the loss.")
@click.option("--norm-bound", type=float, default=1.0, show_default=True, help="Public norm.")
@click.option("--batch-size", type=int, default=128, show_default=True, help="Images of a step.")
@click.option("--learning-rate", type=float, default=0.002, show_default=True, help="At its peak.")
@click.option("--samples-dir", metavar="FOLDER", help="Pictures of images and reconstructions.")
@click.option("--samples-every", type=int, default=5, show_default=True, help="In epochs.")
@click.option("--resume", is_flag=True, help="Go on from CODEC.checkpoint, if it is there.")
@click.option("--device", default="cpu", show_default=True, help="A torch device, such as cuda.")
@click.option("--random-state", type=int, default=0, show_default=True, metavar="SEED")
@json_option
def train_codec(
    images: str | None,
    out: str,
    public_data: str | None,
    procedural: int | None,
    image_shape: str | None,
    resume: bool,
    random_state: int,
    as_json: bool,
    **training: Any,
) -> None:
    """Train an autoencoder on PUBLIC_IMAGES, to embed and decode private ones later.

    PUBLIC_IMAGES is a folder of image files, a .npy file, or FILE.npz:KEY; of one size, grey or in
    colour. They must be PUBLIC: a codec is published with all that it learnt, no noise is added,
    and it has no privacy guarantee. Which images they are, their number and digest stay in the
    file: `cloister info CODEC` shows them.

    Interrupted, the training is kept in CODEC.checkpoint: give --resume to go on.
    """
    from cloister import cli_codec  # noqa: PLC0415

    options = cli_codec.CodecOptions(
        images, public_data, procedural, image_shape, out, resume, random_state, training
    )
    cli_codec.train(options, as_json)


@main.command()
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--budget", metavar="LEDGER", help="Report on this ledger instead.")
@click.option("--dataset", metavar="NAME", help="The data set's name in the ledger.")
@json_option
def info(model: str | None, budget: str | None, dataset: str | None, as_json: bool) -> None:
    """Describe this installation, a MODEL file, or a budget."""
    from cloister import cli_info  # noqa: PLC0415

    if (budget is None) != (dataset is None) or (budget is not None and model is not None):
        raise click.UsageError("give MODEL, or --budget with --dataset, or nothing")
    if budget is not None and dataset is not None:
        cli_info.ledger(budget, dataset, as_json)
    elif model is not None:
        cli_info.model(model, as_json)
    else:
        cli_info.installation(as_json)


@main.command()
@epsilon_option
@delta_option
@threads_option
@json_option
def demo(epsilon: float, delta: float, as_json: bool) -> None:
    """Run the whole road on handwritten digits, offline, in seconds."""
    from cloister import cli_demo  # noqa: PLC0415

    cli_demo.demo(epsilon, delta, as_json)


main.add_command(synthesize)
main.add_command(sample_images)
main.add_command(evaluate_images)
