"""Synthetic images beside real ones, whole and class by class: owner-side figures."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural.codec_input import check_image_batch
from cloister.neural.encoded_images import check_encoder, encode
from cloister.neural.image_labeller import MOST_IMAGES
from cloister.neural.image_metrics import Manifolds, frechet_distance, manifold_metrics
from cloister.neural.nearest_private import (
    NearestPrivate,
    nearest_private,
    nearest_private_by_class,
)
from cloister.parameters import check_integer

NOT_COVERED = (
    "Owner-side: every figure is measured on real images. Where these are private the guarantee "
    "of the synthesizer does not cover the figures: they stay with the owner of the data."
)


@dataclass(frozen=True)
class ImageFigures:
    """Figures of one set of synthetic images against one of real images.

    Attributes
    ----------
    n_real, n_synthetic : int
        Images compared.
    frechet : float or None
        `frechet_distance` in the encoder's space; None with fewer than 2 images on a side.
    manifolds : Manifolds or None
        Precision, recall, density and coverage; None with k images or fewer on a side.
    nearest : NearestPrivate or None
        None where there are no training images to compare with.
    """

    n_real: int
    n_synthetic: int
    frechet: float | None
    manifolds: Manifolds | None
    nearest: NearestPrivate | None


@dataclass(frozen=True)
class ImageReport:
    """What `evaluate_images` found. All of it is owner-side where the real images are private.

    Attributes
    ----------
    overall : ImageFigures
        Of all images.
    by_class : dict of label to ImageFigures
        Of the samples of each class against the real images of it (nearest rows: of any).
    real_frechet : float or None
        Of training images against held-out ones: what a perfect sample would come to. None
        without training images.
    encoder_id : str
        The space that was measured in.
    not_covered_by_the_guarantee : str
        What the owner has to know of these figures.
    """

    overall: ImageFigures
    by_class: dict[Any, ImageFigures]
    real_frechet: float | None
    encoder_id: str
    not_covered_by_the_guarantee: str = NOT_COVERED

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers; of distances their quartiles."""
        return {
            "overall": _plain(self.overall),
            "by_class": {name: _plain(figures) for name, figures in self.by_class.items()},
            "real_frechet": self.real_frechet,
            "encoder_id": self.encoder_id,
            "not_covered_by_the_guarantee": self.not_covered_by_the_guarantee,
        }


def evaluate_images(
    samples: Any,
    labels: Any,
    real: Any,
    real_labels: Any,
    encoder: Any,
    *,
    training: Any = None,
    k: int = 5,
    batch_size: int = 256,
) -> ImageReport:
    """Compare synthetic images with real ones that were not fitted, in an encoder's space.

    Parameters
    ----------
    samples, labels : arrays of shape (m, height, width[, 3]), uint8, and (m,)
        Synthetic images and their classes.
    real, real_labels : arrays of shape (n, height, width[, 3]), uint8, and (n,)
        Held-out real images and their classes.
    encoder : Encoder
        Best not the one that was fitted with, which is blind to what its decoder loses.
    training : array of shape (n', height, width[, 3]), uint8, optional
        The real images that were fitted, for the distances to the nearest private image.
    k : int
        Neighbours, as in `manifold_metrics`.
    batch_size : int
        Images encoded at a time.

    Returns
    -------
    ImageReport

    Raises
    ------
    InvalidInput, InvalidType
        Naming the argument.

    Notes
    -----
    Costs no privacy and has none: see `ImageReport.not_covered_by_the_guarantee`.
    """
    encoder = check_encoder(encoder)
    size = check_integer("batch_size", batch_size, 1, MOST_IMAGES, way_out="256 is usual")
    k = check_integer("k", k, 1, 10_000, way_out="5 is usual")
    given = {"samples": samples, "real": real}
    if training is not None:
        given["training"] = training
    arrays = {name: check_image_batch(name, images) for name, images in given.items()}
    found = _labels("labels", labels, arrays["samples"])
    truth = _labels("real_labels", real_labels, arrays["real"])
    _check_alike(found, truth)
    rows = {name: encode(encoder, images, size) for name, images in arrays.items()}
    fitted = rows.get("training")
    near, near_by_class = None, {}
    if fitted is not None:
        near = nearest_private(rows["samples"], fitted, rows["real"])
        near_by_class = nearest_private_by_class(rows["samples"], found, fitted, rows["real"])
    by_class = {
        name: _figures(
            rows["real"][truth == name], rows["samples"][found == name], k, near_by_class.get(name)
        )
        for name in np.union1d(found, truth).tolist()
    }
    whole = _figures(rows["real"], rows["samples"], k, near)
    between = None
    if fitted is not None and min(len(fitted), len(rows["real"])) > 1:
        between = frechet_distance(fitted, rows["real"])
    return ImageReport(whole, by_class, between, encoder.id)


def _check_alike(found: NDArray[Any], truth: NDArray[Any]) -> None:
    """Refuse names beside numbers: "3" and 3 would be two classes, without an image in common."""
    kinds = ["words" if labels.dtype.kind in "UO" else "numbers" for labels in (found, truth)]
    if kinds[0] != kinds[1]:
        raise InvalidInput(
            f"labels are {kinds[0]} ({found[0]!r}) and real_labels {kinds[1]} ({truth[0]!r}); name "
            "classes alike (those of folders are words)"
        )


def _labels(name: str, labels: Any, images: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(labels)
    if array.shape != (len(images),):
        raise InvalidInput(
            f"{name} has shape {array.shape}, but there are {len(images)} images; give one each"
        )
    return array


def _figures(
    real: NDArray[Any], synthetic: NDArray[Any], k: int, near: NearestPrivate | None
) -> ImageFigures:
    least = min(len(real), len(synthetic))
    return ImageFigures(
        n_real=len(real),
        n_synthetic=len(synthetic),
        frechet=frechet_distance(real, synthetic) if least > 1 else None,
        manifolds=manifold_metrics(real, synthetic, k) if least > k else None,
        nearest=near,
    )


def _plain(figures: ImageFigures) -> dict[str, Any]:
    plain = asdict(figures)
    if figures.nearest is not None:
        for name in ("to_training", "to_held_out"):
            quartiles = np.quantile(plain["nearest"].pop(name), [0.25, 0.5, 0.75])
            plain["nearest"][f"quartiles_{name}"] = quartiles.tolist()
    return plain
