"""Rows from an iterable of batches: generators, data loaders, any object with `__iter__`."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from numpy.typing import NDArray

from cloister.errors import CloisterError, InvalidInput, InvalidType
from cloister.sources.arrays import array_source
from cloister.sources.protocol import gathered


class BatchSource:
    """Batches of rows of one width, put together or split into chunks.

    The first batch is taken when the source is made: it tells the number of features.

    Attributes
    ----------
    n : None
        Nobody knows before the end.
    d : int
        Number of features.
    rereadable : bool
        Whether asking for an iterator again starts anew: not so for generators.
    """

    n: int | None = None

    def __init__(self, batches: Iterable[Any], name: str = "X") -> None:
        self._batches, self._name = batches, name
        iterator = iter(batches)
        self.rereadable = iterator is not batches
        try:
            first = next(iterator)
        except StopIteration:
            raise InvalidInput(
                f"{name}: found 0 sample(s) (no batch) while a minimum of 1 is required. Pass at "
                "least one row; an iterator that was read to its end before has none left"
            ) from None
        except Exception as error:
            raise self._failed(0, error) from error
        self.d: int = self._rows_of(first, 0, None)[0].shape[1]
        self._once = None if self.rereadable else chain([first], iterator)

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of first row, rows) in order: see `Source.chunks`.

        Raises
        ------
        InvalidInput, InvalidType
            If the iterator fails or was read already, or a batch has another width.
        """
        if self.rereadable:
            return gathered(self._arrays(iter(self._batches)), self.d, rows)
        if self._once is None:
            raise InvalidInput(
                f"{self._name} is an iterator that was read already and can be read 1 time; pass "
                "an object whose __iter__ starts anew"
            )
        once, self._once = self._once, None
        return gathered(self._arrays(once), self.d, rows)

    def _arrays(self, iterator: Iterator[Any]) -> Iterator[NDArray[Any]]:
        number = 0
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except Exception as error:
                raise self._failed(number, error) from error
            yield from self._rows_of(batch, number, self.d)
            number += 1

    def _rows_of(self, batch: Any, number: int, d: int | None) -> list[NDArray[Any]]:
        """Return the rows of a batch as arrays that the kernels take; none of an empty batch."""
        name = f"{self._name}: batch {number}"
        if getattr(batch, "shape", None) is not None and len(batch.shape) == 2 and d is not None:
            if batch.shape[1] != d:
                raise InvalidInput(
                    f"{name} has {batch.shape[1]} features, but batch 0 has {d}; embed all with "
                    "the same encoder"
                )
            if batch.shape[0] == 0:
                return []
        try:
            source = array_source(batch, name)
        except CloisterError as error:
            raise InvalidType(
                f"{self._name} cannot be read as batches of rows: batch {number}: {error}; yield "
                "arrays of shape (rows, d), or pass all rows as one numpy array"
            ) from error
        if d is not None and source.d != d:
            raise InvalidInput(
                f"{name} has {source.d} features, but batch 0 has {d}; embed all with the same "
                "encoder"
            )
        return [rows for _, rows in source.chunks(source.n)]

    def _failed(self, number: int, error: Exception) -> Exception:
        return InvalidInput(
            f"{self._name}: batch {number} could not be had: {type(error).__name__}: {error}; mend "
            "the iterable, nothing was released"
        )
