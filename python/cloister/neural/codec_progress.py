"""What is seen of a training: a bar on a terminal, a line an epoch elsewhere, or a callback."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cloister.errors import InvalidType

if TYPE_CHECKING:
    from cloister.neural.codec_training import Epoch


class TrainingProgress:
    """Reports steps and epochs; a context manager."""

    def __init__(
        self,
        progress: bool | Callable[[Epoch], None],
        epochs: int,
        steps_per_epoch: int,
        done: int,
    ) -> None:
        if not isinstance(progress, bool) and not callable(progress):
            raise InvalidType(f"progress must be True, False or a function, got {progress!r}")
        self._callback = None if isinstance(progress, bool) else progress
        self._bar: Any = None
        self._console: Any = None
        if progress is True:
            self._console = _console()
            if self._console.is_terminal:
                self._bar = _bar(self._console)
                total, completed = epochs * steps_per_epoch, done * steps_per_epoch
                self._task = self._bar.add_task("training", total=total, completed=completed)

    def step(self) -> None:
        """Say that one step is done."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def epoch(self, epoch: Epoch) -> None:
        """Say how an epoch went."""
        if self._callback is not None:
            self._callback(epoch)
        if self._bar is not None:
            self._bar.update(self._task, description=describe(epoch))
        elif self._console is not None:
            self._console.print(describe(epoch), soft_wrap=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def describe(epoch: Epoch) -> str:
    """Return an epoch in one line."""
    text = f"epoch {epoch.number}/{epoch.epochs}: loss {epoch.loss:.5f}"
    if epoch.held_out_error is None:
        return text
    return f"{text}, held-out public images {epoch.held_out_error:.2f} grey levels off"


def _console() -> Any:
    from rich.console import Console  # noqa: PLC0415 - slow to import

    return Console(stderr=True, markup=False, highlight=False)


def _bar(console: Any) -> Any:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
