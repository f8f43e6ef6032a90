"""`cloister train-codec`: a codec from public images, and what `cloister info` says of one."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from cloister.atomic_file import check_destination
from cloister.cli_output import emit, say, show_pairs, show_paragraph
from cloister.cli_road import check_distinct
from cloister.errors import InvalidInput, ModelFileError

STATEMENT = (
    "A codec has no privacy guarantee and needs none as long as the images that it was trained on "
    "are public. Whoever trained it vouches for that: cloister cannot see it."
)


@dataclass(frozen=True)
class CodecOptions:
    """The options of `cloister train-codec`, as given."""

    images: str | None
    public_data: str | None
    procedural: int | None
    image_shape: str | None
    out: str
    resume: bool
    random_state: int
    training: dict[str, Any]  # what `train_codec` takes under the same names

    def check(self) -> None:
        """Refuse combinations that mean nothing, and files that are not there; opens none."""
        if self.images is None and self.procedural is None:
            raise click.UsageError("give PUBLIC_IMAGES, or --procedural N where there are none")
        if self.images is not None and self.public_data is None:
            raise click.UsageError(
                "PUBLIC_IMAGES need --public-data: say which public images these are, such as "
                '--public-data "MNIST train"; never give private ones'
            )
        if self.images is not None and self.image_shape is not None:
            raise click.UsageError("--image-shape is that of PUBLIC_IMAGES; leave it out")
        if self.images is None and self.image_shape is None:
            raise click.UsageError("--procedural without PUBLIC_IMAGES needs --image-shape")
        check_destination(self.out, "--out")
        check_distinct({"--out": self.out}, {"PUBLIC_IMAGES": self.images})

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted training is kept."""
        return Path(f"{self.out}.checkpoint")

    def read(self) -> tuple[NDArray[np.uint8], str]:
        """Return the images, and what they are in words."""
        from cloister.neural.images import as_image_array  # noqa: PLC0415
        from cloister.neural.procedural_images import procedural_images  # noqa: PLC0415

        images, words = None, self.public_data
        if self.images is not None:
            images = as_image_array(self.images, "PUBLIC_IMAGES")
        if self.procedural is not None:
            shape = images.shape[1:] if images is not None else parse_shape(self.image_shape)
            drawn = procedural_images(self.procedural, shape, self.random_state)
            said = f"{self.procedural} procedural images of seed {self.random_state}"
            words = said if words is None else f"{words} and {said}"
            images = drawn if images is None else np.concatenate([images, drawn])
        return np.asarray(images), str(words)


def parse_shape(text: str | None) -> tuple[int, ...]:
    """Read "28x28" or "32x32x3"."""
    if text is None or not re.fullmatch(r"\d{1,5}x\d{1,5}(x3)?", text):
        raise InvalidInput(f"--image-shape={text!r} is no shape such as 28x28 or 32x32x3")
    return tuple(int(side) for side in text.split("x"))


def train(options: CodecOptions, as_json: bool) -> None:
    """Train, save and report."""
    options.check()
    from cloister.neural.codec_training import train_codec  # noqa: PLC0415 - torch is optional

    images, words = options.read()
    checkpoint = options.checkpoint
    if options.resume and not checkpoint.exists():
        say(f"there is no {str(checkpoint)!r}: training starts from the beginning")
    if not options.resume:
        with suppress(FileNotFoundError):
            checkpoint.unlink()
    say(f"training on {words}; whatever it sees must be public")
    codec = train_codec(
        images,
        public_data=words,
        resume=checkpoint,
        random_state=options.random_state,
        progress=True,
        **options.training,
    )
    try:
        codec.save(options.out)
    except ModelFileError as error:
        raise ModelFileError(
            f"--out: {error} (the training is in {str(checkpoint)!r}: give --resume)"
        ) from error
    checkpoint.unlink()
    result = {"codec": options.out, "kind": "codec", **described(codec)}
    emit(result, as_json, lambda: show_pairs(flat(result)))


def described(codec: Any) -> dict[str, Any]:
    """Return what is said of a codec."""
    return {
        "id": codec.id,
        "image_shape": list(codec.image_shape),
        "n_features": codec.n_features,
        "norm_bound": codec.norm_bound,
        "public_data": codec.public_data,
        "training": getattr(codec, "training", None),
    }


def flat(result: dict[str, Any]) -> dict[str, Any]:
    """Return one line for each fact; how it was trained under the names of its own."""
    facts = {name: value for name, value in result.items() if name not in ("training", "statement")}
    trained = result.get("training") or {}
    return {**facts, **{f"training: {name}": value for name, value in trained.items()}}


def info(path: str, as_json: bool) -> None:
    """Report what a codec's file says, and above all which public images it saw."""
    from cloister.neural.codec_file import load_codec  # noqa: PLC0415

    result = {"kind": "codec", **described(load_codec(path)), "statement": STATEMENT}

    def show() -> None:
        show_pairs(flat(result))
        show_paragraph(STATEMENT)

    emit(result, as_json, show)
