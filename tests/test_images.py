"""Images from whatever a caller has: the same pixels in the same order, or a typed error."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.encoders import as_images

GREY = np.random.default_rng(0).integers(0, 256, (7, 5, 6), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)


def read(images, size=3):
    batches = list(as_images(images).batches(size))
    assert [len(found) for found, _ in batches[:-1]] == [size] * (len(batches) - 1)
    labels = [one for _, classes in batches for one in (() if classes is None else classes)]
    return [image for found, _ in batches for image in found], labels


def assert_same(images, expected):
    found, _ = read(images)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def folder(tmp_path):
    """Two classes; colour and grey, PNG and lossless WebP, names out of order."""
    for name, image in (("b/2.png", COLOUR[2]), ("b/10.webp", COLOUR[1]), ("a/x.png", COLOUR[0])):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, **({"lossless": True} if "webp" in name else {}))
    (tmp_path / "set" / "b" / "notes.txt").write_text("no image")
    (tmp_path / "set" / ".hidden").mkdir()
    return tmp_path / "set"


@pytest.mark.parametrize("pixels", [GREY, COLOUR])
def test_arrays_in_all_their_forms_give_the_same_pixels(pixels, tmp_path):
    np.save(tmp_path / "a.npy", pixels)
    np.savez(tmp_path / "a.npz", pixels=pixels, y=np.arange(7))
    forms = [
        pixels,
        pixels / 255,
        (pixels / 255).astype(np.float32),
        pixels[:, ::-1][:, ::-1],
        np.load(tmp_path / "a.npy", mmap_mode="r"),
        str(tmp_path / "a.npy"),
        tmp_path / "a.npz",
        f"{tmp_path / 'a.npz'}:pixels",
        torch.from_numpy(pixels),
        [Image.fromarray(image) for image in pixels],
        [pixels[:2], pixels[2:]],
        iter([pixels[:4], pixels[4:]]),
    ]
    for form in forms:
        assert_same(form, pixels)


def test_an_axis_of_one_channel_is_grey_and_channels_may_come_first():
    assert_same(GREY[..., None], GREY)
    assert_same(torch.from_numpy(GREY)[:, None], GREY)
    assert_same(torch.from_numpy(COLOUR).permute(0, 3, 1, 2), COLOUR)
    assert_same(torch.from_numpy(COLOUR).permute(0, 3, 1, 2) / 255, COLOUR)


def test_folders_are_read_in_the_order_of_names_with_their_classes(folder):
    source = as_images(folder)
    assert (source.n, source.labels.tolist()) == (3, ["a", "b", "b"])
    found, labels = read(folder, 2)
    assert labels == ["a", "b", "b"]
    for one, other in zip(found, COLOUR[:3], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_flat_folder_a_pattern_and_a_list_have_no_labels(folder):
    for form in (folder / "b", str(folder / "b" / "*.*g"), [folder / "b" / "2.png"]):
        assert as_images(form).labels is None
    assert_same([str(folder / "b" / "2.png"), folder / "a" / "x.png"], COLOUR[[2, 0]])


def test_grey_files_stay_grey_unless_one_has_colours(tmp_path):
    Image.fromarray(GREY[0]).save(tmp_path / "0.png")
    Image.fromarray(GREY[1].astype(np.uint16) * 256).save(tmp_path / "1.png")  # 16 bits
    assert_same(tmp_path, GREY[:2])
    Image.fromarray(COLOUR[0]).save(tmp_path / "2.png")
    assert_same(tmp_path, [*(np.repeat(g[..., None], 3, 2) for g in GREY[:2]), COLOUR[0]])


def test_modes_are_converted_and_photographs_turned_upright(tmp_path):
    paint = Image.fromarray(COLOUR[0])
    alpha = np.dstack([COLOUR[0], np.full((5, 6), 9, np.uint8)])
    Image.fromarray(alpha, "RGBA").save(tmp_path / "0.png")
    exif = paint.getexif()
    exif[0x0112] = 6  # the camera was turned: a quarter clockwise makes it upright
    paint.save(tmp_path / "1.png", exif=exif)
    first, second = read(tmp_path)[0]
    np.testing.assert_array_equal(first, COLOUR[0])
    np.testing.assert_array_equal(second, np.rot90(COLOUR[0], -1))
    palette = paint.convert("P")
    assert_same([palette], [np.asarray(palette.convert("RGB"))])


def test_transparency_of_a_palette_is_dropped_without_a_warning(tmp_path):
    picture = Image.fromarray(COLOUR[0]).quantize(8)
    picture.save(tmp_path / "p.png", transparency=bytes([0, 128, 255]))
    assert_same(tmp_path, [np.asarray(picture.convert("RGB"))])


def test_data_sets_and_loaders_of_torch(folder):
    tensors = torch.from_numpy(COLOUR).permute(0, 3, 1, 2)
    classes = torch.arange(7) % 3
    pairs = TensorDataset(tensors, classes)
    for form in (pairs, DataLoader(pairs, batch_size=4), [(tensors[:5], classes[:5]),
                                                          (tensors[5:], classes[5:])]):  # fmt: skip
        found, labels = read(form)
        np.testing.assert_array_equal(np.stack(found), COLOUR)
        assert labels == classes.tolist()
    assert_same(TensorDataset(tensors), COLOUR)
    assert_same(DataLoader(tensors / 255, batch_size=2), COLOUR)


def test_a_data_set_with_targets_is_read_from_anywhere():
    class Pictures(torch.utils.data.Dataset):
        targets = (5, 6, 7)

        def __len__(self):
            return 3

        def __getitem__(self, place):
            return Image.fromarray(COLOUR[place]), self.targets[place]

    source = as_images(Pictures())
    assert source.labels.tolist() == [5, 6, 7]
    np.testing.assert_array_equal(source.read(1, 3), COLOUR[1:3])


ARRAYS = {
    "four channels": (np.zeros((2, 5, 5, 4), np.uint8), InvalidInput, "4 channels"),
    "two channels": (np.zeros((2, 5, 5, 2), np.uint8), InvalidInput, "2 channels"),
    "two axes": (np.zeros((5, 5), np.uint8), InvalidInput, "2 axes"),
    "no pixels": (np.zeros((2, 0, 5), np.uint8), InvalidInput, "0 pixels"),
    "no image": (np.zeros((0, 5, 5), np.uint8), InvalidInput, "0 images"),
    "too bright": (np.full((2, 5, 5), 255.0), InvalidInput, r"to 255.*\[0, 1\]"),
    "negative": (np.full((2, 5, 5), -0.1), InvalidInput, r"\[0, 1\]"),
    "not a number": (np.full((2, 5, 5), np.nan), InvalidInput, r"\[0, 1\]"),
    "integers": (np.zeros((2, 5, 5), np.int64), InvalidType, "int64"),
    "objects": (np.array([["a"]]), InvalidInput, "axes"),
    "an empty list": ([], InvalidInput, "0 images"),
    "a list of numbers": ([1, 2], InvalidType, "int"),
    "one image a part": ([COLOUR[0], COLOUR[1]], InvalidType, "numpy.stack"),
    "nothing": (None, InvalidType, "NoneType"),
    "a number": (3, InvalidType, "int"),
    "named arrays": ({"x": GREY}, InvalidType, "not numbered from 0"),
    "no such file": ("nowhere/at_all", InvalidInput, "no file or folder"),
    "no such pattern": ("nowhere/*.png", InvalidInput, "no file or folder"),
    "no such array file": ("nowhere.npz", InvalidInput, "no file"),
    "no such list": (["nowhere.png"], InvalidInput, "no file"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_what_is_no_image_is_refused_at_once(case):
    images, error, message = ARRAYS[case]
    with pytest.raises(error, match=message):
        as_images(images)


def test_bad_floats_are_found_in_the_last_image_too():
    pixels = np.zeros((3000, 2, 2))
    pixels[-1, 0, 0] = 1.5
    with pytest.raises(InvalidInput, match=r"\[0, 1\]"):
        as_images(pixels)


def test_folders_without_images_are_refused(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    for name in ("empty", "texts"):
        with pytest.raises(InvalidInput, match="0 images"):
            as_images(tmp_path / name)
    (folder / "c").mkdir()
    with pytest.raises(InvalidInput, match=r"class folder '.*c' holds 0 images"):
        as_images(folder)
    (folder / "c").rmdir()
    Image.fromarray(GREY[0]).save(folder / "loose.png")
    with pytest.raises(InvalidInput, match="1 images beside 2 subfolders"):
        as_images(folder)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"not an image at all" * 10])
def test_a_file_that_is_no_image_is_named_before_anything_is_read(folder, content):
    (folder / "b" / "broken.png").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"broken\.png' cannot be read as an image"):
        as_images(folder)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_truncated_file_is_named_when_it_is_read(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("0", "1"):
        Image.fromarray(noise).save(tmp_path / f"{name}.{suffix}")
    whole = (tmp_path / f"1.{suffix}").read_bytes()
    (tmp_path / f"1.{suffix}").write_bytes(whole[: len(whole) // 2])
    source = as_images(tmp_path)
    source.read(0, 1)
    with pytest.raises(InvalidInput, match=rf"1\.{suffix}' cannot be read.*replace or remove"):
        source.read(1, 2)


def test_damaged_arrays_and_wrong_keys_are_refused(tmp_path):
    np.save(tmp_path / "cut.npy", GREY)
    whole = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-10])
    with pytest.raises(InvalidInput, match="cut short"):
        as_images(tmp_path / "cut.npy")
    np.savez(tmp_path / "two.npz", a=GREY, b=GREY, y=np.arange(7))
    with pytest.raises(InvalidInput, match=r"2 array of images.*'a', 'b'"):
        as_images(tmp_path / "two.npz")
    with pytest.raises(InvalidInput, match="no array 'c'"):
        as_images(f"{tmp_path / 'two.npz'}:c")


def test_bad_items_of_data_sets_are_named():
    def items(item):
        return as_images(DataLoader([item, item], batch_size=None)).batches(2)

    for item, error, message in (
        (torch.zeros(4, 5, 5), InvalidInput, "item 0.*4 channels"),
        (torch.full((3, 5, 5), 2.0), InvalidInput, r"item 0.*\[0, 1\]"),
        ({"image": 1}, InvalidType, "dict"),
        ("text", InvalidType, "str"),
    ):
        with pytest.raises(error, match=message):
            next(items(item))
    with pytest.raises(InvalidInput, match="5 images and 4 labels"):
        next(as_images([(COLOUR[:5], range(4))]).batches(2))


def test_targets_that_the_data_set_maps_are_those_of_its_items():
    class Mapped(torch.utils.data.Dataset):
        targets = (4, 5, 6, 7, 8, 9, 10)
        target_transform = staticmethod(lambda target: target % 2)

        def __len__(self):
            return len(GREY)

        def __getitem__(self, place):
            return GREY[place], self.target_transform(self.targets[place])

    images, labels = read(Mapped())
    np.testing.assert_array_equal(np.stack(images), GREY)
    assert labels == [0, 1, 0, 1, 0, 1, 0]
