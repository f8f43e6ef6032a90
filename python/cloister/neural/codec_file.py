"""Codecs on disk: a model file of kind "codec".

Its header holds `form` ("dct" or "convolutional"), `parameters` and `public_data` (words, and of a
trained codec the number of images and their digest). Of a cosine codec the one array is `mean`
(uint8). Of a convolutional one they are `center` (float64) and the network's layers, each under
"network." and its name (float32), and the header also holds `radius` and `training`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from cloister.errors import CloisterError, ModelFileError
from cloister.model_file import model_array, model_value, read_model, write_model
from cloister.neural.conv_layers import Architecture
from cloister.neural.public_data import PublicData

KIND = "codec"
FORMS = ("dct", "convolutional")
LAYER = "network."
DAMAGE = (CloisterError, AttributeError, LookupError, TypeError, ValueError, OverflowError)

Path = str | os.PathLike[str]


def load_codec(path: Path) -> Any:
    """Read a codec of either form.

    Parameters
    ----------
    path : str or path
        A file that `DCTCodec.save`, `ConvCodec.save` or `cloister train-codec` wrote.

    Returns
    -------
    DCTCodec or ConvCodec

    Raises
    ------
    ModelFileError
        If the file is anything else. Nothing in it is executed.
    """
    from cloister.neural.autoencoder import ConvCodec  # noqa: PLC0415 - they import this module
    from cloister.neural.dct_codec import DCTCodec  # noqa: PLC0415

    form = _read(path, None)[1]["form"]
    return DCTCodec.load(path) if form == "dct" else ConvCodec.load(path)


def write_dct(codec: Any, path: Path) -> None:
    """Write a `DCTCodec`."""
    p = codec.parameters
    header = {
        "form": "dct",
        "parameters": {
            "image_shape": p.image_shape,
            "block": p.block,
            "keep": p.keep[:2],
            "norm_bound": p.norm_bound,
            "contrast": p.contrast,
            "frequency_power": p.frequency_power,
        },
        "public_data": {"name": p.public_data},
        "id": codec.id,
    }
    write_model(path, KIND, {"mean": p.mean}, header)


def read_dct(cls: type[Any], path: Path) -> Any:
    """Read what `write_dct` wrote into an instance of `cls`, or raise ModelFileError."""
    arrays, header = _read(path, "dct")
    try:
        given = dict(model_value(path, header, "parameters", dict))
        shape = tuple(given.pop("image_shape"))
        keep = given.pop("keep")
        name = model_value(path, model_value(path, header, "public_data", dict), "name", str)
        mean = model_array(path, arrays, "mean", np.uint8, shape)
        constant = mean.size > 0 and bool((mean == mean.flat[0]).all())
        codec = cls(
            shape,
            keep=tuple(keep) if len(shape) == 3 else keep[0],
            mean=float(mean.flat[0]) if constant else mean,
            public_data=name,
            **given,
        )
        return _same_id(path, codec, header)
    except ModelFileError:
        raise
    except DAMAGE as error:
        raise _damaged(path, error) from error


def write_conv(codec: Any, path: Path) -> None:
    """Write a `ConvCodec`."""
    header = {
        "form": "convolutional",
        "parameters": {**codec.architecture.to_dict(), "norm_bound": codec.norm_bound},
        "radius": codec.radius,
        "public_data": codec.public.to_dict(),
        "training": codec.training,
        "id": codec.id,
    }
    arrays = {LAYER + name: array for name, array in codec.weights.items()}
    write_model(path, KIND, {**arrays, "center": codec.center}, header)


def read_conv(cls: type[Any], path: Path) -> Any:
    """Read what `write_conv` wrote into an instance of `cls`, or raise ModelFileError."""
    arrays, header = _read(path, "convolutional")
    try:
        given = dict(model_value(path, header, "parameters", dict))
        norm_bound = model_value(path, given, "norm_bound", float)
        given.pop("norm_bound")
        architecture = Architecture.from_dict(given)
        weights = {
            name: model_array(path, arrays, LAYER + name, np.float32, shape)
            for name, shape in architecture.shapes().items()
        }
        codec = cls(
            architecture,
            weights,
            center=model_array(path, arrays, "center", np.float64, (architecture.n_features,)),
            radius=model_value(path, header, "radius", float),
            norm_bound=norm_bound,
            public=PublicData.from_dict(model_value(path, header, "public_data", dict)),
            training=model_value(path, header, "training", dict),
        )
        return _same_id(path, codec, header)
    except ModelFileError:
        raise
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _read(path: Path, form: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    _, arrays, header = read_model(path, KIND)
    found = model_value(path, header, "form", str)
    if found not in FORMS or form not in (None, found):
        wanted = " or ".join(repr(name) for name in ([form] if form else FORMS))
        raise ModelFileError(
            f"path: {os.fspath(path)!r} holds a codec of the form {found!r}, but {wanted} is "
            "needed; load it with cloister.neural.decoders.load_codec"
        )
    return arrays, header


def _same_id(path: Path, codec: Any, header: dict[str, Any]) -> Any:
    """Compare with the id at the time of saving, which holds a digest of every number."""
    stored = model_value(path, header, "id", str)
    if codec.id != stored:
        raise ModelFileError(
            f"path: {os.fspath(path)!r}: its content makes the codec {codec.id!r}, but it was "
            f"saved as {stored!r}; the file is damaged: write it again"
        )
    return codec


def _damaged(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"path: {os.fspath(path)!r}: the file of this codec is damaged: "
        f"{type(error).__name__}: {error}"
    )
