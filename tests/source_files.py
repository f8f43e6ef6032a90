"""The same rows in every form that sources read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
from pyarrow.dataset import dataset


class Batches:
    """Re-iterable batches of any size, the last ones smaller."""

    def __init__(self, rows, size):
        self.rows, self.size, self.passes = rows, size, 0

    def __iter__(self):
        self.passes += 1
        return (self.rows[i : i + self.size] for i in range(0, len(self.rows), self.size))


def lists(rows, fixed=True):
    if fixed:
        return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    return pa.array(list(rows), pa.list_(pa.from_numpy_dtype(rows.dtype)))


def table(rows, labels, fixed=True):
    return pa.table({"id": np.arange(len(rows)), "embedding": lists(rows, fixed), "label": labels})


def write_arrow(path, whole, rows=None):
    with pa.OSFile(str(path), "wb") as raw, pa.ipc.new_file(raw, whole.schema) as writer:
        writer.write_table(whole, max_chunksize=rows)


def write_all(folder, rows, labels):
    """Write one file of each format into `folder`, and several into `folder/many`."""
    np.save(folder / "rows.npy", rows)
    np.save(folder / "fortran.npy", np.asfortranarray(rows))
    np.save(folder / "labels.npy", labels)
    np.savez(folder / "rows.npz", x=rows, y=labels)
    np.savez_compressed(folder / "packed.npz", x=np.asfortranarray(rows), y=labels)
    safetensors.numpy.save_file({"embedding": rows, "label": labels}, folder / "rows.safetensors")
    whole = table(rows, labels)
    pq.write_table(whole, folder / "rows.parquet", row_group_size=17)
    pq.write_table(table(rows, labels, fixed=False), folder / "lists.pq", compression="zstd")
    write_arrow(folder / "rows.arrow", whole, 29)
    (folder / "many").mkdir()
    for number, first in enumerate(range(0, len(rows), 30)):
        pq.write_table(whole.slice(first, 30), folder / "many" / f"{number:03}.parquet")
        np.save(folder / "many" / f"{number:03}.npy", rows[first : first + 30])


# What to pass to `fit`, from the folder, the rows and the labels. "once" can be read only once.
SOURCES = {
    "npy": lambda f, x, y: f / "rows.npy",
    "npy in Fortran order": lambda f, x, y: str(f / "fortran.npy"),
    "npz": lambda f, x, y: f"{f}/rows.npz:x",
    "packed npz in Fortran order": lambda f, x, y: f / "packed.npz",
    "safetensors": lambda f, x, y: f / "rows.safetensors",
    "parquet": lambda f, x, y: f / "rows.parquet",
    "parquet of lists": lambda f, x, y: f"{f}/lists.pq:embedding",
    "arrow": lambda f, x, y: f / "rows.arrow",
    "glob of parquet": lambda f, x, y: f"{f}/many/*.parquet",
    "glob of npy": lambda f, x, y: f / "many" / "*.npy",
    "list of files": lambda f, x, y: [f / "many" / f"{i:03}.npy" for i in range(-(-len(x) // 30))],
    "list of globs": lambda f, x, y: [f"{f}/many/00*.npy", f / "many" / "0[1-9]*.npy"],
    "list of arrays": lambda f, x, y: [x[:1], x[1:50], x[50:]],
    "list of kinds": lambda f, x, y: [x[:30], f / "many" / "001.parquet", table(x[60:], y[60:])],
    "memory map": lambda f, x, y: np.load(f / "rows.npy", mmap_mode="r"),
    "copy-on-write map": lambda f, x, y: np.load(f / "rows.npy", mmap_mode="c"),
    "map in Fortran order": lambda f, x, y: np.load(f / "fortran.npy", mmap_mode="r"),
    "batches of 7": lambda f, x, y: Batches(x, 7),
    "batches of 1000": lambda f, x, y: Batches(x, 1000),
    "batches of lists": lambda f, x, y: Batches(x.tolist(), 9),
    "pyarrow table": lambda f, x, y: table(x, y),
    "pyarrow slice": lambda f, x, y: pa.concat_tables([table(x, y)] * 2).slice(len(x), len(x)),
    "pyarrow lists": lambda f, x, y: table(x, y, fixed=False)["embedding"],
    "pyarrow batch": lambda f, x, y: table(x, y).to_batches()[0],
    "pyarrow dataset": lambda f, x, y: dataset(sorted((f / "many").glob("*.parquet"))),
    "once: generator": lambda f, x, y: (x[i : i + 11] for i in range(0, len(x), 11)),
    "once: pyarrow reader": lambda f, x, y: table(x, y).to_reader(13),
}
