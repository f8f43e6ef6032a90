"""Probes trained on a mixture: where they start, what they learn from, what is kept."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import rel_entr

from cloister import DPGaussianMixture
from cloister.neural import Probe, mixture_examples, training
from cloister.neural.closed_form import linear_rule, rule_units
from cloister.neural.inputs import center_and_scale
from cloister.neural.mixture_examples import MixtureExamples
from overlapping_mixture import NAMES, SMALL, fitted, same

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def mixture():
    return fitted()


@pytest.fixture(scope="module")
def bent():
    """A mixture whose Bayes rule is not linear: two components a class, covariances of each."""
    return fitted(n_components=2, covariance_type="full")


# --- the closed-form rule -----------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", ["tied", "low_rank"])
@pytest.mark.parametrize(("n_classes", "names"), [(4, NAMES), (2, None), (3, None), (1, None)])
def test_starts_at_the_bayes_rule_and_keeps_it(covariance_type, n_classes, names):
    mixture = fitted(n_classes=n_classes, names=names, covariance_type=covariance_type)
    probe = Probe(**SMALL).fit_mixture(mixture)
    assert (probe.n_epochs_, probe.best_epoch_) == (0, 0)
    rows, _, posterior = mixture.sample(3000, 5, return_proba=True)
    np.testing.assert_allclose(probe.predict_proba(rows), posterior, atol=2e-5)
    first, second = np.sort(np.c_[posterior, np.zeros(3000)], axis=1)[:, [-1, -2]].T
    clear = first - second > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(probe.predict(rows)[clear], mixture.predict(rows)[clear])
    assert probe.classes_.tolist() == mixture.classes_.tolist()


def test_too_few_hidden_units_start_at_random(mixture):
    exact, random = (Probe(**SMALL | {"hidden": h}).fit_mixture(mixture, 2000) for h in (8, 7))
    assert exact.best_epoch_ == 0
    assert random.best_epoch_ > 0


@pytest.mark.parametrize(
    "parameters", [{"n_components": 2}, {"covariance_type": "diag"}, {"covariance_type": "full"}]
)
def test_other_rules_are_not_linear(parameters):
    assert linear_rule(fitted(**parameters)) is None


def run_from(mixture, change, **settings):
    """Train from the closed-form rule after a change of its intercepts."""
    rows = mixture.sample(1000, 1)[0]
    center, scale = center_and_scale(rows)
    probe = Probe(**SMALL | settings)
    probe.transform_, probe.center_, probe.scale_ = None, center, scale
    coef, intercept = linear_rule(mixture)
    start = rule_units(coef, intercept + change, center, scale, probe._standardise(rows))
    examples = MixtureExamples(mixture, probe._standardise, 4000, 0.1, 3)
    plan = probe._plan(np.random.default_rng(0))
    return start, training.train(examples, len(mixture.classes_), plan, start)


def test_training_replaces_a_bad_start_and_keeps_one_it_cannot_beat(mixture):
    _, trained = run_from(mixture, np.array([3.0, 0, 0, -3.0]))
    assert trained.best_epoch > 0
    barely = np.array([0.05, 0, 0, 0])
    for learning_rate in (0.3, 1e4):  # the loss rises; training diverges
        start, trained = run_from(mixture, barely, learning_rate=learning_rate, patience=2)
        assert (trained.best_epoch, trained.n_epochs) == (0, 2)
        np.testing.assert_array_equal(trained.parameters[0][:, :8], start.first)
        np.testing.assert_array_equal(trained.parameters[2][:8], start.second)
        assert not trained.parameters[2][8:].any()


@pytest.mark.parametrize(("gain", "best_epoch"), [(0.02, 0), (0.05, 1)])
def test_a_gain_within_its_standard_error_keeps_the_start(mixture, monkeypatch, gain, best_epoch):
    noise = np.random.default_rng(4).standard_normal(1000)
    noise = (noise - noise.mean()) / noise.std()  # the standard error of its mean is 0.032
    measured = iter([np.ones(1000), 1.0 + noise - gain])
    monkeypatch.setattr(training._Run, "_divergences", lambda _: next(measured))
    _, trained = run_from(mixture, np.array([0.05, 0, 0, 0]), learning_rate=1e-5, max_epochs=1)
    assert trained.best_epoch == best_epoch


# --- fresh rows and soft labels -----------------------------------------------------------------


class HardLabels(DPGaussianMixture):
    """Certain of the class that each row was drawn from."""

    def sample(self, n_samples=1, random_state=None, return_proba=False):
        rows, y, _ = super().sample(n_samples, random_state, return_proba=True)
        hard = (y[:, None] == self.classes_).astype(np.float64)
        return (rows, y, hard) if return_proba else (rows, y)


def test_soft_labels_beat_hard_ones():
    settings = {"covariance_type": "full", "spread": 0.5}
    soft, hard = fitted(**settings), fitted(HardLabels, **settings)
    rows, _, posterior = soft.sample(20_000, 9, return_proba=True)
    bayes = soft.predict(rows)

    def divergence_and_disagreement(mixture):
        probe = Probe(hidden=64, dropout=0.0, max_epochs=20, learning_rate=0.01)
        probe.fit_mixture(mixture, 1000)
        divergence = rel_entr(posterior, probe.predict_proba(rows)).sum(axis=1).mean()
        return divergence, np.mean(probe.predict(rows) != bayes)

    of_soft, of_hard = divergence_and_disagreement(soft), divergence_and_disagreement(hard)
    assert of_soft[0] < 0.5 * of_hard[0]
    assert of_soft[1] < 0.7 * of_hard[1]


def test_learns_a_rule_that_is_not_linear(bent):
    probe = Probe(hidden=128, dropout=0.0, learning_rate=0.005).fit_mixture(bent, 20_000)
    rows, y = bent.sample(10_000, 9)
    assert probe.best_epoch_ > 0
    assert probe.score(rows, y) > np.mean(bent.predict(rows) == y) - 0.01


def test_nothing_but_the_mixture_is_looked_at(tmp_path, bent):
    # A file holds no row of the fit: what is trained on it saw none.
    bent.save(tmp_path / "m", allow_unsafe=True)
    loaded = DPGaussianMixture.load(tmp_path / "m")
    of_file = Probe(**SMALL).fit_mixture(loaded, 1000)
    of_model = Probe(**SMALL).fit_mixture(bent, 1000)
    assert same(of_file, of_model)
    assert of_file.held_out_losses_ == of_model.held_out_losses_
    assert len(of_file.held_out_losses_) == 3


def test_every_epoch_is_fresh_and_the_held_out_rows_stay(bent):
    examples = MixtureExamples(bent, lambda rows: rows, 500, 0.1, 3)
    assert (examples.d, examples.n, examples.n_held_out) == (10, 500, 1000)

    def all_rows(batches):
        return np.concatenate([rows for rows, _ in batches])

    held_out, again = all_rows(examples.held_out(64)), all_rows(examples.held_out(64))
    first, second = (all_rows(examples.training(e, 64, None)) for e in (1, 2))
    assert len(held_out) == 1000
    assert len(first) == len(second) == 500
    np.testing.assert_array_equal(held_out, again)
    assert len(np.unique(np.concatenate([held_out, first, second]), axis=0)) == 2000
    for rows, soft in examples.training(1, 64, None):
        np.testing.assert_array_equal(soft, bent.predict_proba(rows).astype(np.float32))


def test_rows_are_drawn_in_chunks(bent, monkeypatch):
    drawn = []
    sample = DPGaussianMixture.sample
    monkeypatch.setattr(mixture_examples, "CHUNK_VALUES", 200 * (10 + 4))
    monkeypatch.setattr(
        DPGaussianMixture,
        "sample",
        lambda self, n, *a, **k: drawn.append(n) or sample(self, n, *a, **k),
    )
    examples = MixtureExamples(bent, lambda rows: rows, 1000, 0.0, 3)
    sizes = [len(rows) for rows, _ in examples.training(1, 64, None)]
    assert sizes == [64] * 15 + [40]  # chunks do not divide batches
    assert drawn == [192] * 5 + [40]


def test_memory_does_not_grow_with_the_number_of_samples(bent, monkeypatch):
    monkeypatch.setattr(mixture_examples, "CHUNK_VALUES", 2**16)

    def peak(n):
        tracemalloc.start()
        for _ in MixtureExamples(bent, lambda rows: rows, n, 0.0, 3).training(1, 256, None):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak(60_000) < 1.5 * peak(6_000)


def test_number_of_samples_by_default(mixture, monkeypatch):
    assert mixture_examples.default_samples(10) == 50_000
    assert mixture_examples.default_samples(1000) == 500_000
    monkeypatch.setattr(mixture_examples, "LEAST_SAMPLES", 700)
    monkeypatch.setattr(mixture_examples, "LEAST_SAMPLES_A_CLASS", 300)
    seen = []
    monkeypatch.setattr(
        training._Run,
        "_step",
        lambda self, batch, rate: seen.append(len(batch[0])),
    )
    Probe(hidden=4, max_epochs=1).fit_mixture(mixture)
    assert sum(seen) == 1200


def test_random_state_decides(bent):
    first, again, other = (Probe(**SMALL, random_state=s).fit_mixture(bent, 500) for s in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)
