"""What the commands have in common: results on stdout, the rest on stderr, exit codes."""

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from cloister.errors import BudgetExceeded, CloisterError

BAD_INPUT, BUDGET_EXCEEDED, INTERRUPTED = 2, 3, 130


class Commands(click.Group):
    """A group that turns each refusal into one line on stderr and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit: 0 done, 2 bad input, 3 budget exceeded, 130 interrupted."""
        kwargs["standalone_mode"] = False
        try:
            with _warnings_as_lines():
                code = super().main(*args, **kwargs)
        except BudgetExceeded as error:
            code = _refuse(str(error), BUDGET_EXCEEDED)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "cloister"
            code = _refuse(f"{error.format_message()} (see {command} --help)", BAD_INPUT)
        except click.ClickException as error:
            code = _refuse(error.format_message(), BAD_INPUT)
        except MemoryError as error:
            code = _refuse(f"out of memory: {error}; work on fewer rows", BAD_INPUT)
        except (CloisterError, OSError) as error:
            code = _refuse(str(error), BAD_INPUT)
        except click.Abort:
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)


def _refuse(message: str, code: int) -> int:
    click.echo("error: " + " ".join(message.split()), err=True)
    return code


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show cloister's warnings to a user, not to a programmer: no file name, no source line."""

    def show(message: Warning | str, *_: Any) -> None:
        click.echo("warning: " + " ".join(str(message).split()), err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def say(message: str) -> None:
    """Tell the user on stderr what is going on."""
    click.echo(message, err=True)


@contextmanager
def busy(message: str) -> Iterator[None]:
    """Show a spinner on stderr while something takes its time; a plain line without a terminal."""
    from rich.console import Console  # noqa: PLC0415 - `--help` must be quick

    console = Console(stderr=True, markup=False, highlight=False)
    if not console.is_terminal:
        say(f"{message} ...")
        yield
        return
    with console.status(message):
        yield


def emit(result: Mapping[str, Any], as_json: bool, show: Callable[[], None]) -> None:
    """Put the result on stdout: one JSON object, or what `show` prints."""
    if as_json:
        click.echo(json.dumps(plain(result), allow_nan=False))
    else:
        show()


def plain(value: Any) -> Any:
    """Return JSON values: numpy scalars and arrays unpacked, infinities as "inf", NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def show_pairs(pairs: Mapping[str, Any]) -> None:
    """Print names and values in two columns, values as they are (no markup)."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        text = f"{value:.6g}" if isinstance(value, float) else value
        click.echo(f"{name:<{width}}  {text}")


def show_table(columns: Mapping[str, list[Any]]) -> None:
    """Print a table whose cells are never cut; numbers stand to the right."""
    shown = []
    for title, cells in columns.items():
        texts = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
        width = max(map(len, [title, *texts]))
        numbers = all(isinstance(cell, int | float) for cell in cells)
        shown.append([f"{text:{'>' if numbers else '<'}{width}}" for text in [title, *texts]])
    for row in zip(*shown, strict=True):
        click.echo("  ".join(row).rstrip())


def show_paragraph(text: str) -> None:
    """Print a paragraph, wrapped."""
    click.echo("\n" + click.wrap_text(text, width=88))
