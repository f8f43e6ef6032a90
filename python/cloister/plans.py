"""What the plans of private fits share: numbers that a caller may fix, and their way into files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar, Self

from cloister.errors import InvalidInput, InvalidType
from cloister.parameters import check_integer, check_real

SHARE_TOLERANCE = 1e-9
MOST_ROWS = 2**32
"""Of a hint; the more rows, the larger is the largest release of a plan."""


@dataclass(frozen=True)
class Plan:
    """The numbers of one fit, from public numbers alone.

    Attributes
    ----------
    shares : dict of str to float
        Share of mu^2 of each release, in order; they sum to 1.
    """

    LIMITS: ClassVar[Mapping[str, tuple[float, float]]]
    """Least and largest value that a caller may give to each field; whole ones are of integers.

    Other fields, but for the shares, are predictions: what follows of the rest.
    """

    shares: Mapping[str, float]

    @classmethod
    def of_header(cls, header: Mapping[str, Any]) -> Self:
        """Return the plan of a model file; KeyError, ValueError or TypeError if it is none."""
        shares = {str(name): float(value) for name, value in dict(header["shares"]).items()}
        numbers = {name: value for name, value in header.items() if name != "shares"}
        plan = cls(shares=shares, **numbers)
        if not all(0 < share <= 1 for share in shares.values()):
            raise ValueError(f"shares={shares} in its plan")
        for name, value in numbers.items():
            kind = type(cls.LIMITS[name][0] if name in cls.LIMITS else getattr(cls, name))
            if type(value) is not kind or not 0 <= value < inf:
                raise ValueError(f"{name}={value!r} in its plan")
        return plan

    def override(
        self, overrides: Mapping[str, Any], absent: Mapping[str, str] | None = None
    ) -> Self:
        """Return the plan with a caller's numbers in the places of the rules'.

        Parameters
        ----------
        overrides : mapping
            Fields and their values; "shares" are for `override_shares`.
        absent : mapping, optional
            Fields that no release of this fit uses, and why.

        Raises
        ------
        InvalidInput, InvalidType
            If a name is no field or an absent one, or a value is impossible.
        """
        changed: dict[str, Any] = {**overrides}
        changed.pop("shares", None)
        for name, reason in (absent or {}).items():
            if name in changed:
                raise InvalidInput(f"plan_overrides names {name!r}, but {reason}")
        for name, value in changed.items():
            changed[name] = self._checked(name, value)
        return replace(self, **changed)

    @classmethod
    def _checked(cls, name: str, value: Any) -> int | float:
        if name not in cls.LIMITS:
            known = ", ".join(["shares", *cls.LIMITS])
            raise InvalidInput(f"plan_overrides names {name!r}, but a plan has {known} to change")
        label, (low, high) = f"plan_overrides[{name!r}]", cls.LIMITS[name]
        way_out = "leave it out for the rule"
        if isinstance(low, int) and isinstance(high, int):
            return check_integer(label, value, low, high, way_out=way_out)
        return check_real(label, value, low, high, way_out=way_out)


def checked_overrides(estimator: Any) -> dict[str, Any]:
    """Return `plan_overrides` of an estimator as a dict; its values are not checked yet.

    Raises
    ------
    InvalidType
        If it is neither a mapping nor None.
    """
    overrides = estimator.plan_overrides
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping):
        raise InvalidType(f"plan_overrides must be a mapping or None, got {overrides!r}")
    return dict(overrides)


def override_shares(
    shares: Mapping[str, float], overrides: Mapping[str, Any], releases_of: str
) -> dict[str, float]:
    """Return the shares of mu^2 with those of `overrides["shares"]` in their places.

    Parameters
    ----------
    shares : mapping of str to float
        Those of the rule.
    overrides : mapping
        The caller's `plan_overrides`.
    releases_of : str
        What has these releases, for messages.

    Raises
    ------
    InvalidInput, InvalidType
        If a name is unknown, a share is not positive, or the sum is not 1.
    """
    changed = overrides.get("shares")
    if changed is None:
        return dict(shares)
    if not isinstance(changed, Mapping):
        raise InvalidType(f"plan_overrides['shares'] must be a mapping, got {changed!r}")
    result = dict(shares)
    for name, value in changed.items():
        if name not in result:
            raise InvalidInput(
                f"plan_overrides['shares'] names {name!r}, but the releases of {releases_of} are "
                f"{', '.join(result)}"
            )
        way_out = "a share of mu squared"
        result[name] = check_real(
            f"plan_overrides['shares'][{name!r}]", value, 1e-9, 1.0, way_out=way_out
        )
    total = sum(result.values())
    if abs(total - 1) > SHARE_TOLERANCE:
        raise InvalidInput(
            f"plan_overrides['shares'] brings the sum of {', '.join(result)} to {total:.12g}, but "
            "they share one budget: name as many as it takes to bring it to 1"
        )
    return {name: share / total for name, share in result.items()}
