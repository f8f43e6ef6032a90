"""The Bayes rule of a mixture as hidden units of a two-layer network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.mixture import DPGaussianMixture


@dataclass(frozen=True)
class Units:
    """Weights of the first hidden units; all others are given no say in the output.

    Attributes
    ----------
    first : array of shape (d, units), float32
    first_bias : array of shape (units,), float32
    second : array of shape (units, classes), float32
    """

    first: NDArray[np.float32]
    first_bias: NDArray[np.float32]
    second: NDArray[np.float32]


def linear_rule(
    mixture: DPGaussianMixture,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return `mixture.linear_rule()`, or None where the Bayes rule is not linear."""
    try:
        return mixture.linear_rule()
    except InvalidInput:
        return None


def rule_units(
    coef: NDArray[np.float64],
    intercept: NDArray[np.float64],
    center: NDArray[np.float64],
    scale: float,
    rows: NDArray[np.float32],
) -> Units:
    """Return two units a class that make up softmax(x coef^T + intercept) exactly.

    Unit j is relu(l_j) and unit classes + j is relu(-l_j) of the logit l_j as a function of the
    standardised row (x - center) / scale; their difference is l_j. Both layers share its size, so
    that one learning rate suits both.

    Parameters
    ----------
    coef, intercept : arrays of shapes (classes, d) and (classes,)
        As `linear_rule` returned them.
    center, scale : array of shape (d,) and float
        Of the standardisation.
    rows : array of shape (n, d)
        Standardised rows, on which the size of the logits is measured.
    """
    bias = intercept + coef @ center
    weight = (coef - coef.mean(axis=0)).T * scale  # what all classes share decides nothing
    bias = bias - bias.mean()
    size = float((rows @ weight + bias).std())
    size = size if size > 0 else 1.0
    n_classes = len(bias)
    return Units(
        np.concatenate([weight, -weight], axis=1).astype(np.float32) / np.float32(size),
        np.concatenate([bias, -bias]).astype(np.float32) / np.float32(size),
        (size * np.concatenate([np.eye(n_classes), -np.eye(n_classes)])).astype(np.float32),
    )
