"""A small convolutional classifier that is trained on synthetic images alone."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from cloister.errors import InvalidInput
from cloister.neural import image_classifier_file, image_network
from cloister.neural.codec_input import check_image_batch, check_images
from cloister.neural.image_network import GROUP, ImagePlan
from cloister.neural.inputs import as_generator, as_numpy, check_number
from cloister.parameters import check_integer
from cloister.privacy.guarantee import require_private

PREDICTED = 1000  # images classified at a time


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """Convolutional network for small images, to judge what synthetic ones teach.

    Four convolutions with group norm and a linear layer, AdamW, a warm-up and cosine decay; no
    choice is made while it trains, so no image but those given is looked at. The defaults close
    the gap between smooth synthetic images and sharp real ones: noise of random strength, shifts
    of a pixel, and no statistics over a batch.

    Parameters
    ----------
    width : int, default=16
        Channels of the first layer, a multiple of 4; later layers have 2 and 4 times as many.
    epochs : int, default=20
        Passes over the images.
    batch_size : int, default=128
    learning_rate : float, default=3e-3
        Its peak.
    weight_decay : float, default=0.02
    shift : int, default=1
        Pixels by which images are moved at random in training, at most.
    noise : float, default=0.1
        Largest standard deviation of the noise added in training; white is 1.
    random_state : int, Generator, RandomState or None, default=0

    Attributes
    ----------
    classes_ : array of shape (classes,)
    image_shape_ : tuple of int
    network_ : torch.nn.Module
    privacy_ : ImageGuarantee or None
        Of the synthesizer behind `fit_synthesizer`; None after `fit`.

    Raises
    ------
    InvalidInput, InvalidType
        By every method, naming the argument.
    MissingDependency
        Where torch is not installed.
    """

    privacy_: Any

    def __init__(
        self,
        width: int = 16,
        *,
        epochs: int = 20,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.02,
        shift: int = 1,
        noise: float = 0.1,
        random_state: Any = 0,
    ) -> None:
        self.width = width
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.shift = shift
        self.noise = noise
        self.random_state = random_state

    def fit(self, images: Any, y: Any, proba: Any = None) -> Self:
        """Train on images and their labels.

        Parameters
        ----------
        images : array of shape (n, height, width) or (n, height, width, 3), uint8
        y : array-like of shape (n,)
            Integers or strings. With `proba` it is the list of classes, of shape (classes,).
        proba : array-like of shape (n, classes), optional
            Soft labels, which are learnt instead.

        Returns
        -------
        self
        """
        plan = self._plan()
        images = check_image_batch("images", images, 4)
        if proba is None:
            classes, targets = np.unique(as_numpy(y), return_inverse=True)
            targets = targets.astype(np.int64)
        else:
            classes, targets = np.asarray(y), np.asarray(proba, np.float32)
        wanted = (len(images),) if proba is None else (len(images), len(classes))
        if len(images) == 0 or targets.shape != wanted:
            raise InvalidInput(
                f"{'y' if proba is None else 'proba'} has shape {targets.shape}, but {wanted} is "
                f"needed for {len(images)} images; give a label to each of at least one image"
            )
        if len(set(classes.tolist())) != len(classes):
            raise InvalidInput(f"y must list each class once beside proba, got {classes.tolist()}")
        if proba is not None and not (np.isfinite(targets).all() and (targets >= 0).all()):
            raise InvalidInput("proba must hold finite probabilities, none below 0")
        self.network_ = image_network.train(images, targets, len(classes), plan)
        self.classes_, self.image_shape_, self.privacy_ = classes, images.shape[1:], None
        return self

    def fit_synthesizer(
        self,
        synthesizer: Any,
        n_samples: int = 50_000,
        temperatures: Sequence[float] = (0.15, 0.4, 0.7, 1.0),
    ) -> Self:
        """Train on images that a fitted `Synthesizer` draws; free of privacy cost.

        Parameters
        ----------
        synthesizer : Synthesizer
            Fitted, or loaded.
        n_samples : int, default=50,000
            Images to draw, with soft labels where there is a labeller.
        temperatures : sequence of float
            Of `Synthesizer.sample`; each draws as many of the images. Residuals of real images
            have heavier tails than a Gaussian's: many are cleaner than its draws.

        Returns
        -------
        self
        """
        self.check_parameters()
        n = check_integer("n_samples", n_samples, 1, 2**31, way_out="how many images to draw")
        if not temperatures:
            raise InvalidInput("temperatures is empty; give at least one, such as 1.0")
        generator = as_generator(self.random_state)
        soft = synthesizer.labeller_ is not None
        drawn = [
            synthesizer.sample(share, int(generator.integers(2**31)), heat, return_proba=soft)
            for heat, share in zip(temperatures, _shares(n, len(temperatures)), strict=True)
            if share
        ]
        images, y, *proba = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        if soft:
            self.fit(images, synthesizer.classes_, proba[0])
        else:
            self.fit(images, y)
        self.privacy_ = synthesizer.privacy_
        return self

    def predict_proba(self, images: Any) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n, classes), columns as in `classes_`."""
        check_is_fitted(self)
        images = check_images("images", images, self.image_shape_)
        parts = image_network.logits(self.network_, images, PREDICTED)
        empty = np.empty((0, len(self.classes_)))
        return np.asarray(softmax(np.concatenate([empty, *parts]), axis=1))

    def predict(self, images: Any) -> NDArray[Any]:
        """Return the most probable label of each image, shape (n,)."""
        return np.asarray(self.classes_[np.argmax(self.predict_proba(images), axis=1)])

    def check_parameters(self) -> None:
        """Raise InvalidInput or InvalidType for the first parameter that `fit` would refuse."""
        for name in ("width", "epochs", "batch_size"):
            check_number(name, getattr(self, name), Integral, 1, math.inf)
        if self.width % GROUP:
            raise InvalidInput(f"width must be a multiple of {GROUP}, got {self.width}; take 16")
        check_number("learning_rate", self.learning_rate, Real, math.ulp(0.0), math.inf)
        check_number("weight_decay", self.weight_decay, Real, 0, math.inf)
        check_number("shift", self.shift, Integral, 0, 2**10)
        check_number("noise", self.noise, Real, 0, math.inf)

    def _plan(self) -> ImagePlan:
        self.check_parameters()
        return ImagePlan(
            int(self.width),
            int(self.epochs),
            int(self.batch_size),
            float(self.learning_rate),
            float(self.weight_decay),
            int(self.shift),
            float(self.noise),
            int(as_generator(self.random_state).integers(2**31)),
        )

    def save(self, path: str | os.PathLike[str], *, allow_unsafe: bool = False) -> None:
        """Write the network to a safetensors file, replacing what is there.

        InvalidInput if its synthesizer promises no privacy and `allow_unsafe` is False.
        """
        check_is_fitted(self)
        if self.privacy_ is not None:
            require_private(self.privacy_, allow_unsafe)
        image_classifier_file.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a classifier that `save` wrote; ModelFileError if the file is anything else."""
        classifier: Self = image_classifier_file.read(cls, path)
        return classifier


def _shares(n: int, parts: int) -> list[int]:
    """Return n in as equal whole parts as there are."""
    return [(n * (i + 1)) // parts - (n * i) // parts for i in range(parts)]
