"""Options that several commands have."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def declared(options: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Return a decorator that declares these options, in this order."""

    def declare(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return declare


def count_or_auto(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """Return "auto" as it is, and anything else as a whole number."""
    return value if value in (None, "auto") else int(click.INT(value))


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
seed_option = click.option(
    "--random-state", type=int, metavar="SEED", help="Seeds public randomness; never noise."
)
epsilon_option = click.option(
    "--epsilon", type=float, default=1.0, show_default=True, help="Privacy loss of this fit."
)
delta_option = click.option(
    "--delta", type=float, default=1e-5, show_default=True, help="Far below 1 over the rows."
)
test_option = click.option(
    "--test", metavar="FILE.npz[:KEY]", help="Real rows to measure the accuracy on."
)
test_labels_option = click.option(
    "--test-labels", metavar="FILE[:KEY]", help="Their labels; y of --test by default."
)


def _threads(context: click.Context, _: click.Parameter, threads: int | None) -> None:
    if threads is not None:
        import cloister  # noqa: PLC0415

        cloister.set_num_threads(threads)
        context.call_on_close(lambda: cloister.set_num_threads(None))


threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    callback=_threads,
    expose_value=False,
    help="Threads of the kernels; all cores by default.",
)
budget_options = declared(
    [
        click.option("--budget", metavar="LEDGER", help="Pay from this file's budget."),
        click.option("--dataset", metavar="NAME", help="The data set's name in the ledger."),
        click.option("--budget-epsilon", type=float, help="Total of a data set new to the ledger."),
        click.option("--budget-delta", type=float, help="Its delta."),
        click.option("--fit-name", metavar="NAME", help="Resume this fit if it was interrupted."),
    ]
)
