"""Checks of the parameters of `DPGaussianMixture`."""

from typing import Any

from cloister.errors import InvalidInput
from cloister.parameters import check_choice, check_flag, check_release_size

COVARIANCE_TYPES = ("tied", "full", "diag", "spherical", "low_rank")
POOLED_TYPES = ("tied", "low_rank")

# With fewer, noise matters little to means and covariance, and so few steps do not get as far
# (Fashion-MNIST embeddings projected to 2, 4, 8 features: -9, -3, +1 points; to 16 and more, +2).
FEWEST_FEATURES = 8


def is_tilted(
    tilt: bool | str,
    n_classes: int | None,
    n_components: int,
    covariance_type: str,
    n_features: int | None = None,
) -> bool:
    """Say whether a mixture is tilted: a function of public parameters alone.

    Parameters
    ----------
    tilt : "auto" or bool
    n_classes : int or None
        None stands for any number from 2 up.
    n_components, covariance_type
        Checked already.
    n_features : int or None
        None stands for enough of them.

    Raises
    ------
    InvalidInput, InvalidType
        If `tilt` is none of these, or True where no linear rule tells classes apart.
    """
    can = n_classes != 1 and n_components == 1 and covariance_type == "tied"
    if isinstance(tilt, str):
        check_choice("tilt", tilt, ("auto",))
        return can and (n_features is None or n_features >= FEWEST_FEATURES)
    if check_flag("tilt", tilt) and not can:
        raise InvalidInput(
            f"tilt=True needs at least 2 classes, n_components=1 and covariance_type='tied', got "
            f"{'2 or more' if n_classes is None else n_classes} class(es), {n_components} and "
            f"{covariance_type!r}; take tilt='auto'"
        )
    return bool(tilt)


def check_size(d: int, n_classes: int, plan: Any, covariance_type: str) -> None:
    """Refuse a fit whose largest release would hold too many numbers.

    `plan` is its `MixturePlan`: the cells of votes, lift and splits count too.

    Raises
    ------
    InvalidInput
        Saying what asks for that much.
    """
    n_components = plan.n_components
    cells = max(n_components * (2 if plan.splits else 1), plan.vote_cells)
    largest = n_classes * cells * (d + 1)
    if n_components > 1 or covariance_type not in ("diag", "spherical"):
        matrices = n_classes * n_components if covariance_type == "full" else 1
        largest = max(largest, matrices * d * (d + 1) // 2)
    check_release_size(
        f"n_components={n_components} and covariance_type={covariance_type!r} with {n_classes} "
        f"class(es) and {d} features in X",
        largest,
        way_out="use covariance_type='diag' with n_components=1, or a smaller embedding",
    )
