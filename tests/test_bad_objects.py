"""Objects of other libraries that hold no rows, or hold them elsewhere: typed errors."""

import re

import numpy as np
import pytest

from cloister import DPKMeans, KMeans
from cloister.errors import InvalidInput, InvalidType
from source_files import lists

pa = pytest.importorskip("pyarrow")

N, D = 60, 4
ROWS = np.random.default_rng(7).normal(size=(N, D)).astype(np.float32)
LABELS = np.arange(N) % 2


def nulls(*places):
    return [None if i in places else row.tolist() for i, row in enumerate(ROWS)]


def ragged(lengths):
    return [row[: lengths.get(i, D)].tolist() for i, row in enumerate(ROWS)]


PYARROW = [
    (lambda: pa.table({"v": LABELS}), InvalidInput, "0 columns of lists", "column_stack"),
    (lambda: pa.table({"a": lists(ROWS), "b": lists(ROWS)}), InvalidInput, "2 columns", "select"),
    (lambda: pa.array(["a"]), InvalidType, "holds string", "choose a column"),
    (lambda: pa.array(nulls(3)), InvalidInput, "row 3 is null", "fill them"),
    (lambda: pa.array(ragged({2: 1})), InvalidInput, "row 2 .* 1 .* has 4", "one length"),
    (lambda: pa.array([], pa.list_(pa.float32(), 3)), InvalidInput, "found 0 sample", "one row"),
    (lambda: pa.schema([]), InvalidType, "is a pyarrow Schema", "pass its table"),
]


@pytest.mark.parametrize(("make", "error", "problem", "way_out"), PYARROW)
def test_pyarrow_objects(make, error, problem, way_out):
    with pytest.raises(error, match=problem) as caught:
        DPKMeans(2).fit(make())
    assert re.search(way_out, str(caught.value))


class OnDevice:
    """An array as cupy or torch would offer it from the memory of a GPU."""

    shape = ROWS.shape

    def __dlpack__(self, **options):
        raise AssertionError("nobody may touch the device")

    def __dlpack_device__(self):
        return (2, 0)


class Torch(OnDevice):
    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize("kind", [OnDevice, Torch])
def test_arrays_of_a_device(kind):
    with pytest.raises(InvalidType, match=r'^X lies in .* CUDA .*type 2.*type 1.*device="cuda"'):
        DPKMeans(2).fit(kind())
    with pytest.raises(InvalidType, match=r"X\.cpu\(\) of torch or cupy.asnumpy"):
        KMeans(2).fit(kind())


def test_other_devices():
    torch = pytest.importorskip("torch")
    with pytest.raises(InvalidType, match="X cannot be read as an array"):
        DPKMeans(2).fit(torch.zeros(3, 2, device="meta"))
