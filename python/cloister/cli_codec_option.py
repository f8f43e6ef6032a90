"""The option --codec: a codec file, or the cosine codec and its parameters."""

from importlib import import_module
from typing import Any

from cloister.errors import InvalidInput

DCT = "dct"
PARAMETERS = ("keep", "block", "contrast", "frequency_power", "mean", "norm_bound")
WHOLE = ("keep", "block")


def open_codec(spec: str, image_shape: tuple[int, ...]) -> Any:
    """Return the codec that --codec names.

    Parameters
    ----------
    spec : str
        "dct", "dct:keep=64,mean=0", or a file that `cloister train-codec` wrote.
    image_shape : tuple of int
        Of the images, for a codec that is no file.

    Raises
    ------
    InvalidInput, InvalidType
        If the parameters are none.
    ModelFileError
        If the file is no codec.
    """
    decoders = import_module("cloister.neural.decoders")  # when used: it is no small import
    name, _, given = spec.partition(":")
    if name != DCT:
        return decoders.load_codec(spec)
    return decoders.DCTCodec(tuple(image_shape), **_parameters(given))


def _parameters(text: str) -> dict[str, float]:
    """Read "keep=64,mean=0" as numbers."""
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = (int if name.strip() in WHOLE else float)(value)
        except ValueError as error:
            raise InvalidInput(
                f"--codec: {part!r} is no NAME=NUMBER; write such as dct:keep=64,mean=0"
            ) from error
        if name.strip() not in PARAMETERS:
            raise InvalidInput(
                f"--codec: {name.strip()!r} is no parameter of dct, which has {list(PARAMETERS)}"
            )
    return found
