"""Images on disk: the same pixels come back, and what is interrupted is no half file."""

import csv
import json
import sys
from io import BytesIO

import numpy as np
import pytest
from pyarrow import parquet

from cloister import DPGaussianMixture
from cloister.errors import InvalidInput, InvalidType, MissingDependency
from cloister.neural import Synthesizer, sample_folder
from cloister.neural.png import pixels, png_bytes
from cloister.neural.sample_files import check_samples_destination, write_samples
from tiny_codec import TinyCodec, tiny_images

SHAPES = [(5, 4), (6, 3, 3)]


def batches(images, labels, size=7):
    for first in range(0, len(images), size):
        yield images[first : first + size], labels[first : first + size]


def random_images(n=20, shape=(5, 4), names=False):
    rng = np.random.default_rng(n)
    labels = rng.integers(0, 3, n)
    return (
        rng.integers(0, 256, (n, *shape), dtype=np.uint8),
        np.array(["cat", "dög", "a b"])[labels] if names else labels,
    )


def read_folder(folder):
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return np.stack([pixels(folder / row["file"]) for row in rows]), [row["label"] for row in rows]


def read_parquet(path):
    table = parquet.read_table(path)
    cells = table.column("image").to_pylist()
    images = [pixels(BytesIO(cell["bytes"])) for cell in cells]
    return np.stack(images), table.column("label").to_pylist(), [cell["path"] for cell in cells]


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_read_is_what_was_written(tmp_path, shape, names):
    images, labels = random_images(20, shape, names)
    write_samples(tmp_path / "folder", batches(images, labels), 20)
    found, listed = read_folder(tmp_path / "folder")
    np.testing.assert_array_equal(found, images)
    assert listed == [str(label) for label in labels]
    wanted = [f"{label}/{i:02}.png" for i, label in enumerate(labels)]
    assert files_of(tmp_path / "folder") == sorted([*wanted, "labels.csv"])

    write_samples(tmp_path / "s.parquet", batches(images, labels), 20)
    found, listed, paths = read_parquet(tmp_path / "s.parquet")
    np.testing.assert_array_equal(found, images)
    assert listed == labels.tolist()
    assert paths == [f"{i:02}.png" for i in range(20)]

    write_samples(tmp_path / "s.npz", batches(images, labels), 20)
    with np.load(tmp_path / "s.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["x"], images)
        np.testing.assert_array_equal(archive["y"], labels)


def test_an_archive_is_that_of_numpy(tmp_path):
    images, labels = random_images(20)
    write_samples(tmp_path / "s.npz", batches(images, labels), 20)
    np.savez(tmp_path / "numpy.npz", x=images, y=labels)
    assert (tmp_path / "s.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()


def test_parquet_says_to_data_sets_what_it_holds(tmp_path):
    write_samples(tmp_path / "s.parquet", batches(*random_images(9)), 9)
    about = parquet.read_schema(tmp_path / "s.parquet").metadata[b"huggingface"]
    assert json.loads(about)["info"]["features"] == {
        "image": {"_type": "Image"},
        "label": {"dtype": "int64", "_type": "Value"},
    }
    assert parquet.ParquetFile(tmp_path / "s.parquet").num_row_groups == 2  # a batch each


@pytest.mark.parametrize("name", ["folder", "s.parquet", "s.npz"])
def test_what_is_interrupted_leaves_no_half_file(tmp_path, name):
    images, labels = random_images(20)

    def interrupted():
        yield from list(batches(images, labels))[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path / name, interrupted(), 20)
    if name != "folder":
        assert list(tmp_path.iterdir()) == []
        return
    assert "labels.csv" not in files_of(tmp_path / name)
    assert len(files_of(tmp_path / name)) == 14
    for file in (tmp_path / name).rglob("*.png"):
        np.testing.assert_array_equal(pixels(file), images[int(file.stem)])


def test_a_png_that_is_interrupted_is_not_there(tmp_path, monkeypatch):
    images, labels = random_images(20)
    made = []

    def interrupted(image):
        made.append(image)
        if len(made) == 6:
            raise KeyboardInterrupt
        return png_bytes(image)

    monkeypatch.setattr(sample_folder, "png_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path / "folder", batches(images, labels), 20)
    assert len(files_of(tmp_path / "folder")) == 5


def test_a_folder_is_resumed_and_nothing_is_written_twice(tmp_path, monkeypatch):
    images, labels = random_images(20)
    folder = tmp_path / "folder"
    with pytest.raises(InvalidInput, match="14 images, but n=20"):
        write_samples(folder, list(batches(images, labels))[:2], 20)
    made = []
    monkeypatch.setattr(
        sample_folder, "png_bytes", lambda image: made.append(1) or png_bytes(image)
    )
    with pytest.raises(InvalidInput, match=r"holds \d entries already.*resume"):
        write_samples(folder, batches(images, labels), 20)
    write_samples(folder, batches(images, labels), 20, resume=True)
    assert len(made) == 6
    np.testing.assert_array_equal(read_folder(folder)[0], images)
    with pytest.raises(InvalidInput, match="is complete"):
        write_samples(folder, batches(images, labels), 20, resume=True)


@pytest.mark.parametrize("change", ["image", "label"])
def test_another_draw_is_not_taken_for_the_interrupted_one(tmp_path, change):
    images, labels = random_images(20)
    with pytest.raises(InvalidInput):
        write_samples(tmp_path / "folder", list(batches(images, labels))[:2], 20)
    if change == "image":
        images[13] ^= 1
    else:
        labels[13] += 1
    before = files_of(tmp_path / "folder")
    with pytest.raises(InvalidInput, match=r"13\.png' is another image"):
        write_samples(tmp_path / "folder", batches(images, labels), 20, resume=True)
    assert files_of(tmp_path / "folder") == before


@pytest.mark.parametrize("n", [19, 21])
@pytest.mark.parametrize("name", ["folder", "s.parquet", "s.npz"])
def test_a_wrong_number_is_refused(tmp_path, name, n):
    with pytest.raises(InvalidInput, match=f"^batches hold .* images, but n={n}"):
        write_samples(tmp_path / name, batches(*random_images(20)), n)
    assert not (tmp_path / name).is_file()
    assert not (tmp_path / name / "labels.csv").exists()


@pytest.mark.parametrize("label", ["", "..", ".", "a/b", "a\\b", "c:", "labels.csv", "x\ny"])
def test_labels_that_name_no_folder_are_refused(tmp_path, label):
    images, _ = random_images(2)
    with pytest.raises(InvalidInput, match=r"^labels: .* cannot name a folder"):
        write_samples(tmp_path / "folder", [(images, np.array([label, label]))], 2)
    assert files_of(tmp_path) == []


def test_places_that_cannot_be_written_to_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    for name, message in [
        ("file", "is a file; name a folder"),
        ("full", "holds 1 entries already, 'x'"),
        ("none/folder", "does not exist"),
        ("none/s.npz", "does not exist"),
    ]:
        with pytest.raises(InvalidInput, match=f"^--samples: .*{message}"):
            check_samples_destination(tmp_path / name, "--samples")
    with pytest.raises(InvalidInput, match=r"name a folder, got ''"):
        check_samples_destination("")
    with pytest.raises(InvalidType, match=r"^path must be a str"):
        check_samples_destination(3)
    with pytest.raises(InvalidInput, match="nothing to resume"):
        check_samples_destination(tmp_path / "s.npz", resume=True)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingDependency, match="Pillow"):
        check_samples_destination(tmp_path / "folder")
    check_samples_destination(tmp_path / "s.npz")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependency, match="pyarrow"):
        check_samples_destination(tmp_path / "s.parquet")


def test_a_synthesizer_writes_what_it_samples(tmp_path):
    codec = TinyCodec()
    mixture = DPGaussianMixture(epsilon=3.0, classes=[3, 5, 8], n_hint=300)
    model = Synthesizer(codec, mixture, codec).fit(*tiny_images(300))
    images, labels = model.sample(1500, 4, 0.7)
    model.write(tmp_path / "s.npz", 1500, 4, 0.7)
    with np.load(tmp_path / "s.npz") as archive:
        np.testing.assert_array_equal(archive["x"], images)
        np.testing.assert_array_equal(archive["y"], labels)
    model.write(tmp_path / "folder", 30, 4, 0.7, labels="mixture")
    np.testing.assert_array_equal(read_folder(tmp_path / "folder")[0], images[:30])
    (tmp_path / "folder" / "labels.csv").unlink()
    with pytest.raises(InvalidInput, match="is another image"):
        model.write(tmp_path / "folder", 30, 5, 0.7, resume=True)
    model.write(tmp_path / "folder", 30, 4, 0.7, resume=True)


def test_parquet_holds_classes_that_are_true_or_false(tmp_path):
    images, _ = random_images()
    labels = np.arange(20) % 3 == 0
    write_samples(tmp_path / "s.parquet", batches(images, labels), 20)
    assert parquet.read_table(tmp_path / "s.parquet")["label"].to_pylist() == labels.tolist()
