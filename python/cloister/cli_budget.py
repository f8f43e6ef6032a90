"""What the commands say of a data set's budget."""

from typing import Any

from cloister.privacy.accounting import epsilon_from_mu
from cloister.privacy.ledger import Budget


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
