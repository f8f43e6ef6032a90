"""A private mixture of an encoder's embeddings: prepared, checked and paid for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from cloister.class_prior import check_class_prior
from cloister.errors import BudgetExceeded, InvalidInput, InvalidType
from cloister.mixture import DPGaussianMixture
from cloister.neural.protocols import Encoder
from cloister.privacy.accounting import mu_from_epsilon
from cloister.privacy.ledger import RELATIVE_TOLERANCE, Budget
from cloister.privacy.session import PrivacyParameters
from cloister.sources import class_list
from cloister.transforms import transformed_grid

_GUESSED_ROWS = 1000  # for checks of a plan, which hold for any number
_DEFAULT_NORM = 1.0


def mixture_for(encoder: Encoder, mixture: Any, name: str = "mixture") -> DPGaussianMixture:
    """Return an unfitted copy of `mixture` that knows its encoder and the encoder's norm.

    Raises
    ------
    InvalidType, InvalidInput
        If it is no mixture, or one of another encoder.
    """
    if not isinstance(mixture, DPGaussianMixture):
        raise InvalidType(
            f"{name} must be a cloister.DPGaussianMixture, got {type(mixture).__name__}"
        )
    if mixture.encoder_id not in (None, encoder.id):
        raise InvalidInput(
            f"{name} has encoder_id={mixture.encoder_id!r}, but the encoder is {encoder.id!r}; "
            "leave encoder_id out"
        )
    own: DPGaussianMixture = clone(mixture)
    own.set_params(encoder_id=encoder.id, row_purity=encoder.row_purity)
    if own.row_transform is None and own.clip_norm == _DEFAULT_NORM:
        own.set_params(clip_norm=float(encoder.norm_bound))
    return own


def check_second_fit(mixture: DPGaussianMixture, encoder: Encoder, labels: Any) -> None:
    """Refuse what `mixture.fit` would refuse, as far as no row is needed to see it.

    The first of two fits sees to itself; the second must not fail once the first is paid for.

    Raises
    ------
    InvalidInput, InvalidType
        Naming the parameter at fault.
    """
    parameters, d = PrivacyParameters.of(mixture), encoder.n_features
    if mixture.classes is not None:
        n_classes = len(class_list(mixture.classes))
    else:
        n_classes = 1 if labels is None else len(np.unique(np.asarray(labels)))
    transformed_grid(mixture.row_transform, d, parameters.clip_norm)
    mixture.plan(_GUESSED_ROWS, d, n_classes)
    check_class_prior(mixture.class_prior, n_classes)


def check_affordable(budget: Budget, fits: Mapping[str, DPGaussianMixture]) -> None:
    """Refuse fits that the ledger cannot pay together; those known to it are paid for already.

    Raises
    ------
    BudgetExceeded
    """
    known = {fit.name for fit in budget.fits() if fit.state != "cancelled"}
    costs = {
        name: mu_from_epsilon(fit.epsilon, fit.delta) ** 2
        for name, fit in fits.items()
        if name not in known
    }
    left = budget.mu_squared_left
    if sum(costs.values()) > left * (1 + RELATIVE_TOLERANCE):
        raise BudgetExceeded(
            f"the fits {sorted(costs)} cost mu_squared={sum(costs.values()):.6g} together, and "
            f"{left:.6g} is left for data set {budget.dataset!r}; no image was read. Lower epsilon"
        )
