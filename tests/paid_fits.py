"""Fits that a ledger pays for, and what they ask, for tests to watch and to interrupt."""

import sqlite3
from contextlib import closing, contextmanager

import numpy as np
import pytest
from sklearn.base import clone

from cloister import DPGaussianMixture, DPKMeans
from cloister.engines import LocalEngine
from cloister.privacy.accounting import mu_from_epsilon
from private_objects import values_of

QUESTIONS = ("exact_tally", "exact_moments", "exact_bins", "exact_gradient")

ESTIMATORS = {
    "kmeans": DPKMeans(3, epsilon=0.8, n_rounds=3, plan_overrides={"least_rows": 0.0}),
    "histogram": DPKMeans(3, epsilon=0.8, n_rounds=3, init="histogram"),
    "mixture": DPGaussianMixture(1, "tied", epsilon=0.8, classes=[2, 4]),
    "components": DPGaussianMixture(2, "full", epsilon=0.8, classes=[2, 4]),
}
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)


def make_rows(counts):
    rng = np.random.default_rng(20)
    y = rng.permutation(np.repeat([2, 4], counts))
    return rng.normal(size=(len(y), 5)) / 4 + 0.1 * y[:, None], y


def paying(estimator, budget, **options):
    return clone(estimator).set_params(budget=budget, **options)


def rounds(budget):
    """Stored payloads by key, of all fits that were not cancelled."""
    with closing(sqlite3.connect(budget.path)) as connection:
        return dict(connection.execute("SELECT fit || ' ' || key, payload FROM round"))


def cost(estimator):
    return mu_from_epsilon(estimator.epsilon, estimator.delta) ** 2


def public_values(model):
    return values_of({k: v for k, v in vars(model).items() if k not in ("budget", "fit_name")})


@contextmanager
def questions(interrupt=None):
    """List the questions put to the rows; the one numbered `interrupt`, from 1, is interrupted."""
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        for name in QUESTIONS:
            original = getattr(LocalEngine, name)

            def question(self, *arguments, original=original):
                asked.append(original.__name__)
                if len(asked) == interrupt:
                    raise KeyboardInterrupt
                return original(self, *arguments)

            patch.setattr(LocalEngine, name, question)
        yield asked


def interrupt_fit(model, X, y, at):
    with questions(interrupt=at), pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
