"""Embedding into files: nothing is lost, nothing is done twice, nothing is mixed up."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from cloister import DPGaussianMixture
from cloister.errors import InvalidInput
from cloister.neural import embedding_progress
from cloister.neural.encoders import embed, read_provenance
from embed_slowly import Slow
from embedding_runs import IMAGES, LABELS, calls, changed, expected, rows_of


@pytest.fixture
def slow(tmp_path):
    return Slow(tmp_path / "calls.log")


@pytest.fixture(params=["rows.parquet", "rows.npy"])
def out(request, tmp_path):
    return tmp_path / request.param


def stop_after(slow, batches, error=KeyboardInterrupt):
    """Let the encoder be interrupted in the middle of a batch."""
    encode = slow.encode

    def interrupted(batch):
        nonlocal batches
        batches -= 1
        found = encode(batch)
        if batches < 0:
            raise error
        return found

    slow.encode = interrupted
    return slow


def test_without_a_file_the_array_is_returned(slow):
    np.testing.assert_array_equal(embed(slow, IMAGES), expected())
    assert calls(slow) == [0, 5, 10, 15, 20]


def test_files_hold_rows_labels_and_where_they_came_from(slow, out):
    assert embed(slow, IMAGES, out, labels=LABELS) == out
    np.testing.assert_array_equal(rows_of(out), expected())
    made = read_provenance(out)
    assert (made.encoder_id, made.row_purity, made.norm_bound) == ("slow", "unchecked", 1000.0)
    assert (made.n, made.n_features) == (23, 4)
    if out.suffix == ".parquet":
        table = pq.read_table(out)
        assert table["label"].to_pylist() == LABELS.tolist()
        assert str(table.schema.field("embedding").type).startswith("fixed_size_list")
        y, labels = f"{out}:embedding", "label"
    else:
        np.testing.assert_array_equal(np.load(out.with_suffix(".labels.npy")), LABELS)
        assert json.loads(Path(f"{out}.json").read_text())["encoder_id"] == "slow"
        y, labels = str(out), str(out.with_suffix(".labels.npy"))
    model = DPGaussianMixture(classes=[0, 1, 2], clip_norm=1000.0).fit(y, labels)
    assert model.classes_.tolist() == [0, 1, 2]
    assert sorted(p.name for p in out.parent.iterdir() if ".part" in p.name) == []


def test_a_complete_file_is_not_computed_again(slow, out):
    embed(slow, IMAGES, out, labels=LABELS)
    before = out.read_bytes()
    embed(slow, IMAGES, out, labels=LABELS)
    assert len(calls(slow)) == 5
    embed(slow, IMAGES, out, labels=LABELS, resume=False)
    assert len(calls(slow)) == 10
    assert out.read_bytes() == before


@pytest.mark.parametrize("finished", [0, 1, 3, 4])
@pytest.mark.parametrize("stream", [False, True])
def test_an_interrupted_run_goes_on_with_the_batch_in_flight(out, tmp_path, finished, stream):
    def images():
        if not stream:
            return IMAGES
        pairs = TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
        return DataLoader(pairs, batch_size=4)  # of another size than the encoder's

    whole = tmp_path / ("whole" + out.suffix)
    labels = None if stream else LABELS
    embed(Slow(tmp_path / "other.log"), images(), whole, labels=labels)
    stopped = stop_after(Slow(tmp_path / "calls.log"), finished)
    with pytest.raises(KeyboardInterrupt):
        embed(stopped, images(), out, labels=labels)
    assert not out.exists()
    again = Slow(tmp_path / "calls.log")
    embed(again, images(), out, labels=labels)
    order = list(range(0, 25, 5))
    assert calls(again) == order[: finished + 1] + order[finished:]  # the one in flight, twice
    assert out.read_bytes() == whole.read_bytes()
    if out.suffix == ".parquet":
        assert pq.read_table(out)["label"].to_pylist() == LABELS.tolist()


def test_a_run_that_failed_at_the_end_computes_nothing_again(slow, out, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("cloister.neural.embedding.write_embedding", full)
        with pytest.raises(OSError, match="no space"):
            embed(slow, IMAGES, out)
    embed(slow, IMAGES, out)
    assert len(calls(slow)) == 5
    np.testing.assert_array_equal(rows_of(out), expected())


def test_killed_at_any_moment_nothing_is_lost_and_nothing_repeated(tmp_path):
    many = np.arange(100, dtype=np.uint8)[:, None, None] + np.zeros((1, 2, 2), np.uint8)
    np.save(tmp_path / "images.npy", many)
    out, log = tmp_path / "rows.npy", tmp_path / "calls.log"
    script = Path(__file__).with_name("embed_slowly.py")
    command = [sys.executable, str(script), str(tmp_path / "images.npy"), str(out), str(log)]
    random.seed(0)
    kills = 0
    while kills < 4 and not out.exists():
        done = len(calls(Slow(log))) if log.exists() else 0
        running = subprocess.Popen(command)
        while running.poll() is None and (not log.exists() or len(calls(Slow(log))) <= done):
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.1))
        if running.poll() is None:
            os.kill(running.pid, signal.SIGKILL)
            kills += 1
        running.wait()
    assert kills > 0
    subprocess.run(command, check=True, timeout=120)
    np.testing.assert_array_equal(np.load(out), expected(many))
    seen = calls(Slow(log))
    assert sorted(set(seen)) == list(range(0, 100, 5))
    assert len(seen) <= 20 + kills  # no batch but those in flight is computed twice
    assert seen == sorted(seen)  # and none long finished


@pytest.mark.parametrize("lost", [1, 3, 40, 110, 111, 200])
def test_a_torn_tail_is_cut_off(slow, out, tmp_path, lost):
    with pytest.raises(KeyboardInterrupt):
        embed(stop_after(slow, 3), IMAGES, out)
    part = out.with_name(out.name + ".part")
    part.write_bytes(part.read_bytes()[:-lost])
    embed(Slow(tmp_path / "calls.log"), IMAGES, out)
    np.testing.assert_array_equal(rows_of(out), expected())


def test_a_flipped_bit_and_zeros_after_a_power_cut_are_found(slow, out, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        embed(stop_after(slow, 3), IMAGES, out)
    part = out.with_name(out.name + ".part")
    content = bytearray(part.read_bytes())
    content[-5] ^= 1
    part.write_bytes(content + bytes(500))
    embed(Slow(tmp_path / "calls.log"), IMAGES, out)
    np.testing.assert_array_equal(rows_of(out), expected())
    assert calls(slow) == [0, 5, 10, 15, 10, 15, 20]


def test_a_run_killed_while_it_began_begins_again(slow, out):
    part = out.with_name(out.name + ".part")
    with pytest.raises(KeyboardInterrupt):
        embed(stop_after(slow, 0), IMAGES, out)
    part.write_bytes(part.read_bytes()[:30])
    embed(Slow(slow.log), IMAGES, out)
    np.testing.assert_array_equal(rows_of(out), expected())


OTHER = {
    "another encoder": ({"id": "quick"}, IMAGES, LABELS, "encoder_id='quick'.*'slow'"),
    "other batches": ({"batch_size": 4}, IMAGES, LABELS, "batch_size=4.*5"),
    "strict": ({"row_purity": "strict"}, IMAGES, LABELS, "strict=True.*False"),
    "another norm": ({"norm_bound": 999.0}, IMAGES, LABELS, "norm_bound=999.0"),
    "fewer images": ({}, IMAGES[:20], LABELS[:20], "n=20.*23"),
    "other labels": ({}, IMAGES, LABELS + 1, "labels="),
    "no labels": ({}, IMAGES, None, "labels=None"),
    "other images": ({}, IMAGES[::-1], LABELS, "batch 0 is not the one"),
}


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("case", OTHER)
def test_another_run_is_refused_and_harms_nothing(slow, out, case, complete):
    attributes, images, labels, message = OTHER[case]
    if complete:
        embed(slow, IMAGES, out, labels=LABELS)
    else:
        with pytest.raises(KeyboardInterrupt):
            embed(stop_after(slow, 2), IMAGES, out, labels=LABELS)
    done = len(calls(slow))
    with pytest.raises(InvalidInput, match=message):
        embed(changed(slow, **attributes), images, out, labels=labels)
    assert len(calls(slow)) == done
    embed(Slow(slow.log), IMAGES, out, labels=LABELS)
    np.testing.assert_array_equal(rows_of(out), expected())
    embed(changed(slow, **attributes), images, out, labels=labels, resume=False)
    np.testing.assert_array_equal(rows_of(out), expected(images))


def test_a_stream_that_changed_is_refused(slow, out):
    with pytest.raises(KeyboardInterrupt):
        embed(stop_after(slow, 3), [IMAGES[:9], IMAGES[9:]], out)
    for other in ([IMAGES[:7], IMAGES[:16]], [IMAGES[:9]]):
        with pytest.raises(InvalidInput, match="batch 1 is not the one"):
            embed(Slow(slow.log), other, out)
    embed(Slow(slow.log), [IMAGES[:1], IMAGES[1:]], out)  # the cut does not matter
    np.testing.assert_array_equal(rows_of(out), expected())


def test_foreign_files_are_not_overwritten(slow, out):
    if out.suffix == ".npy":
        np.save(out, IMAGES)
    else:
        out.write_bytes(b"mine")
    with pytest.raises(InvalidInput, match="is there already and no embedding of cloister"):
        embed(slow, IMAGES, out)
    out.unlink()
    part = out.with_name(out.name + ".part")
    part.write_text("mine")
    with pytest.raises(InvalidInput, match="is no unfinished embedding"):
        embed(slow, IMAGES, out)
    assert part.read_text() == "mine"


def test_two_processes_do_not_write_one_file(slow, out):
    with pytest.raises(KeyboardInterrupt):
        embed(stop_after(slow, 2), IMAGES, out)
    part = out.with_name(out.name + ".part")
    run = json.loads(part.read_bytes().splitlines()[0])
    run.pop("format")
    with (
        embedding_progress.UnfinishedRun(part, run, resume=True),
        pytest.raises(InvalidInput, match="in use by another process"),
    ):
        embed(Slow(slow.log), IMAGES, out)
    embed(Slow(slow.log), IMAGES, out)
    np.testing.assert_array_equal(rows_of(out), expected())
