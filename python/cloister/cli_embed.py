"""`cloister embed`: its options."""

from typing import Any

import click

from cloister.cli_shared_options import declared, json_option

# The options of `embed`.
_embed_options = declared(
    [
        click.argument("images", metavar="IMAGES"),
        click.option("--labels", metavar="FILE[:KEY]", help="Classes; else those of subfolders."),
        click.option(
            "--encoder",
            required=True,
            metavar="LIBRARY:NAME",
            help="torchvision:mobilenet_v2, timm:NAME, open_clip:NAME, transformers:FOLDER.",
        ),
        click.option("--weights", metavar="FILE|NAME", help="A file, or the library's own."),
        click.option("--out", required=True, metavar="FILE", help=".parquet or .npy to write."),
        click.option("--size", type=int, help="Pixels to which images are resized."),
        click.option("--mean", type=float, multiple=True, help="Of pixels in [0, 1]; 1 or 3."),
        click.option("--std", type=float, multiple=True, help="Likewise."),
        click.option("--interpolation", metavar="NAME", help="bicubic (default), bilinear ..."),
        click.option("--batch-size", type=int, default=64, show_default=True),
        click.option(
            "--precision",
            type=click.Choice(["float32", "bfloat16", "float16"]),
            default="float32",
            show_default=True,
        ),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda ..."),
        click.option("--norm", type=float, help="Public bound of the norm; scaled to 1 without."),
        click.option("--strict", is_flag=True, help="Each row by itself: pure by construction."),
        click.option("--check-purity", is_flag=True, help="Measure that rows are independent."),
        click.option("--restart", is_flag=True, help="Begin anew; take up what is there without."),
    ]
)


@click.command()
@_embed_options
@json_option
def embed(as_json: bool, **options: Any) -> None:
    """Embed IMAGES by a public encoder: a folder (subfolders are classes), .npy or FILE.npz:KEY.

    Interrupted, the same command goes on where it stopped. The file holds columns `embedding` and
    `label`, and the encoder's id, which `fit` reads.
    """
    from cloister import cli_embed_run  # noqa: PLC0415

    cli_embed_run.run(cli_embed_run.EmbedOptions(**options), as_json)
