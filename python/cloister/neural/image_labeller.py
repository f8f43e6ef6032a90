"""A private classifier of images, from a mixture of their embeddings."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from cloister.errors import InvalidType
from cloister.mixture import DPGaussianMixture
from cloister.neural.encoded_images import EncodedImages, check_encoder, encode, stored_images
from cloister.neural.image_guarantee import ImageGuarantee
from cloister.neural.image_mixture import mixture_for
from cloister.neural.optional_packages import need_torch
from cloister.neural.probe import Probe
from cloister.parameters import check_integer
from cloister.sources import Source

MOST_IMAGES = 2**20  # of a batch


class ImageLabeller(ClassifierMixin, BaseEstimator):
    """Private Bayes rule on embeddings, which says what an image shows.

    Beside the images of a `Synthesizer` it says what their pixels leave open: its encoder may be
    one that no decoder undoes.

    Parameters
    ----------
    encoder : Encoder
        Whose embeddings tell classes apart.
    mixture : DPGaussianMixture
        Copied, and fitted in `mixture_`. By its default `tilt="auto"` its Bayes rule is trained
        for classification. Its `encoder_id` becomes that of the encoder, and `clip_norm` the
        encoder's `norm_bound` unless it was given.
    classifier : Probe, optional
        Trained on samples of the mixture, in `classifier_`, and asked instead of its Bayes rule;
        costs no privacy.
    batch_size : int, default=256
        Images encoded at a time.

    Attributes
    ----------
    mixture_ : DPGaussianMixture
    classifier_ : Probe or None
    classes_ : array of shape (classes,)
    privacy_ : ImageGuarantee

    Raises
    ------
    InvalidInput, InvalidType
        By every method, naming the argument.
    """

    mixture_: DPGaussianMixture
    classifier_: Probe | None
    classes_: NDArray[Any]
    privacy_: ImageGuarantee

    def __init__(
        self, encoder: Any, mixture: Any, classifier: Any = None, *, batch_size: int = 256
    ) -> None:
        self.encoder = encoder
        self.mixture = mixture
        self.classifier = classifier
        self.batch_size = batch_size

    def fit(self, images: Any, labels: Any) -> Self:
        """Fit the private mixture of the images' embeddings.

        Parameters
        ----------
        images : array of shape (n, height, width) or (n, height, width, 3), uint8
            Private images.
        labels : array-like of shape (n,)
            Their classes, integers or strings.

        Returns
        -------
        self

        Raises
        ------
        InvalidInput, InvalidType
            Before anything is spent.
        BudgetExceeded
            Before any image is read, if the mixture's `budget` cannot pay.

        Notes
        -----
        Privacy cost: the mixture's (epsilon, delta), add/remove one image with its label.
        """
        stored = stored_images(images)
        own = self.checked_mixture()
        return self.fit_rows(EncodedImages(stored, self.encoder, self.batch_size), labels, own)

    def checked_mixture(self) -> DPGaussianMixture:
        """Return the mixture to fit; refuse other parameters that are none, reading no image."""
        encoder = check_encoder(self.encoder)
        check_integer("batch_size", self.batch_size, 1, MOST_IMAGES, way_out="256 is usual")
        if self.classifier is not None:
            if not isinstance(self.classifier, Probe):
                found = type(self.classifier).__name__
                raise InvalidType(f"classifier must be a cloister.neural.Probe, got {found}")
            self.classifier.check_parameters()
            need_torch("training a Probe")  # missed later, the mixture would be paid for
        return mixture_for(encoder, self.mixture)

    def fit_rows(self, rows: Source, labels: Any, mixture: DPGaussianMixture) -> Self:
        """Fit `mixture`, as `checked_mixture` returned it, to embeddings made already."""
        mixture.fit(rows, labels)
        classifier = None
        if self.classifier is not None:
            classifier = clone(self.classifier).fit_mixture(mixture)
        self.take(mixture, classifier, self.encoder.row_purity)
        return self

    def take(self, mixture: DPGaussianMixture, classifier: Probe | None, row_purity: str) -> None:
        """Become fitted."""
        self.mixture_, self.classifier_ = mixture, classifier
        self.classes_ = mixture.classes_
        self.privacy_ = ImageGuarantee.over(mixture.privacy_, row_purity)

    def predict_proba(self, images: Any) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n, classes).

        Of synthetic images this is public; of private ones it is owner-side.
        """
        check_is_fitted(self)
        asked = self.mixture_ if self.classifier_ is None else self.classifier_
        return asked.predict_proba(encode(self.encoder, images, self.batch_size))

    def predict(self, images: Any) -> NDArray[Any]:
        """Return the most probable class of each image, shape (n,); see `predict_proba`."""
        places = self.predict_proba(images).argmax(axis=1)  # says so if nothing was fitted
        return np.asarray(self.classes_[places])
