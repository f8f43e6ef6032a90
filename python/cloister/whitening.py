"""Whitening of rows by what is publicly known of their kind."""

import hashlib
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.sources import as_source, finite_float64

LEAST_VARIANCE = 0.1  # of the average: what public rows never show may still be in private ones


class PublicWhitening:
    """Whitening by statistics of *public* rows: (x - mean) / scale of each feature, then unit norm.

    Features that vary much no longer drown the others, and a cone of directions, as embeddings of
    one encoder make, opens up. Mean and scale are parameters, known to everybody: compute them from
    rows that are not private (those the encoder was trained on, another data set), **never** from
    the rows that are fitted, which the guarantee would then not cover.

    Parameters
    ----------
    mean : array-like of shape (d,)
        Public mean of each feature, in the unit of the rows.
    scale : array-like of shape (d,)
        Public standard deviation of each feature, above 0, in the unit of the rows. Rows are scaled
        to unit norm afterwards, so its size matters to `sample` alone: rows that come back have the
        norm of one with these deviations.

    Attributes
    ----------
    mean, scale : array of shape (d,), float32

    Raises
    ------
    InvalidInput, InvalidType
        If they are not finite vectors of one length, or a scale is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from cloister import DPGaussianMixture, PublicWhitening
    >>> public_rows = np.random.default_rng(0).normal(1, [1, 2, 3], size=(500, 3))
    >>> whitening = PublicWhitening.of(public_rows)
    >>> model = DPGaussianMixture(row_transform=whitening, classes=[0, 1])
    """

    def __init__(self, mean: ArrayLike, scale: ArrayLike) -> None:
        self.mean = _vector("mean", mean)
        self.scale = _vector("scale", scale)
        if not (self.scale > 0).all():
            raise InvalidInput(
                f"scale has an entry of {self.scale.min():g}, but each must be above 0; leave out "
                "features that never vary, or take PublicWhitening.of(public_rows)"
            )
        for vector in (self.mean, self.scale):
            vector.setflags(write=False)  # a model's statement holds their digest
        if self.mean.shape != self.scale.shape:
            raise InvalidInput(
                f"mean has {len(self.mean)} features, but scale has {len(self.scale)}; compute "
                "both from the same public rows"
            )

    @classmethod
    def of(cls, public_rows: Any) -> Self:
        """Return the whitening by mean and standard deviation of public rows.

        Parameters
        ----------
        public_rows : rows of shape (n, d)
            NOT private: their exact statistics are written into every model. As `fit` takes them,
            and at least two. The variance of a feature counts for no less than a tenth of the
            average one: private rows of another kind may vary where public ones do not.

        Raises
        ------
        InvalidInput, InvalidType
            If they are no finite rows, fewer than two, or all the same.
        """
        source = as_source(public_rows, "public_rows")
        n, origin = 0, np.zeros(source.d)
        total, squares = np.zeros(source.d), np.zeros(source.d)
        for first, chunk in source.chunks():
            rows = finite_float64(chunk, first, "public_rows")
            if first == 0:
                origin = rows.mean(axis=0)  # about it, squares cancel little
            n += len(rows)
            total += (rows - origin).sum(axis=0)
            squares += ((rows - origin) ** 2).sum(axis=0)
        variances = squares / max(n, 1) - (total / max(n, 1)) ** 2
        if n < 2 or not variances.mean() > 0:
            raise InvalidInput(
                f"public_rows has {n} rows that do not differ; take many different public rows"
            )
        least = LEAST_VARIANCE * variances.mean()
        return cls(origin + total / n, np.sqrt(np.maximum(variances, least)))

    @property
    def name(self) -> str:
        """What a statement says: a digest of mean and scale."""
        digest = hashlib.sha256(self.mean.astype("<f4").tobytes())
        digest.update(self.scale.astype("<f4").tobytes())
        return f"whitening:{digest.hexdigest()[:16]}"

    def map(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Subtract the mean and divide by the scale."""
        with np.errstate(over="ignore"):  # refused or dropped when the row is encoded
            return (rows - self.mean) / self.scale

    def unmap(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo `map`; the norm, which was lost, is that of a row with these deviations."""
        length = np.float32(np.sqrt(len(self.mean)))
        return directions * (length * self.scale) + self.mean

    def check_features(self, d: int) -> None:
        """Refuse rows of another number of features than the public ones.

        Raises
        ------
        InvalidInput
        """
        if d != len(self.mean):
            raise InvalidInput(
                f"row_transform is a whitening of {len(self.mean)} features, but X has {d}; "
                "compute it from public rows of the same encoder"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file header; `as_transform` undoes it."""
        return {"name": self.name, "mean": self.mean.tolist(), "scale": self.scale.tolist()}

    def __repr__(self) -> str:
        return f"PublicWhitening({self.name!r}, {len(self.mean)} features)"


def _vector(name: str, values: ArrayLike) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            vector = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidType(f"{name} must be an array of numbers, one a feature ({error})") from error
    if vector.ndim != 1 or len(vector) == 0 or not np.isfinite(vector).all():
        raise InvalidInput(
            f"{name} has shape {vector.shape} and {int((~np.isfinite(vector)).sum())} entries that "
            "are not finite; give one finite number a feature"
        )
    return vector
