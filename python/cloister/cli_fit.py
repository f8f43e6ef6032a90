"""`cloister fit`: from options to a paid-for model file, and the rest of the road."""

from typing import Any

from cloister.cli_accuracy import NOT_COVERED, show_by_class
from cloister.cli_encoder import check_test_encoder, with_encoder
from cloister.cli_files import UnitRows, parse_classes
from cloister.cli_options import FitOptions
from cloister.cli_output import busy, emit, say, show_pairs, show_paragraph
from cloister.cli_price import budget_state, checked_cost, planned_budget, refuse_debt
from cloister.cli_road import pairs
from cloister.errors import InvalidInput, ModelFileError
from cloister.privacy.ledger import Budget
from cloister.sources import as_source, find_labels


def fit(options: FitOptions, as_json: bool) -> None:
    """Fit, save, go the rest of the road and report."""
    if options.epsilon == float("inf"):
        raise InvalidInput(
            "--epsilon=inf adds no noise, and a model without privacy is not saved; give a finite "
            "one, such as 1.0, or fit without noise from Python"
        )
    mu = checked_cost(options)
    if options.budget is not None:  # `fit` reserves anyway, but files are opened before
        refuse_debt(options, planned_budget(options, mu))
    options = with_encoder(options)
    check_test_encoder(options.road.test, options.encoder_id)
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
