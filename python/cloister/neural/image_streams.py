"""Images that come one after another: data sets and loaders of torch, iterables of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.image_source import Images, Part, StoredBatches, recut, together
from cloister.neural.pixels import array_pixels, is_tensor, one_image


class DatasetImages(StoredBatches):
    """A data set with numbered items and known labels: `dataset[i]`, `len(dataset)`, `targets`.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Items are images or (image, label).
    name : str
        The argument's name in messages.
    """

    def __init__(self, dataset: Any, name: str) -> None:
        self._dataset, self._name, self.n = dataset, name, len(dataset)
        self.labels = np.asarray(dataset.targets) if _known_targets(dataset) else None

    def read(self, start: int, stop: int) -> Images:
        """Return images `start` to `stop` - 1."""
        items = (self._dataset[place] for place in range(start, stop))
        return together(
            [
                one_image(split_item(item)[0], f"{self._name}[{start + place}]")
                for place, item in enumerate(items)
            ]
        )


class StreamedImages:
    """Batches, or single items, that an iterable gives in its own order.

    Parameters
    ----------
    items : iterable
        A `DataLoader`, a data set, a generator: of images or (images, labels).
    n : int, optional
        Number of images, if known.
    name : str
        The argument's name in messages.
    batched : bool
        Whether an item is a batch of images.
    """

    labels: NDArray[Any] | None = None

    def __init__(self, items: Iterable[Any], n: int | None, name: str, *, batched: bool) -> None:
        self._items, self._name, self._batched, self.n = items, name, batched, n

    def batches(self, size: int, start: int = 0) -> Iterator[Part]:
        """Yield (images, labels): see `ImageSource.batches`. Those before `start` are passed."""
        if start % size:
            raise InvalidInput(f"start={start} must be a multiple of size={size}")
        parts = (self._part(place, item) for place, item in enumerate(self._items))
        return islice(recut(parts, size), start // size, None)

    def _part(self, place: int, item: Any) -> Part:
        image, label = split_item(item)
        name = f"{self._name}: item {place}"
        if not self._batched:
            return [one_image(image, name)], None if label is None else [plain_label(label, name)]
        if isinstance(image, list | tuple):
            images: Images = [one_image(one, name) for one in image]
        else:
            images = _batch_pixels(image, name)
        labels = None if label is None else [plain_label(one, name) for one in label]
        if labels is not None and len(labels) != len(images):
            raise InvalidInput(
                f"{name} holds {len(images)} images and {len(labels)} labels; they must agree"
            )
        return images, labels


def dataset_images(dataset: Any, name: str) -> DatasetImages | StreamedImages:
    """Return a data set's images; where labels come with the items, items are passed in order."""
    sized = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if not sized:
        return StreamedImages(dataset, None, name, batched=False)
    if len(dataset) == 0:
        raise InvalidInput(f"{name} holds 0 images; pass at least 1")
    try:
        first = dataset[0]
    except (KeyError, TypeError) as error:
        raise InvalidType(
            f"{name} is a {type(dataset).__name__}, whose items are not numbered from 0 "
            f"({error!r}); give a uint8 array, a folder, a list of files, or a data set of torch"
        ) from error
    if _known_targets(dataset) or split_item(first)[1] is None:
        return DatasetImages(dataset, name)
    return StreamedImages(_Items(dataset), len(dataset), name, batched=False)


def _known_targets(dataset: Any) -> bool:
    """Say whether `targets` are the labels that come with the items, known without the images."""
    mapped = getattr(dataset, "target_transform", None) is not None
    return hasattr(dataset, "targets") and not mapped


class _Items:
    """A data set's items in order; torch's own iteration relies on an IndexError at the end."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __iter__(self) -> Iterator[Any]:
        return (self._dataset[place] for place in range(len(self._dataset)))


def split_item(item: Any) -> tuple[Any, Any]:
    """Return an item as (images, labels), labels None where there are none."""
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    if isinstance(item, tuple | list) and len(item) == 1:
        return item[0], None
    if isinstance(item, dict | tuple):
        raise InvalidType(
            f"images: an item is a {type(item).__name__} of {len(item)}, but items are images or "
            "(image, label) pairs; give a data set or collate_fn that returns these"
        )
    return item, None


def plain_label(label: Any, name: str) -> int | float | str:
    """Return a label of a data set as Python's own number or text."""
    label = label.item() if hasattr(label, "item") and np.asarray(label).size == 1 else label
    if not isinstance(label, int | float | str):
        raise InvalidType(
            f"{name} has a label of type {type(label).__name__}, but labels are integers or "
            "strings; choose one a row"
        )
    return label


def _batch_pixels(batch: Any, name: str) -> NDArray[np.uint8]:
    if is_tensor(batch):
        batch = batch.detach().cpu()
        array = (batch.float() if batch.dtype.is_floating_point else batch).numpy()
        return array_pixels(array, name, channels_first=True)
    if not hasattr(batch, "shape"):
        raise InvalidType(
            f"{name} is a {type(batch).__name__}, but a batch of images is a tensor or an array"
        )
    return array_pixels(batch, name)
