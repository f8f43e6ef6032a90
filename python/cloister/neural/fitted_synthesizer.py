"""A fitted synthesizer: what it draws, costs no privacy, and where it is written."""

from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from cloister.mixture import DPGaussianMixture
from cloister.neural import sample_files
from cloister.neural.image_guarantee import ImageGuarantee
from cloister.neural.image_labeller import ImageLabeller
from cloister.neural.picture_grid import class_rows, picture_grid
from cloister.neural.synthesizer_samples import blocks, check_labels, first_of
from cloister.parameters import check_flag, check_integer, check_real
from cloister.privacy.session import public_seed

MOST_SAMPLES = 2**40


class FittedSynthesizer:
    """The methods of a synthesizer that need no private image."""

    decoder: Any
    mixture_: DPGaussianMixture
    labeller_: ImageLabeller | None
    classes_: NDArray[Any]
    image_shape_: tuple[int, ...]
    epsilon_: float
    privacy_: ImageGuarantee

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
