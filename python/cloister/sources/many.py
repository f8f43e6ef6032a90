"""Rows of several sources, one after another: lists of files or arrays, glob patterns."""

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from cloister._backend import on_host
from cloister.codes import MAX_ROWS
from cloister.errors import InvalidInput
from cloister.sources.protocol import Source, TableSource, gathered


class ManySource:
    """The rows of `sources` in order; small ones are put together into one chunk.

    Attributes
    ----------
    n : int or None
        Number of rows of all; None if one of them does not know.
    d : int
        Number of features.
    rereadable : bool
        Whether all of them are.

    Raises
    ------
    InvalidInput
        If they differ in their number of features.
    """

    def __init__(self, sources: Sequence[Source], names: Sequence[str], argument: str) -> None:
        self._sources, self._argument = sources, argument
        self.d = sources[0].d
        self.rereadable = all(source.rereadable for source in sources)
        for source, name in zip(sources, names, strict=True):
            if source.d != self.d:
                raise InvalidInput(
                    f"{argument}: {name} has {source.d} features a row, but {names[0]} has "
                    f"{self.d}; embed all with the same encoder"
                )
        lengths = [source.n for source in sources]
        known = [length for length in lengths if length is not None]
        self.n = sum(known) if len(known) == len(lengths) else None
        if self.n is not None and self.n > MAX_ROWS:
            raise InvalidInput(
                f"{argument} has {self.n} rows, but at most {MAX_ROWS} are supported; split them"
            )

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of first row, rows) in order: see `Source.chunks`."""
        parts = (on_host(part) for source in self._sources for _, part in source.chunks(rows))
        return gathered(parts, self.d, rows)

    def columns(self) -> list[str]:
        """Names of the columns that all of them have."""
        if not all(isinstance(source, TableSource) for source in self._sources):
            return []
        listed = [source.columns() for source in self._sources]  # type: ignore[attr-defined]
        return [name for name in listed[0] if all(name in names for names in listed)]

    def column(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield the entries of one of `columns`, in order and in parts."""
        for source in self._sources:
            assert isinstance(source, TableSource)
            yield from source.column(name)
