"""`cloister demo`: the whole road on scikit-learn's handwritten digits, offline."""

from importlib.util import find_spec
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import cloister
from cloister.cli_files import unit_rows
from cloister.cli_output import busy, emit, say, show_pairs, show_paragraph

SAMPLES = 5_000


def demo(epsilon: float, delta: float, as_json: bool) -> None:
    """Fit, sample, train and compare; a few seconds."""
    start = perf_counter()
    digits = load_digits()
    X, X_test, y, y_test = train_test_split(
        unit_rows(digits.data),
        digits.target,
        test_size=0.25,
        random_state=0,
        stratify=digits.target,
    )
    with busy(f"fitting a private mixture of {X.shape[1]}-dimensional rows"):
        mixture = cloister.DPGaussianMixture(epsilon=epsilon, delta=delta, classes=list(range(10)))
        mixture.fit(X, y)
    classifier = "probe" if find_spec("torch") else "mixture"
    if classifier == "probe":
        from cloister.neural import Probe  # noqa: PLC0415 - torch is optional

        with busy("training a probe on the mixture, and one on the real rows"):
            private = Probe().fit_mixture(mixture, SAMPLES).score(X_test, y_test)
            real = Probe().fit(X, y).score(X_test, y_test)
    else:
        say("torch is not installed: classifying with the mixture itself in place of a probe")
        noiseless = cloister.DPGaussianMixture(epsilon=np.inf, delta=delta, classes=list(range(10)))
        private = _accuracy(mixture, X_test, y_test)
        real = _accuracy(noiseless.fit(X, y), X_test, y_test)
    _report(mixture, classifier, private, real, perf_counter() - start, as_json)


def _accuracy(mixture: Any, rows: NDArray[Any], labels: NDArray[Any]) -> float:
    return float(np.mean(mixture.predict(rows) == labels))


def _report(
    mixture: Any, classifier: str, private: float, real: float, seconds: float, as_json: bool
) -> None:
    result = {
        "data": "scikit-learn's handwritten digits, rows scaled to unit norm",
        "epsilon": mixture.privacy_.epsilon,
        "delta": mixture.privacy_.delta,
        "classifier": classifier,
        "accuracy_private": private,
        "accuracy_non_private": real,
        "seconds": round(seconds, 2),
        "statement": mixture.privacy_.statement(),
    }

    def show() -> None:
        show_pairs({name: value for name, value in result.items() if name != "statement"})
        show_paragraph(str(result["statement"]))

    emit(result, as_json, show)
