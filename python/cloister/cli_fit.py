"""`cloister fit`: from options to an estimator, its price, and a paid-for model file."""

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import click

import cloister
from cloister.atomic_file import check_destination
from cloister.cli_accuracy import NOT_COVERED, show_by_class
from cloister.cli_budget import budget_state, epsilon_of
from cloister.cli_files import UnitRows, check_array_file, check_labels, parse_classes
from cloister.cli_output import busy, emit, say, show_pairs, show_paragraph, show_table
from cloister.cli_road import RoadOptions, check_distinct, pairs
from cloister.errors import BudgetExceeded, InvalidInput, ModelFileError
from cloister.privacy.accounting import mu_from_epsilon, rho_from_mu
from cloister.privacy.ledger import RELATIVE_TOLERANCE, Budget
from cloister.privacy.ledger_checks import checked_name
from cloister.privacy.session import PrivacyParameters
from cloister.sources import as_source, find_labels

# Options that only one of the models has.
_ONLY = {
    "mixture": (
        "n_components",
        "covariance_type",
        "row_transform",
        "class_prior",
        "classes",
        "labels",
    ),
    "kmeans": ("n_clusters", "n_hint"),
}


@dataclass(frozen=True)
class FitOptions:
    """The options of `cloister fit`, as given; None where the estimator decides."""

    rows: str
    labels: str | None
    out: str
    model: str
    epsilon: float
    delta: float
    n_components: int | None
    n_clusters: int | None
    covariance_type: str | None
    row_transform: str | None
    class_prior: str | None
    clip_norm: float
    classes: str | None
    n_hint: int | None
    on_invalid: str
    cache: bool
    normalize: bool
    budget: str | None
    dataset: str | None
    budget_epsilon: float | None
    budget_delta: float | None
    fit_name: str | None
    encoder_id: str | None
    random_state: int | None
    road: RoadOptions

    def check(self) -> None:
        """Refuse combinations that mean nothing, and files that are not there; opens none."""
        for model, names in _ONLY.items():
            for name in names:
                if model != self.model and getattr(self, name) is not None:
                    option = name.replace("_", "-")
                    raise click.UsageError(f"--{option} needs --model {model}, got {self.model}")
        if (self.budget is None) != (self.dataset is None):
            raise click.UsageError("--budget and --dataset need each other")
        for name in ("budget_epsilon", "budget_delta", "fit_name"):
            if self.budget is None and getattr(self, name) is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} needs --budget and --dataset")
        check_array_file("ROWS", self.rows)
        if self.labels is not None:
            check_labels("--labels", self.labels)
        check_destination(self.out, "--out")
        self.road.check(self.model, self.labels)
        check_distinct(
            {"--out": self.out, "--synthetic": self.road.synthetic, "--probe": self.road.probe},
            {
                "ROWS": self.rows,
                "--labels": self.labels,
                "--test": self.road.test,
                "--test-labels": self.road.test_labels,
                "--budget": self.budget,
            },
        )

    def estimator(self, budget: Budget | None) -> Any:
        """Return the unfitted estimator."""
        common: dict[str, Any] = {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "clip_norm": self.clip_norm,
            "on_invalid": self.on_invalid,
            "cache": self.cache,
            "fit_name": self.fit_name,
            "encoder_id": self.encoder_id,
            "random_state": self.random_state,
            "budget": budget,
        }
        own: dict[str, Any] = {
            name: getattr(self, name) for name in _ONLY[self.model] if name != "labels"
        }
        if self.model == "mixture":
            own["classes"] = parse_classes(self.classes)
        given = {name: value for name, value in own.items() if value is not None}
        maker = cloister.DPGaussianMixture if self.model == "mixture" else cloister.DPKMeans
        return maker(**common, **given)


def price(options: FitOptions) -> dict[str, Any]:
    """Return what a fit costs, from public parameters alone."""
    estimator = options.estimator(None)
    parameters = PrivacyParameters.of(estimator)
    one_class = options.model == "mixture" and options.labels is None and not options.classes
    releases = [
        {"name": name, "share": share, "mu": parameters.mu_of_share(share)}
        for name, share in estimator.shares(**({"n_classes": 1} if one_class else {})).items()
    ]
    return {
        "epsilon": parameters.epsilon,
        "delta": parameters.delta,
        "mu": parameters.mu,
        "rho": rho_from_mu(parameters.mu),
        "releases": releases,
    }


def planned_budget(options: FitOptions, mu: float) -> dict[str, Any]:
    """Return the budget before and after a fit, changing nothing: no ledger is made.

    Raises
    ------
    InvalidInput, LedgerError
        As `Budget`.
    """
    assert options.budget is not None and options.dataset is not None  # noqa: PT018
    total = (options.budget_epsilon, options.budget_delta)
    fits = {}
    if _is_known(options.budget, options.dataset):
        budget = Budget(options.budget, options.dataset, *total)
        delta, whole, left = budget.delta, budget.mu_total, budget.mu_squared_left
        fits = {fit.name: fit for fit in budget.fits() if fit.state != "cancelled"}
    elif None in total:
        raise InvalidInput(
            f"--budget-epsilon={total[0]} and --budget-delta={total[1]}: both are needed, since "
            f"{options.budget!r} does not know data set {options.dataset!r} yet"
        )
    else:
        delta = float(total[1])  # type: ignore[arg-type]
        whole = mu_from_epsilon(float(total[0]), delta)  # type: ignore[arg-type]
        left = whole**2
    resumes = options.fit_name is not None and options.fit_name in fits
    cost = 0.0 if resumes else mu**2
    after = left - cost
    fits_in = cost <= Fraction(left) + Fraction(whole**2) * Fraction(RELATIVE_TOLERANCE)
    return {
        "dataset": options.dataset,
        "resumes": resumes,
        "cost_mu_squared": cost,
        "mu_squared_left_before": left,
        "mu_squared_left_after": max(after, 0.0) if fits_in else None,
        "epsilon_left_before": epsilon_of(left, delta),
        "epsilon_left_after": epsilon_of(max(after, 0.0), delta) if fits_in else None,
        "enough": fits_in,
    }


def _is_known(ledger: str, dataset: str) -> bool:
    """Say whether a ledger holds the data set; opening it without a total inserts nothing."""
    checked_name("dataset", dataset)
    if not os.path.exists(ledger):
        return False
    try:
        Budget(ledger, dataset)
    except InvalidInput:
        return False
    return True


def dry_run(options: FitOptions, as_json: bool) -> None:
    """Print the price of a fit; no file of rows or labels is opened."""
    result = {"dry_run": True, "model": options.model, **price(options)}
    if options.budget is not None:
        result["budget"] = planned_budget(options, result["mu"])

    def show() -> None:
        show_pairs({name: result[name] for name in ("model", "epsilon", "delta", "mu", "rho")})
        columns = {"release": "name", "share of mu^2": "share", "mu": "mu"}
        show_table({title: [r[key] for r in result["releases"]] for title, key in columns.items()})
        if "budget" in result:
            show_pairs({f"budget: {name}": value for name, value in result["budget"].items()})

    emit(result, as_json, show)
    if "budget" in result:
        _refuse_debt(options, result["budget"])


def _refuse_debt(options: FitOptions, planned: dict[str, Any]) -> None:
    if not planned["enough"]:
        raise BudgetExceeded(
            f"--epsilon={options.epsilon:g} costs mu_squared={planned['cost_mu_squared']:.6g}, but "
            f"{planned['mu_squared_left_before']:.6g} (epsilon="
            f"{planned['epsilon_left_before']:.6g} alone) is left for data set "
            f"{options.dataset!r}; no row was read. Lower --epsilon"
        )


def fit(options: FitOptions, as_json: bool) -> None:
    """Fit, save, go the rest of the road and report."""
    if options.epsilon == float("inf"):
        raise InvalidInput(
            "--epsilon=inf adds no noise, and a model without privacy is not saved; give a finite "
            "one, such as 1.0, or fit without noise from Python"
        )
    cost = price(options)
    if options.budget is not None:  # `fit` reserves anyway, but files are opened before
        _refuse_debt(options, planned_budget(options, cost["mu"]))
    rows = as_source(options.rows, "ROWS")
    labels = find_labels(options.labels, rows, "--labels")
    test = options.road.read_test(
        rows, labels, parse_classes(options.classes), normalize=options.normalize
    )
    budget = None
    if options.budget is not None and options.dataset is not None:
        total = (options.budget_epsilon, options.budget_delta)
        budget = Budget(options.budget, options.dataset, *total)
    estimator = options.estimator(budget)
    with busy(f"fitting {options.model} at epsilon={options.epsilon:g}"):
        estimator.fit(UnitRows(rows) if options.normalize else rows, labels)
    try:
        estimator.save(options.out)
    except ModelFileError as error:
        fate = (
            f"the fit was paid for: give --fit-name {options.fit_name} again to take it up"
            if options.budget is not None and options.fit_name is not None
            else "the fit was paid for, but is lost"
        )
        raise ModelFileError(f"--out: {error} ({fate})") from error
    walked = _walk(options, estimator, test) if options.road.wanted else {}
    _report(options, estimator, budget, walked, as_json)


def _walk(options: FitOptions, mixture: Any, test: Any) -> dict[str, Any]:
    try:
        return options.road.walk(mixture, options.random_state, test)
    except BaseException:  # Ctrl-C too: who paid for the model must not pay for it again
        say(f"the model is in {options.out!r}: go on with `cloister sample` and `cloister probe`")
        raise


def _report(
    options: FitOptions,
    estimator: Any,
    budget: Budget | None,
    walked: dict[str, Any],
    as_json: bool,
) -> None:
    result: dict[str, Any] = {
        "model": options.out,
        "kind": options.model,
        "n_features": estimator.n_features_in_,
        "privacy": estimator.privacy_.to_dict(),
        "statement": estimator.privacy_.statement(),
        **walked,
    }
    if budget is not None:
        result["budget"] = budget_state(budget)

    def show() -> None:
        names = ("epsilon", "delta", "mu", "rho")
        numbers = {name: getattr(estimator.privacy_, name) for name in names}
        show_pairs({"model": options.out, "kind": options.model, **numbers, **pairs(walked)})
        show_by_class(walked.get("class_accuracy"))
        show_pairs({f"budget: {k}": v for k, v in result.get("budget", {}).items()})
        show_paragraph(result["statement"])
        if walked.get("accuracy"):
            show_paragraph(NOT_COVERED)

    emit(result, as_json, show)
