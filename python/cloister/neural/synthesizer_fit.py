"""The private fits of a synthesizer: checked together, paid from one budget, made in order."""

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from cloister.errors import InvalidInput, InvalidType
from cloister.mixture import DPGaussianMixture
from cloister.neural.encoded_images import EncodedImages, StoredImages, check_encoder
from cloister.neural.image_labeller import MOST_IMAGES, ImageLabeller
from cloister.neural.image_mixture import check_affordable, check_second_fit, mixture_for
from cloister.neural.protocols import Decoder, Encoder
from cloister.parameters import check_integer
from cloister.privacy.session import PrivacyParameters
from cloister.privacy.split import split_epsilon


@dataclass(frozen=True)
class PlannedFits:
    """What is to be fitted, each part with its own share of the budget.

    Attributes
    ----------
    mixture : DPGaussianMixture
        Of the embeddings that images are decoded from.
    labeller : ImageLabeller or None
    labeller_mixture : DPGaussianMixture or None
    """

    mixture: DPGaussianMixture
    labeller: ImageLabeller | None = None
    labeller_mixture: DPGaussianMixture | None = None


def check_codec(encoder: Encoder, decoder: Any) -> Decoder:
    """Return `decoder` if it undoes `encoder`.

    Raises
    ------
    InvalidType, InvalidInput
    """
    if not isinstance(decoder, Decoder):
        missing = [
            part
            for part in ("id", "encoder_id", "n_features", "image_shape", "public_data", "decode")
            if not hasattr(decoder, part)
        ]
        raise InvalidType(
            f"decoder must be a decoder, got {type(decoder).__name__}, which lacks {missing}; see "
            "cloister.neural.decoders"
        )
    if decoder.encoder_id != encoder.id:
        raise InvalidInput(
            f"decoder {decoder.id!r} decodes embeddings of the encoder {decoder.encoder_id!r}, but "
            f"the encoder is {encoder.id!r}; take the two that belong together"
        )
    if decoder.n_features != encoder.n_features:
        raise InvalidInput(
            f"decoder {decoder.id!r} takes {decoder.n_features} features, but the encoder "
            f"{encoder.id!r} makes {encoder.n_features}; take the two that belong together"
        )
    return decoder


def check_shape(images: StoredImages, encoder: Encoder, decoder: Decoder) -> None:
    """Refuse images of another shape than the codec's.

    Encoders that scale images of any shape state no `image_shape`, and are given any.

    Raises
    ------
    InvalidInput
    """
    stated = getattr(encoder, "image_shape", None)
    if stated is None:
        return
    for name, shape in (("images", images.shape), ("decoder", decoder.image_shape)):
        if shape is not None and tuple(shape) != tuple(stated):
            raise InvalidInput(
                f"{name}: of image shape {tuple(shape)}, but the encoder {encoder.id!r} is one of "
                f"{tuple(stated)}; resize the images, or take a codec of their shape"
            )


def plan_fits(synthesizer: Any, images: StoredImages, labels: Any) -> PlannedFits:
    """Check everything that can be checked before an image is encoded.

    Raises
    ------
    InvalidInput, InvalidType
        Naming the argument at fault.
    BudgetExceeded
        If the ledger cannot pay for all fits.
    """
    encoder = check_encoder(synthesizer.encoder)
    check_shape(images, encoder, check_codec(encoder, synthesizer.decoder))
    check_integer("batch_size", synthesizer.batch_size, 1, MOST_IMAGES, way_out="256 is usual")
    own = mixture_for(encoder, synthesizer.mixture)
    if isinstance(own.tilt, str):
        own.set_params(tilt=False)  # images are decoded from means of rows, not of a linear rule
    if own.row_transform is not None and own.clip_norm != encoder.norm_bound:
        raise InvalidInput(
            f"mixture: row_transform={own.row_transform!r} makes samples of norm 1, but embeddings "
            f"of {encoder.id!r} have norm up to {encoder.norm_bound:g}; leave row_transform out"
        )
    if synthesizer.labeller is None:
        return PlannedFits(own)
    return _with_labeller(synthesizer, own, images, labels)


def _with_labeller(
    synthesizer: Any, own: DPGaussianMixture, images: StoredImages, labels: Any
) -> PlannedFits:
    """Split the budget of `own` with the labeller's mixture."""
    given = synthesizer.labeller
    if not isinstance(given, ImageLabeller):
        raise InvalidType(f"labeller must be an ImageLabeller, got {type(given).__name__}")
    labeller = ImageLabeller(
        given.encoder, given.mixture, given.classifier, batch_size=given.batch_size
    )
    other = labeller.checked_mixture()
    check_shape(images, labeller.encoder, synthesizer.decoder)  # it labels what is decoded, too
    _share_classes(own, other)
    if other.budget not in (None, own.budget):
        raise InvalidInput(
            f"labeller: its mixture has budget={other.budget!r}, but the mixture has "
            f"{own.budget!r}, which pays for both; leave it out"
        )
    total = PrivacyParameters.of(own)
    first, second = split_epsilon(
        total.epsilon, total.delta, synthesizer.labeller_share, "labeller_share"
    )
    name = own.fit_name
    if own.budget is not None and name is None:
        name = uuid.uuid4().hex  # whoever has paid for one of two fits must be able to resume
    seed = own.unsafe_noise_seed
    if seed is not None and other.unsafe_noise_seed is None:
        other.set_params(unsafe_noise_seed=(seed + 1) % 2**64)  # one seed would be one noise
    own.set_params(epsilon=first, fit_name=name)
    other.set_params(
        epsilon=second,
        delta=own.delta,
        budget=own.budget,
        fit_name=None if name is None else f"{name} labeller",
    )
    check_second_fit(other, labeller.encoder, labels)
    if own.budget is not None:
        check_affordable(own.budget, {str(fit.fit_name): fit for fit in (own, other)})
    return PlannedFits(own, labeller, other)


def _share_classes(own: DPGaussianMixture, other: DPGaussianMixture) -> None:
    """Give both mixtures the one list of classes, in one order; None where the labels tell."""
    if own.classes is not None and other.classes is not None:
        lists = np.asarray(own.classes).tolist(), np.asarray(other.classes).tolist()
        if lists[0] != lists[1]:
            raise InvalidInput(
                f"labeller: its mixture has classes={lists[1]}, but the mixture has {lists[0]}; "
                "give one list"
            )
    known = other.classes if own.classes is None else own.classes
    own.set_params(classes=known)
    other.set_params(classes=known)


def _same_rows(encoder: Encoder, other: Encoder) -> bool:
    """Say whether rows of one are rows of the other, and what is said of their purity holds.

    A strict encoder and one in batches have one id: their rows differ by rounding alone.
    """
    return (encoder.id, encoder.row_purity) == (other.id, other.row_purity)


def make_fits(
    synthesizer: Any, fits: PlannedFits, images: StoredImages, labels: Any
) -> tuple[DPGaussianMixture, ImageLabeller | None]:
    """Fit what was planned; images are encoded once by each encoder.

    Returns
    -------
    mixture, labeller
        Fitted.
    """
    encoder, labeller, other = synthesizer.encoder, fits.labeller, fits.labeller_mixture
    shared = labeller is not None and _same_rows(encoder, labeller.encoder)
    keep = shared or not fits.mixture.cache
    rows = EncodedImages(images, encoder, synthesizer.batch_size, keep=keep)
    mixture = fits.mixture.fit(rows, labels)
    if labeller is None or other is None:
        return mixture, None
    if other.classes is None:
        # The list is public by now, and the statement of the first fit says whence.
        other = clone(other).set_params(classes=mixture.classes_)
    try:
        if not shared:
            rows = EncodedImages(
                images, labeller.encoder, labeller.batch_size, keep=not other.cache
            )
        return mixture, labeller.fit_rows(rows, labels, other)
    except BaseException as error:
        if mixture.budget is not None:
            error.add_note(
                "the mixture of images is paid for already: fit again with "
                f"fit_name={mixture.fit_name!r} to take it up"
            )
        raise
