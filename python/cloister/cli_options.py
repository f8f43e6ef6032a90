"""The options of `cloister fit`, checked before any file is opened."""

from dataclasses import dataclass
from typing import Any

import click

import cloister
from cloister.atomic_file import check_destination
from cloister.cli_files import check_array_file, check_labels, parse_classes
from cloister.cli_road import RoadOptions, check_distinct
from cloister.privacy.ledger import Budget

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
    "kmeans": ("n_clusters", "metric"),
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
    n_components: int | str | None
    n_clusters: int | None
    metric: str | None
    covariance_type: str | None
    row_transform: str | None
    class_prior: str | None
    clip_norm: float
    classes: str | None
    n_hint: int | None
    n_features: int | None
    on_invalid: str
    cache: bool
    device: str
    normalize: bool
    budget: str | None
    dataset: str | None
    budget_epsilon: float | None
    budget_delta: float | None
    fit_name: str | None
    encoder_id: str | None
    random_state: int | None
    dry_run: bool
    road: RoadOptions
    row_purity: str | None = None  # told by the files of ROWS, not by an option

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
        if self.n_features is not None and not self.dry_run:
            raise click.UsageError("--n-features needs --dry-run: a fit reads it off ROWS")
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
            "device": self.device,
            "fit_name": self.fit_name,
            "encoder_id": self.encoder_id,
            "row_purity": self.row_purity,
            "random_state": self.random_state,
            "budget": budget,
        }
        names = [*_ONLY[self.model], "n_hint"]
        own: dict[str, Any] = {name: getattr(self, name) for name in names if name != "labels"}
        if self.model == "mixture":
            own["classes"] = parse_classes(self.classes)
        given = {name: value for name, value in own.items() if value is not None}
        maker = cloister.DPGaussianMixture if self.model == "mixture" else cloister.DPKMeans
        return maker(**common, **given)
