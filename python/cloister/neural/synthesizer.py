"""From private images to synthetic ones: an encoder, a private mixture, a decoder."""

from collections.abc import Iterator
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cloister.mixture import DPGaussianMixture
from cloister.neural import sample_files, synthesizer_file
from cloister.neural.encoded_images import stored_images
from cloister.neural.image_guarantee import ImageGuarantee
from cloister.neural.image_labeller import ImageLabeller
from cloister.neural.picture_grid import class_rows, picture_grid
from cloister.neural.synthesizer_fit import make_fits, plan_fits
from cloister.neural.synthesizer_samples import blocks, check_labels, first_of
from cloister.parameters import check_flag, check_integer, check_real
from cloister.privacy.session import public_seed

MOST_SAMPLES = 2**40


class Synthesizer(BaseEstimator):
    """Differentially private images: encoded, fitted by a private mixture, sampled and decoded.

    Encoder and decoder are public. The mixture, and the labeller where there is one, are all that
    touches private images; what is sampled costs no privacy, however much it is.

    Parameters
    ----------
    encoder : Encoder
        Public; see `cloister.neural.encoders`.
    mixture : DPGaussianMixture
        Copied, and fitted in `mixture_`. Its (epsilon, delta) is the whole budget of `fit`, also
        with a labeller, and its `budget` and `fit_name` pay for all of it. Its `encoder_id`
        becomes that of the encoder and `clip_norm` the encoder's `norm_bound` unless it was given;
        `tilt="auto"` is False here: images are decoded from means of rows.
    decoder : Decoder
        Public, of the same encoder; see `cloister.neural.decoders`.
    labeller : ImageLabeller, optional
        Says what synthetic images show; copied, and fitted to the same images in `labeller_`. Its
        mixture's epsilon, delta, budget and `fit_name` are replaced by a share of the mixture's.
    labeller_share : float, default=0.5
        The labeller's share of mu^2, in (0, 1).
    batch_size : int, default=256
        Images encoded at a time.

    Attributes
    ----------
    mixture_ : DPGaussianMixture
        Fitted to embeddings, with its own part of the epsilon.
    labeller_ : ImageLabeller or None
    classes_ : array of shape (classes,)
    image_shape_ : tuple of int
        (height, width) or (height, width, 3) of samples.
    epsilon_ : float
        The whole budget that was given.
    privacy_ : ImageGuarantee
        Of everything that was fitted; `privacy_.statement()` is a paragraph to read, and says
        whether it covers images or embeddings alone.

    Raises
    ------
    InvalidInput, InvalidType
        By every method, naming the argument.

    References
    ----------
    "Private Training & Data Generation by Clustering Embeddings", arXiv 2506.16661.
    """

    mixture_: DPGaussianMixture
    labeller_: ImageLabeller | None
    classes_: NDArray[Any]
    image_shape_: tuple[int, ...]
    epsilon_: float
    privacy_: ImageGuarantee

    def __init__(
        self,
        encoder: Any,
        mixture: Any,
        decoder: Any,
        labeller: Any = None,
        labeller_share: float = 0.5,
        *,
        batch_size: int = 256,
    ) -> None:
        self.encoder = encoder
        self.mixture = mixture
        self.decoder = decoder
        self.labeller = labeller
        self.labeller_share = labeller_share
        self.batch_size = batch_size

    def fit(self, images: Any, labels: Any = None) -> Self:
        """Fit the private mixture, and the labeller, to private images.

        Parameters
        ----------
        images : array of shape (n, height, width) or (n, height, width, 3), uint8
            Private images; a memory map is read a batch at a time.
        labels : array-like of shape (n,), optional
            Their classes, integers or strings; None is one class.

        Returns
        -------
        self

        Raises
        ------
        InvalidInput, InvalidType
            Before anything is encoded or spent.
        BudgetExceeded
            Before any image is read, if `mixture.budget` cannot pay for all fits.

        Notes
        -----
        Privacy cost: the mixture's (epsilon, delta) in total, add/remove one image with its label,
        in the sense that `privacy_.statement()` gives it. With a labeller the mixture takes
        (1 - labeller_share) mu^2 and the labeller the rest. With a ledger the two are paid in this
        order; a fit that fails between them is taken up again under its `fit_name`, which the
        error names.
        """
        stored = stored_images(images)
        fits = plan_fits(self, stored, labels)
        mixture, labeller = make_fits(self, fits, stored, labels)
        self.take(mixture, labeller, self.encoder.row_purity, float(self.mixture.epsilon))
        return self

    def take(
        self,
        mixture: DPGaussianMixture,
        labeller: ImageLabeller | None,
        row_purity: str,
        epsilon: float,
    ) -> None:
        """Become fitted; `row_purity` and `epsilon` are the encoder's and the budget's."""
        self.epsilon_ = epsilon
        self.mixture_, self.labeller_ = mixture, labeller
        self.classes_ = mixture.classes_
        self.image_shape_ = tuple(int(length) for length in self.decoder.image_shape)
        self.privacy_ = ImageGuarantee.over(
            mixture.privacy_,
            row_purity,
            labeller=None if labeller is None else labeller.privacy_,
            decoder=self.decoder,
        )

    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        temperature: float = 1.0,
        *,
        labels: str | None = None,
        return_proba: bool = False,
    ) -> tuple[NDArray[Any], ...]:
        """Draw synthetic images; free of privacy cost, as many as one likes.

        Parameters
        ----------
        n_samples : int
            Number of images.
        random_state : int, Generator, RandomState or None
            Seeds the draw; None takes the mixture's own. The first images of a longer draw are
            those of a shorter one.
        temperature : float, default=1.0
            Multiplies the covariances of the mixture: below 1 images are nearer to the means.
        labels : {"labeller", "agreeing", "mixture"}, optional
            "labeller": what the labeller says of each image. "agreeing": images on which it
            agrees with the mixture, drawn until there are enough; classes that agree seldom become
            rarer. "mixture": the class that an image was drawn from. None takes the first that
            there is.
        return_proba : bool
            Return soft labels too.

        Returns
        -------
        images : array of shape (n_samples, *image_shape_), uint8
        y : array of shape (n_samples,)
            Their classes.
        proba : array of shape (n_samples, classes), float64
            Probability of each class by whoever gave the label; only with `return_proba`.

        Raises
        ------
        InvalidInput
            Also if fewer than 1 % of the images agree.
        """
        given = self.sample_batches(
            n_samples, random_state, temperature, labels=labels, return_proba=return_proba
        )
        return tuple(np.concatenate(parts) for parts in zip(*given, strict=True))

    def sample_batches(
        self,
        n_samples: int,
        random_state: Any = None,
        temperature: float = 1.0,
        *,
        labels: str | None = None,
        return_proba: bool = False,
    ) -> Iterator[tuple[NDArray[Any], ...]]:
        """Yield what `sample` returns, at most 1024 images (32 MiB) at a time.

        Arguments are those of `sample`, and are checked at once.
        """
        check_is_fitted(self)
        n = check_integer("n_samples", n_samples, 1, MOST_SAMPLES, way_out="how many to draw")
        heat = check_real("temperature", temperature, 1e-6, 1e6, way_out="1.0 is the mixture's own")
        parts = 3 if check_flag("return_proba", return_proba) else 2
        chosen = check_labels(labels, self.labeller_)
        stream = first_of(blocks(self, self._seed(random_state), heat, chosen), n)
        return (block[:parts] for block in stream)

    def _seed(self, random_state: Any) -> int:
        return public_seed(self.mixture_.random_state if random_state is None else random_state)

    def write(
        self,
        path: str | PathLike[str],
        n_samples: int,
        random_state: Any = None,
        temperature: float = 1.0,
        *,
        labels: str | None = None,
        resume: bool = False,
    ) -> None:
        """Draw synthetic images into a folder of PNGs, a Parquet file or an .npz file.

        Parameters
        ----------
        path : path
            `name.parquet`, `name.npz`, or a folder that is empty or not there: see
            `cloister.neural.sample_files.write_samples`.
        n_samples, random_state, temperature, labels
            As in `sample`.
        resume : bool
            Go on with a folder that was interrupted, of the same draw.
        """
        stream = self.sample_batches(n_samples, random_state, temperature, labels=labels)
        sample_files.write_samples(path, stream, n_samples, resume=resume)

    def grid(
        self,
        per_class: int = 10,
        random_state: Any = None,
        temperature: float = 1.0,
        *,
        labels: str | None = None,
        gap: int = 2,
        path: str | PathLike[str] | None = None,
    ) -> NDArray[np.uint8]:
        """Draw a picture of samples, one row a class in the order of `classes_`.

        Parameters
        ----------
        per_class : int
            Images of each class; of very rare ones fewer, and blank cells.
        random_state, temperature, labels
            As in `sample`.
        gap : int
            Pixels between images.
        path : path, optional
            PNG file to write.

        Returns
        -------
        array of shape (height, width) or (height, width, 3), uint8
        """
        check_is_fitted(self)
        heat = check_real("temperature", temperature, 1e-6, 1e6, way_out="1.0 is the mixture's own")
        chosen = check_labels(labels, self.labeller_)
        stream = blocks(self, self._seed(random_state), heat, chosen)
        images, found = class_rows(stream, self.classes_, per_class)
        return picture_grid(images, found, self.classes_, per_class, gap=gap, path=path)

    def save(self, path: str | PathLike[str], *, allow_unsafe: bool = False) -> None:
        """Write all that was fitted to one safetensors file; encoder and decoder stay outside.

        Parameters
        ----------
        path : path
            Where to; an existing file is replaced in one step.
        allow_unsafe : bool
            Save a model that promises no privacy all the same.

        Raises
        ------
        InvalidInput
            If the model promises no privacy and `allow_unsafe` is False.
        ModelFileError
            If the file cannot be written.
        """
        check_is_fitted(self)
        synthesizer_file.write(self, path, allow_unsafe=allow_unsafe)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        encoder: Any = None,
        decoder: Any = None,
        labeller_encoder: Any = None,
    ) -> Self:
        """Read what `save` wrote, and join it with the codec of the fit.

        Parameters
        ----------
        path : path
        encoder : Encoder, optional
            Needed to fit again, not to sample.
        decoder : Decoder
        labeller_encoder : Encoder, optional
            Of the labeller; by default `encoder`, where it is the same. Needed to relabel.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged or of another kind, or if one of the three is not that
            of the fit.
        """
        loaded: Self = synthesizer_file.read(cls, path, encoder, decoder, labeller_encoder)
        return loaded
