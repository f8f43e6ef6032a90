"""Images and their labels on disk: a folder of PNGs, a Parquet file or an .npz file, streamed."""

import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cloister.atomic_file import check_destination, replacing
from cloister.errors import InvalidInput
from cloister.neural.optional_packages import need_pillow
from cloister.neural.png import png_bytes
from cloister.neural.sample_folder import check_folder, write_folder
from cloister.sources.arrow_columns import import_pyarrow

Batches = Iterable[tuple[NDArray[Any], ...]]


def check_samples_destination(
    path: str | os.PathLike[str], argument: str = "path", *, resume: bool = False
) -> Path:
    """Check where images are to be written, and that what writes them is installed.

    Raises
    ------
    InvalidInput, InvalidType
        If the place cannot be written to, or is a folder that holds something already.
    MissingDependency
        Without pyarrow or Pillow, where they are needed.
    """
    suffix = Path(path).suffix.lower() if isinstance(path, str | os.PathLike) else ""
    if suffix == ".parquet":
        import_pyarrow("pyarrow.parquet")
    if suffix != ".npz":
        need_pillow()
    if suffix in (".parquet", ".npz"):
        if resume:
            raise InvalidInput(
                f"{argument}: {os.fspath(path)!r} is one file, written in one step: there is "
                "nothing to resume; leave resume out"
            )
        return check_destination(path, argument)
    return check_folder(path, argument, resume=resume)


def write_samples(
    path: str | os.PathLike[str], batches: Batches, n: int, *, resume: bool = False
) -> None:
    """Write images and labels batch by batch; memory holds one batch.

    Parameters
    ----------
    path : path
        `name.parquet`: columns `image` (struct of PNG `bytes` and `path`, as the Image feature of
        Hugging Face datasets) and `label`. `name.npz`: arrays `x` of images and `y` of labels. Any
        other name: a folder with `LABEL/INDEX.png` for each image, and `labels.csv`, which is
        written last and so tells that the folder is complete. A file appears whole or not at all,
        and so does each PNG.
    batches : iterable of (images, labels)
        Images of shape (any, height, width) or (any, height, width, 3), uint8.
    n : int
        How many images there are in all.
    resume : bool
        Keep the PNGs of a folder that was interrupted, after a look at each that it is the same.

    Raises
    ------
    InvalidInput, InvalidType
        If the place cannot be written to, the batches hold another number than `n`, a label cannot
        name a folder, or a folder to resume holds other images.
    MissingDependency
        Without Pillow (for PNG) or pyarrow (for Parquet).
    """
    target = check_samples_destination(path, resume=resume)
    suffix = target.suffix.lower()
    counted = _counted(batches, n)
    if suffix not in (".parquet", ".npz"):
        write_folder(target, counted, n)
        return
    with replacing(target) as file:
        (_write_parquet if suffix == ".parquet" else _write_npz)(file, counted, n)


def _counted(batches: Batches, n: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    seen = 0
    for images, labels, *_ in batches:
        seen += len(images)
        if seen <= n:
            yield images, np.asarray(labels)
    if seen != n:
        raise InvalidInput(f"batches hold {seen} images, but n={n}; give the number there is")


def _write_parquet(file: BinaryIO, batches: Iterator[Any], n: int) -> None:
    pa, parquet = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    images, labels = next(batches)
    kind = {"U": pa.string(), "O": pa.string(), "b": pa.bool_()}.get(labels.dtype.kind, pa.int64())
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "image": {"_type": "Image"},
        "label": {"dtype": str(kind), "_type": "Value"},
    }
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([("image", image), ("label", kind)], metadata=about)
    digits, first = len(str(n - 1)), 0
    with parquet.ParquetWriter(file, schema) as writer:
        while True:
            cells = [
                {"bytes": png_bytes(one), "path": f"{first + i:0{digits}}.png"}
                for i, one in enumerate(images)
            ]
            columns = [pa.array(cells, image), pa.array(labels.tolist(), kind)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            first += len(images)
            following = next(batches, None)
            if following is None:
                return
            images, labels = following


def _write_npz(file: BinaryIO, batches: Iterator[Any], n: int) -> None:
    """Write what `numpy.savez(file, x=images, y=labels)` would, without all images at hand."""
    found: list[NDArray[Any]] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo("x.npy"), "w", force_zip64=True) as member:
            for images, labels in batches:
                if not found:
                    shape = (n, *images.shape[1:])
                    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(member, header)
                member.write(np.ascontiguousarray(images).data)
                found.append(labels)
        with archive.open(zipfile.ZipInfo("y.npy"), "w", force_zip64=True) as member:
            np.lib.format.write_array(member, np.concatenate(found), allow_pickle=False)
