"""Synthesizers that a ledger pays for, and what an interruption leaves."""

import numpy as np
import pytest
from sklearn.base import clone

from cloister import Budget
from cloister.errors import BudgetExceeded
from paid_fits import QUESTIONS, interrupt_fit, questions, rounds
from tiny_codec import TinyCodec
from tiny_synthesizer import images_and_labels, synthesizer


@pytest.fixture(scope="module")
def data():
    return images_and_labels()


def test_a_ledger_of_epsilon_pays_for_both_fits_and_no_more(data, tmp_path):
    ledger = Budget(tmp_path / "ledger", "faces", 3.0, 1e-5)
    model = synthesizer(budget=ledger, fit_name="portraits").fit(*data)
    assert [fit.name for fit in ledger.fits()] == ["portraits", "portraits labeller"]
    assert {fit.state for fit in ledger.fits()} == {"finished"}
    assert ledger.mu_squared_spent <= ledger.mu_total**2
    assert ledger.epsilon_spent() == pytest.approx(3.0, rel=1e-9)
    again = synthesizer(budget=ledger, fit_name="portraits").fit(*data)
    np.testing.assert_array_equal(again.mixture_.means_, model.mixture_.means_)
    np.testing.assert_array_equal(again.labeller_.mixture_.means_, model.labeller_.mixture_.means_)
    with pytest.raises(BudgetExceeded, match="no image was read"):
        synthesizer(budget=ledger, fit_name="more", epsilon=1.0).fit(*data)


@pytest.mark.parametrize("name", ["portraits", None])
def test_a_fit_that_fails_between_the_two_is_taken_up_again(data, tmp_path, name):
    ledger = Budget(tmp_path / "ledger", "faces", 3.0, 1e-5)
    with questions() as asked:
        synthesizer(False).fit(*data)
    of_images = len(asked)
    assert set(asked) <= set(QUESTIONS)
    codec = TinyCodec()
    model = synthesizer(codec=codec, budget=ledger, fit_name=name, random_state=None)
    with questions(interrupt=of_images + 3), pytest.raises(KeyboardInterrupt) as caught:
        model.fit(*data)
    assert not hasattr(model, "mixture_")
    note = caught.value.__notes__[0]
    found = ledger.fits()[0].name
    assert f"fit_name='{found}'" in note
    assert found == name or name is None
    first = rounds(ledger)
    assert len(first) == of_images + 2
    model.set_params(mixture=clone(model.mixture).set_params(fit_name=found)).fit(*data)
    kept = rounds(ledger)
    assert {key: kept[key] for key in first} == first  # nothing was drawn twice
    assert ledger.epsilon_spent() == pytest.approx(3.0, rel=1e-9)
    assert model.privacy_.epsilon <= 3.0


def test_an_interrupted_first_fit_is_taken_up_again(data, tmp_path):
    ledger = Budget(tmp_path / "ledger", "faces", 3.0, 1e-5)
    model = synthesizer(budget=ledger, fit_name="portraits")
    interrupt_fit(model, *data, at=2)
    first = rounds(ledger)
    model.fit(*data)
    assert first.items() <= rounds(ledger).items()
