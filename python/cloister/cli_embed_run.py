"""What `cloister embed` does: from images to a file of embeddings that knows its encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from cloister.cli_output import busy, emit, show_pairs
from cloister.errors import InvalidInput
from cloister.neural.embedding import embed
from cloister.neural.embedding_file import Provenance, check_out, read_provenance
from cloister.neural.images import as_images
from cloister.neural.preprocessing import Preprocessing

LIBRARIES = ("torchvision", "timm", "open_clip", "transformers")


@dataclass(frozen=True)
class EmbedOptions:
    """The options of `cloister embed`, as given; None where the library decides."""

    images: str
    labels: str | None
    encoder: str
    weights: str | None
    out: str
    size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str | None
    batch_size: int
    precision: str
    device: str
    norm: float | None
    strict: bool
    check_purity: bool
    restart: bool

    def check(self) -> None:
        """Refuse what would fail once the network is there; opens no file.

        Raises
        ------
        InvalidInput, click.UsageError
        """
        library, colon, name = self.encoder.partition(":")
        if library not in LIBRARIES or not colon or not name:
            raise InvalidInput(
                f"--encoder={self.encoder!r} must be LIBRARY:NAME with one of {list(LIBRARIES)}, "
                "such as torchvision:mobilenet_v2"
            )
        if library == "transformers" and self.weights is not None:
            raise click.UsageError("--weights is not for transformers: its folder holds them")
        if self.strict and self.check_purity:
            raise click.UsageError("--check-purity is not needed with --strict")
        check_out(self.out)

    def preprocessing(self) -> Preprocessing | None:
        """Return what the options say of the preprocessing; None if nothing.

        Raises
        ------
        click.UsageError
            If they say it in part: a guess at the rest would be silently wrong.
        """
        if self.size is None and not self.mean and not self.std and self.interpolation is None:
            return None
        if self.size is None or not self.mean or not self.std:
            raise click.UsageError("--size, --mean and --std need each other: give all or none")
        return Preprocessing(
            size=self.size,
            interpolation=self.interpolation or "bicubic",
            mean=self.mean if len(self.mean) > 1 else self.mean[0],
            std=self.std if len(self.std) > 1 else self.std[0],
        )

    def open(self) -> Any:
        """Return the encoder."""
        from cloister.neural import encoders  # noqa: PLC0415 - which library is known only here

        library, _, name = self.encoder.partition(":")
        make: Callable[..., Any] = getattr(encoders, f"{library}_encoder")
        # timm fetches weights of its own unless told otherwise; the others say what they need.
        optional = library in ("timm", "transformers") and self.weights is None
        weights: dict[str, Any] = {} if optional else {"weights": self.weights}
        return make(
            name,
            **weights,
            preprocessing=self.preprocessing(),
            norm="unit" if self.norm is None else self.norm,
            batch_size=self.batch_size,
            precision=self.precision,
            device=self.device,
            strict=self.strict,
        )


def run(options: EmbedOptions, as_json: bool) -> None:
    """Embed, write the file and report."""
    options.check()
    options.preprocessing()
    images = as_images(options.images, "IMAGES")
    with busy(f"opening {options.encoder}"):
        encoder = options.open()
    if options.check_purity:
        with busy("checking that rows do not depend on their batch"):
            found = encoder.check_row_purity(images)
        if not found.pure:
            raise InvalidInput(f"--check-purity: {found.summary()}; embed with --strict")
    target = embed(encoder, images, options.out, labels=options.labels, resume=not options.restart)
    assert not hasattr(target, "shape")
    made = read_provenance(str(target))
    assert isinstance(made, Provenance)
    result = {
        "out": options.out,
        "n": made.n,
        "n_features": made.n_features,
        "encoder_id": made.encoder_id,
        "norm_bound": made.norm_bound,
        "row_purity": made.row_purity,
    }
    emit(result, as_json, lambda: show_pairs(result))
