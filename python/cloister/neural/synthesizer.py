"""From private images to synthetic ones: an encoder, a private mixture, a decoder."""

from os import PathLike
from typing import Any, Self

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cloister.mixture import DPGaussianMixture
from cloister.neural import synthesizer_file
from cloister.neural.encoded_images import stored_images
from cloister.neural.fitted_synthesizer import FittedSynthesizer
from cloister.neural.image_guarantee import ImageGuarantee
from cloister.neural.image_labeller import ImageLabeller
from cloister.neural.synthesizer_fit import make_fits, plan_fits


class Synthesizer(FittedSynthesizer, BaseEstimator):
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
        images : array of shape (n, height, width) or (n, height, width, 3), uint8; or images
            Private images; a memory map is read a batch at a time, and so are folders and whatever
            else `cloister.neural.images.as_images` takes that can be read twice.
        labels : array-like of shape (n,), optional
            Their classes, integers or strings; None is those of the folders that images lie in,
            or else one class.

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
        labels = stored.labels if labels is None else labels
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
