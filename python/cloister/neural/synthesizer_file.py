"""Synthesizers on disk: a model file of kind "synthesizer".

Its header holds `parameters` (of the synthesizer, with the budget of each mixture), `codec` (the
ids of encoder and decoder, the image's shape, what the decoder was made from), `privacy` (the whole
guarantee), `mixture` and, where there is one, `labeller` (each the header of its own model file).
Arrays are those of the mixtures and of the labeller's probe, behind a prefix each.
"""

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike, fspath
from typing import Any

from numpy.typing import NDArray
from sklearn.base import clone

from cloister.errors import CloisterError, ModelFileError
from cloister.mixture import DPGaussianMixture
from cloister.model_file import model_value, read_model, write_model
from cloister.neural import probe_file
from cloister.neural.image_guarantee import ImageGuarantee
from cloister.neural.image_labeller import ImageLabeller
from cloister.neural.probe import Probe
from cloister.privacy.guarantee import require_private
from cloister.privacy.plain_values import estimator_parameters, plain_json

MIXTURE, LABELLER, PROBE = "mixture.", "labeller.", "probe."

Path = str | PathLike[str]
Arrays = dict[str, NDArray[Any]]


def write(synthesizer: Any, path: Path, *, allow_unsafe: bool) -> None:
    """Write a fitted synthesizer; see `Synthesizer.save`."""
    guarantee, labeller = synthesizer.privacy_, synthesizer.labeller_
    require_private(guarantee, allow_unsafe)
    own, header = synthesizer.mixture_.contents(path)
    arrays = {MIXTURE + name: array for name, array in own.items()}
    described = None
    if labeller is not None:
        more, described = _labeller_contents(labeller, path)
        arrays |= more
    stored = {
        "parameters": {
            "epsilon": plain_json(float(synthesizer.epsilon_)),
            "delta": guarantee.delta,
            "labeller_share": float(synthesizer.labeller_share),
            "batch_size": int(synthesizer.batch_size),
        },
        "codec": {
            "encoder_id": guarantee.encoder_id,
            "row_purity": guarantee.row_purity,
            "decoder_id": guarantee.decoder_id,
            "image_shape": list(synthesizer.image_shape_),
        },
        "classes": header["classes"],
        "privacy": guarantee.to_dict(),
        "mixture": header,
        "labeller": described,
    }
    write_model(path, "synthesizer", arrays, stored)


def _labeller_contents(labeller: ImageLabeller, path: Path) -> tuple[Arrays, dict[str, Any]]:
    arrays, header = labeller.mixture_.contents(path)
    stored = {LABELLER + name: array for name, array in arrays.items()}
    described = {
        "mixture": header,
        "row_purity": labeller.privacy_.row_purity,
        "batch_size": int(labeller.batch_size),
        "probe": None,
    }
    if labeller.classifier_ is not None:
        arrays, described["probe"] = probe_file.contents(labeller.classifier_)
        stored |= {PROBE + name: array for name, array in arrays.items()}
    return stored, described


def read(cls: type[Any], path: Path, encoder: Any, decoder: Any, labeller_encoder: Any) -> Any:
    """Read what `write` wrote; see `Synthesizer.load`."""
    _, arrays, header = read_model(path, "synthesizer")
    try:
        return _restore(cls, path, arrays, header, (encoder, decoder, labeller_encoder))
    except ModelFileError:
        raise
    except (CloisterError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"path: {fspath(path)!r}: the file of this synthesizer is damaged: "
            f"{type(error).__name__}: {error}"
        ) from error


def image_shape_of(path: Path) -> tuple[int, ...]:
    """Return the shape of a stored synthesizer's images, before there is a decoder.

    Raises
    ------
    ModelFileError
        If the file is none.
    """
    _, _, header = read_model(path, "synthesizer")
    codec = model_value(path, header, "codec", dict)
    shape = model_value(path, codec, "image_shape", list)
    if not all(isinstance(length, int) for length in shape):
        raise ModelFileError(f"path: {fspath(path)!r} has a damaged image_shape: {shape}")
    return tuple(shape)


def _restore(
    cls: type[Any], path: Path, arrays: Arrays, header: dict[str, Any], given: tuple[Any, Any, Any]
) -> Any:
    encoder, decoder, labeller_encoder = given
    codec = model_value(path, header, "codec", dict)
    parameters = estimator_parameters(model_value(path, header, "parameters", dict))
    guarantee = ImageGuarantee.from_dict(model_value(path, header, "privacy", dict))
    identifier = model_value(path, codec, "encoder_id", str)
    purity = model_value(path, codec, "row_purity", str)
    _check_id(path, "decoder", decoder, model_value(path, codec, "decoder_id", str))
    shape = tuple(model_value(path, codec, "image_shape", list))
    if tuple(decoder.image_shape) != shape:
        raise ModelFileError(
            f"decoder: {decoder.id!r} makes images of shape {tuple(decoder.image_shape)}, but "
            f"{fspath(path)!r} was fitted for {shape}; give the decoder of the fit"
        )
    if encoder is not None:
        _check_id(path, "encoder", encoder, identifier)
    mixture = _mixture(path, arrays, MIXTURE, model_value(path, header, "mixture", dict))
    labeller = None
    if header.get("labeller") is not None:
        described = model_value(path, header, "labeller", dict)
        labeller = _labeller(path, arrays, described, (encoder, labeller_encoder))
    epsilon = model_value(path, parameters, "epsilon", float)
    synthesizer = cls(
        encoder,
        clone(mixture).set_params(epsilon=epsilon),
        decoder,
        None if labeller is None else _unfitted(labeller),
        model_value(path, parameters, "labeller_share", float),
        batch_size=model_value(path, parameters, "batch_size", int),
    )
    synthesizer.take(mixture, labeller, purity, epsilon)
    made_from = guarantee.decoder_public_data
    if replace(synthesizer.privacy_, decoder_public_data=made_from) != guarantee:
        raise ValueError("privacy is not that of its mixtures")
    synthesizer.privacy_ = guarantee
    return synthesizer


def _mixture(
    path: Path, arrays: Arrays, prefix: str, header: Mapping[str, Any]
) -> DPGaussianMixture:
    return DPGaussianMixture.from_contents(path, _part(arrays, prefix), header)


def _labeller(
    path: Path, arrays: Arrays, described: dict[str, Any], given: tuple[Any, Any]
) -> ImageLabeller:
    mixture = _mixture(path, arrays, LABELLER, model_value(path, described, "mixture", dict))
    probe = None
    if described.get("probe") is not None:
        stored = model_value(path, described, "probe", dict)
        probe = probe_file.from_contents(Probe, path, _part(arrays, PROBE), stored)
    encoder, own = given
    identifier = mixture.encoder_id
    if own is None and encoder is not None and encoder.id == identifier:
        own = encoder
    if own is not None:
        _check_id(path, "labeller_encoder", own, identifier)
    size = model_value(path, described, "batch_size", int)
    labeller = ImageLabeller(own, clone(mixture), probe and clone(probe), batch_size=size)
    labeller.take(mixture, probe, model_value(path, described, "row_purity", str))
    return labeller


def _unfitted(labeller: ImageLabeller) -> ImageLabeller:
    return ImageLabeller(
        labeller.encoder, labeller.mixture, labeller.classifier, batch_size=labeller.batch_size
    )


def _part(arrays: Arrays, prefix: str) -> Arrays:
    return {name[len(prefix) :]: a for name, a in arrays.items() if name.startswith(prefix)}


def _check_id(path: Path, argument: str, given: Any, identifier: str | None) -> None:
    if given is None:
        raise ModelFileError(
            f"{argument}=None, but {fspath(path)!r} was fitted with {identifier!r}; give that "
            f"{argument}, which no file holds"
        )
    if getattr(given, "id", None) != identifier:
        raise ModelFileError(
            f"{argument}: {getattr(given, 'id', given)!r} was given, but {fspath(path)!r} was "
            f"fitted with {identifier!r}; give that one"
        )
