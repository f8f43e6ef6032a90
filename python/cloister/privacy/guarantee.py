"""The statement of privacy that every private object carries."""

from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Context
from math import inf, isinf
from typing import Any

from cloister.errors import InvalidInput
from cloister.privacy.accounting import GaussianEvent, guarantee_of

NOT_COVERED = (
    "The guarantee covers what is released: the fitted model, its file, samples drawn from it and "
    "everything computed from these. It does not cover error messages, logs, progress displays, "
    "running time, memory use, exit codes or the ledger file, which stay with the owner of the "
    "data. Parameters are taken to be public: it does not cover values for them that were read off "
    "the data. It rests on the operating system's random number generator and on the ChaCha20 "
    "stream cipher."
)

ROW_PURITIES = ("strict", "measured", "unchecked")
"""What is known of an encoder's rows, the strongest first: see its protocol, `Encoder`."""

UNIT_NORM = "unit norm"
"""The `transform` that scales each row to norm 1; a zero row stays zero."""


@dataclass(frozen=True)
class PrivacyGuarantee:
    """What was released under how much noise, and what that promises.

    Attributes
    ----------
    epsilon, delta : float
        (epsilon, delta)-differential privacy; infinite epsilon promises nothing.
    mu : float
        The exact Gaussian-DP parameter from which epsilon follows.
    rho : float
        The same in zero-concentrated DP: mu^2 / 2.
    events : tuple of GaussianEvent
        Every release: its name, sensitivity and noise in grid steps.
    clip_norm : float
        Public radius to which rows were shortened.
    classes_from_data : bool
        True if the list of classes was read off the labels, unpaid.
    unsafe_noise_seed : bool
        True if the noise came from a seed, for tests and research: it can be subtracted.
    encoder_id : str or None
        The public encoder that made the rows, if the owner named it.
    transform : str or None
        The public map of each row before it was encoded.
    row_purity : {"strict", "measured", "unchecked"} or None
        Whether the encoder makes a row of one record alone, as far as the owner said.
    """

    epsilon: float
    delta: float
    mu: float
    rho: float
    events: tuple[GaussianEvent, ...]
    clip_norm: float
    classes_from_data: bool = False
    unsafe_noise_seed: bool = False
    encoder_id: str | None = None
    transform: str | None = None
    row_purity: str | None = None

    @classmethod
    def of(
        cls, events: list[GaussianEvent], delta: float, *, unsafe_noise_seed: bool, **facts: Any
    ) -> "PrivacyGuarantee":
        """Add up `events` exactly; seeded noise promises nothing whatever its size."""
        total = guarantee_of(events, delta)
        epsilon, mu, rho = total.epsilon, total.mu, total.rho
        if unsafe_noise_seed:
            epsilon = mu = rho = inf
        return cls(
            epsilon, delta, mu, rho, tuple(events), unsafe_noise_seed=unsafe_noise_seed, **facts
        )

    def statement(self) -> str:
        """Return a paragraph that a data-protection officer can read.

        Returns
        -------
        str
            Unit, adjacency, epsilon, delta, mu, mechanisms, generator, and what is not covered.
        """
        return " ".join([self._promise(), self._mechanisms(), *self._conditions(), NOT_COVERED])

    def _promise(self) -> str:
        if isinf(self.epsilon):
            why = (
                "its noise was drawn from a seed that can be repeated (unsafe_noise_seed)"
                if self.unsafe_noise_seed
                else "it was fitted without noise (epsilon=inf)"
            )
            return f"This object is NOT differentially private (epsilon = infinity): {why}."
        return (
            f"This object is ({_up(self.epsilon)}, {_up(self.delta)})-differentially private in "
            "the central model. The unit of protection is one row: the guarantee compares data "
            f"sets that differ by adding or removing one row ({self._unit()}). It is "
            f"equivalently {_up(self.mu)}-Gaussian differentially private (rho = {_up(self.rho)} "
            "in zero-concentrated differential privacy), composed exactly over all releases."
        )

    def _unit(self) -> str:
        """Return what a row is."""
        return "one embedding with its label"

    def _mechanisms(self) -> str:
        releases = "; ".join(
            f"{event.name} (sensitivity {event.sensitivity:.6g}, sigma {event.sigma:.6g})"
            for event in self.events
        )
        generator = (
            "a seed"
            if self.unsafe_noise_seed
            else "keys drawn from the operating system by ChaCha20"
        )
        return (
            f"Rows were {self._preparation()} and rounded to an integer grid; each release added "
            "exactly sampled rounded Gaussian noise to integer counts, sums, second moments or "
            f"gradients, in grid steps: {releases}. The noise was generated from {generator}."
        )

    def _preparation(self) -> str:
        if self.transform is None:
            return f"shortened to the public norm {self.clip_norm:g}"
        if self.transform == UNIT_NORM:
            return "scaled one by one to norm 1 (zero rows stay zero)"
        return f"mapped one by one by the public transform {self.transform!r}, scaled to norm 1"

    def _conditions(self) -> list[str]:
        conditions = []
        if self.classes_from_data:
            conditions.append(
                "The guarantee is conditional on the list of classes, which was read off the data "
                "and is thereby public: it does not hide whether a class is present at all."
            )
        return [*conditions, self._scope()]

    def _scope(self) -> str:
        """Return how far the guarantee reaches behind the rows."""
        made_by = f"the encoder {self.encoder_id!r}" if self.encoder_id else "an encoder"
        return _about_records(made_by, self.row_purity)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file header; infinities become strings."""
        plain = asdict(self)
        for name in ("epsilon", "mu", "rho"):
            plain[name] = str(plain[name]) if isinf(plain[name]) else plain[name]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "PrivacyGuarantee":
        """Undo `to_dict`."""
        values = dict(plain)
        for name in ("epsilon", "mu", "rho"):
            values[name] = float(values[name])
        values["events"] = tuple(GaussianEvent(**event) for event in values["events"])
        return cls(**values)


def _about_records(made_by: str, row_purity: str | None) -> str:
    """Say whether the guarantee extends from the embeddings to the records behind them."""
    if row_purity == "strict":
        return (
            "The guarantee extends from the embeddings to the records behind them, by this "
            f"condition: {made_by} computed each embedding from one record alone, in a call of its "
            "own, and was not fitted to these records."
        )
    if row_purity == "measured":
        return (
            "The guarantee is stated for the embeddings as the data set. A test found that "
            f"{made_by} computes a row alike, bit for bit, whatever rows come with it: if that "
            "holds for all rows, and it was not fitted to these records, the guarantee extends to "
            "the records behind them."
        )
    return (
        f"The guarantee is stated for the embeddings as the data set: if {made_by} computes a "
        "row from more than that person's record (batch statistics, say), it does not extend "
        "to the records behind them."
    )


def _up(value: float) -> str:
    """Return six significant digits, rounded up: what is read never claims more than holds.

    Rounded is the shortest decimal of the float64, so that 1e-05 stays what its owner wrote.
    """
    context = Context(prec=6, rounding=ROUND_CEILING)
    return f"{float(context.create_decimal(repr(float(value)))):.6g}"


def require_private(guarantee: PrivacyGuarantee, allow_unsafe: bool) -> None:
    """Refuse to save what promises no privacy, unless the owner insists.

    Raises
    ------
    InvalidInput
        If epsilon is infinite and `allow_unsafe` is False.
    """
    if isinf(guarantee.epsilon) and not allow_unsafe:
        raise InvalidInput(
            "this model has epsilon=inf and may reveal its rows, so it is not saved; fit it with a "
            "finite epsilon and without unsafe_noise_seed, or pass allow_unsafe=True"
        )
