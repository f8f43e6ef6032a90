"""`cloister fit --dry-run`: the plan and the price of a fit, from public options alone."""

import os
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import click

from cloister.cli_options import FitOptions
from cloister.cli_output import emit, show_pairs, show_paragraph, show_table
from cloister.dp_kmeans_parameters import checked_metric
from cloister.errors import BudgetExceeded, InvalidInput
from cloister.parameters import check_integer
from cloister.plans import MOST_ROWS
from cloister.privacy.accounting import epsilon_from_mu, mu_from_epsilon, rho_from_mu
from cloister.privacy.ledger import RELATIVE_TOLERANCE, Budget
from cloister.privacy.ledger_checks import checked_name
from cloister.privacy.session import PrivacyParameters
from cloister.transforms import check_transform


def price(options: FitOptions) -> dict[str, Any]:
    """Return what a fit costs, from public parameters alone."""
    checked_cost(options)
    estimator = options.estimator(None)
    parameters = PrivacyParameters.of(estimator)
    known = {"d" if options.model == "kmeans" else "n_features": options.n_features}
    shares = estimator.shares(**known, **_one_class(options))
    releases = [
        {"name": name, "share": share, "mu": parameters.mu_of_share(share)}
        for name, share in shares.items()
    ]
    return {
        "epsilon": parameters.epsilon,
        "delta": parameters.delta,
        "mu": parameters.mu,
        "rho": rho_from_mu(parameters.mu),
        "releases": releases,
    }


def checked_cost(options: FitOptions) -> float:
    """Return mu of a fit; refuse, before anything is opened, what it would refuse later."""
    estimator = options.estimator(None)
    if options.n_hint is not None:
        check_integer("n_hint", options.n_hint, 1, MOST_ROWS, way_out="how many rows there may be")
    if options.model == "kmeans":
        checked_metric(estimator)
    else:
        check_transform(estimator.row_transform, estimator.clip_norm)
    return PrivacyParameters.of(estimator).mu


def _one_class(options: FitOptions) -> dict[str, int]:
    """Return the number of classes where options without labels tell it."""
    is_one = options.model == "mixture" and options.labels is None and not options.classes
    return {"n_classes": 1} if is_one else {}


def planned_fit(options: FitOptions) -> dict[str, Any] | None:
    """Return the numbers of the plan beside its shares; None where n or d is not given.

    Raises
    ------
    InvalidInput
        If --n-hint or --n-features is impossible.
    """
    if options.n_hint is None or options.n_features is None:
        return None
    plan = options.estimator(None).plan(options.n_hint, options.n_features, **_one_class(options))
    return {name: value for name, value in asdict(plan).items() if name != "shares"}


def budget_state(budget: Budget) -> dict[str, Any]:
    """Return the totals of a data set's ledger."""
    left = budget.mu_squared_left
    return {
        "dataset": budget.dataset,
        "epsilon": budget.epsilon,
        "delta": budget.delta,
        "mu": budget.mu_total,
        "mu_squared_spent": budget.mu_squared_spent,
        "mu_squared_left": left,
        "epsilon_spent": budget.epsilon_spent(),
        "epsilon_left": epsilon_of(left, budget.delta),
    }


def epsilon_of(mu_squared: float, delta: float) -> float:
    """Return the epsilon that one fit of this cost has at `delta`."""
    mu: float = mu_squared**0.5
    return epsilon_from_mu(delta, mu) if mu >= 1e-15 else 0.0


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
    """Print the price of a fit and its plan; no file of rows or labels is opened."""
    result = {"dry_run": True, "model": options.model, **price(options)}
    plan = planned_fit(options)
    if plan is not None:
        result["plan"] = plan
    if options.budget is not None:
        result["budget"] = planned_budget(options, result["mu"])

    def show() -> None:
        show_pairs({name: result[name] for name in ("model", "epsilon", "delta", "mu", "rho")})
        columns = {"release": "name", "share of mu^2": "share", "mu": "mu"}
        show_table({title: [r[key] for r in result["releases"]] for title, key in columns.items()})
        _show_plan(options, plan)
        if "budget" in result:
            show_pairs({f"budget: {name}": value for name, value in result["budget"].items()})

    emit(result, as_json, show)
    if "budget" in result:
        refuse_debt(options, result["budget"])


def _show_plan(options: FitOptions, plan: dict[str, Any] | None) -> None:
    if plan is not None:
        click.echo()
        show_table({"plan": list(plan), "value": list(plan.values())})
        return
    tilts = options.model == "mixture" and not _one_class(options)
    few = "; with few features, other releases" if tilts else ""
    show_paragraph(f"--n-hint and --n-features tell the rest: steps, clips, noise{few}.")


def refuse_debt(options: FitOptions, planned: dict[str, Any]) -> None:
    """Raise BudgetExceeded if the planned budget is not enough."""
    if not planned["enough"]:
        raise BudgetExceeded(
            f"--epsilon={options.epsilon:g} costs mu_squared={planned['cost_mu_squared']:.6g}, but "
            f"{planned['mu_squared_left_before']:.6g} (epsilon="
            f"{planned['epsilon_left_before']:.6g} alone) is left for data set "
            f"{options.dataset!r}; no row was read. Lower --epsilon"
        )
