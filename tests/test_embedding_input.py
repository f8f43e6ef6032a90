"""What `embed` takes and refuses: folders, loaders, texts, encoders that break their promise."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from cloister.errors import InvalidInput, InvalidType
from cloister.neural.encoders import ModuleEncoder, Preprocessing, embed, read_provenance
from embed_slowly import Slow
from embedding_runs import IMAGES, LABELS, calls, changed, expected, rows_of


@pytest.fixture
def slow(tmp_path):
    return Slow(tmp_path / "calls.log")


@pytest.fixture(params=["rows.parquet", "rows.npy"])
def out(request, tmp_path):
    return tmp_path / request.param


def test_a_damaged_image_stops_the_run_and_once_mended_it_goes_on(slow, out, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (23, 40, 40), dtype=np.uint8)
    for place, image in enumerate(noise):
        Image.fromarray(image).save(folder / f"{place:02d}.png")
    whole = (folder / "17.png").read_bytes()
    (folder / "17.png").write_bytes(whole[:700])
    with pytest.raises(InvalidInput, match=r"17\.png' cannot be read"):
        embed(slow, folder, out)
    assert calls(slow) == noise[[0, 5, 10], 0, 0].tolist()
    (folder / "17.png").write_bytes(whole)
    embed(slow, folder, out)
    assert calls(slow) == noise[[0, 5, 10, 15, 20], 0, 0].tolist()
    np.testing.assert_array_equal(rows_of(out), expected(noise))


def test_folders_of_several_sizes_need_an_encoder_that_resizes(slow, out, tmp_path):
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (9, 5 + i % 3, 3), dtype=np.uint8) for i in range(7)]
    for place, image in enumerate(pixels):
        (folder / "ab"[place % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "ab"[place % 2] / f"{place}.png")
    with pytest.raises(InvalidInput, match="several sizes"):
        embed(slow, folder, out)
    net = torch.nn.Flatten()
    encoder = ModuleEncoder(net, preprocessing=Preprocessing(size=6), batch_size=3)
    embed(encoder, folder, out)
    order = [*range(0, 7, 2), *range(1, 7, 2)]
    np.testing.assert_array_equal(rows_of(out), encoder.encode([pixels[i] for i in order]))
    strict = ModuleEncoder(net, preprocessing=Preprocessing(size=6), batch_size=3, strict=True)
    np.testing.assert_array_equal(embed(strict, folder), rows_of(out))
    if out.suffix == ".parquet":
        assert pq.read_table(out)["label"].to_pylist() == list("aaaabbb")


def test_a_shuffled_loader_keeps_rows_and_labels_together(slow, out):
    pairs = TensorDataset(torch.from_numpy(IMAGES), torch.arange(23))
    embed(slow, DataLoader(pairs, batch_size=4, shuffle=True), out)
    labels = (
        np.asarray(pq.read_table(out)["label"])
        if out.suffix == ".parquet"
        else np.load(out.with_suffix(".labels.npy"))
    )
    np.testing.assert_array_equal(rows_of(out), expected()[labels])


def test_texts_are_embedded_too(tmp_path, out):
    class Letters:
        id, n_features, norm_bound, row_purity = "letters", 2, 1e6, "strict"
        modality, batch_size = "text", 2

        def encode(self, batch):
            return np.array([[len(text), ord(text[0])] for text in batch], np.float32)

    texts = ["one", "three", "nine"]
    embed(Letters(), texts, out, labels=["odd", "odd", "odd"])
    np.testing.assert_array_equal(rows_of(out)[:, 0], [3, 5, 4])
    with pytest.raises(InvalidInput, match="batch 0 is not the one"):
        embed(Letters(), ["one", "six", "nine"], out, labels=["odd"] * 3)
    with pytest.raises(InvalidType, match="texts"):
        embed(Letters(), IMAGES)


def test_encoders_that_break_their_promise_are_refused(slow):
    with pytest.raises(InvalidInput, match=r"norm \d.*norm_bound=1"):
        embed(changed(slow, norm_bound=1.0), IMAGES)
    with pytest.raises(InvalidInput, match=r"shape \(5, 4\).*n_features=3"):
        embed(changed(slow, n_features=3), IMAGES)
    nothing = changed(slow, encode=lambda batch: np.full((len(batch), 4), np.nan, np.float32))
    with pytest.raises(InvalidInput, match="norm nan"):
        embed(nothing, IMAGES)
    with pytest.raises(InvalidType, match="encoder must have id"):
        embed(len, IMAGES)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": LABELS[:5]}, InvalidInput, "5 entries.*23 images"),
        ({"labels": LABELS * 1j}, InvalidType, "complex"),
        ({"labels": LABELS[:, None]}, InvalidType, r"\(23, 1\)"),
        ({"resume": 1}, InvalidType, "resume"),
        ({"progress": "yes"}, InvalidType, "progress"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_embedded(slow, out, options, error, message):
    with pytest.raises(error, match=message):
        embed(slow, IMAGES, out, **options)
    assert not Path(slow.log).exists()


@pytest.mark.parametrize("name", ["rows.txt", "nowhere/rows.npy", "."])
def test_bad_places_are_refused(slow, tmp_path, name):
    with pytest.raises(InvalidInput, match="out"):
        embed(slow, IMAGES, tmp_path / name)
    with pytest.raises(InvalidInput, match="need out"):
        embed(slow, IMAGES, labels=LABELS)


def test_a_damaged_note_of_the_encoder_is_told(slow, tmp_path):
    embed(slow, IMAGES, tmp_path / "rows.npy")
    note = tmp_path / "rows.npy.json"
    note.write_text(note.read_text()[:-20])
    with pytest.raises(InvalidInput, match="damaged note of its encoder"):
        read_provenance(tmp_path / "rows.npy")
    note.unlink()
    assert read_provenance(tmp_path / "rows.npy") is None


def test_a_file_of_many_groups_has_all_rows_in_order(slow, out, monkeypatch):
    monkeypatch.setattr("cloister.neural.embedding_file._GROUP_BYTES", 4 * 4 * 7)
    embed(slow, IMAGES, out, labels=LABELS)
    np.testing.assert_array_equal(rows_of(out), expected())
    if out.suffix == ".parquet":
        assert pq.ParquetFile(out).metadata.num_row_groups == 4


def test_progress_is_shown_on_a_terminal_only(slow, capsys, monkeypatch):
    embed(slow, IMAGES)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    embed(slow, IMAGES)
    assert "23/23" in capsys.readouterr().err
    embed(slow, IMAGES, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["rows.parquet", "rows.npy"])
def test_beginning_anew_leaves_files_alone_that_it_did_not_write(slow, tmp_path, name):
    def interrupted(batch):
        raise KeyboardInterrupt

    out, own = tmp_path / name, tmp_path / "rows.labels.npy"
    np.save(own, LABELS)
    for encode in (interrupted, slow.encode, interrupted):
        with suppress(KeyboardInterrupt):
            embed(changed(slow, encode=encode), IMAGES, out, labels=str(own), resume=False)
        np.testing.assert_array_equal(np.load(own), LABELS)


def test_labels_that_it_wrote_go_with_the_rows_that_they_were_of(slow, tmp_path):
    out = tmp_path / "rows.npy"
    embed(slow, IMAGES, out, labels=LABELS)
    embed(slow, IMAGES, out, resume=False)
    assert not out.with_suffix(".labels.npy").exists()


def test_a_note_beside_other_rows_is_refused(slow, tmp_path):
    out = tmp_path / "rows.npy"
    embed(slow, IMAGES, out)
    np.save(out, rows_of(out)[:9])
    with pytest.raises(InvalidInput, match=r"shape \(9, 4\), but .*made \(23, 4\)"):
        read_provenance(out)
    out.write_bytes(b"no array")
    assert read_provenance(out).n == 23  # who reads the rows says what is wrong
