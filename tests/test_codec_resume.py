"""An interrupted training of a codec goes on, bit for bit."""

import pytest

from cloister.errors import ModelFileError
from cloister.neural import codec_run
from cloister.neural.decoders import train_codec
from tiny_codecs import TINY, images, same, tiny_codec

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Stop(BaseException):
    pass


def stop_after(epoch):
    def progress(done):
        if done.number == epoch:
            raise Stop

    return progress


@pytest.mark.parametrize("kl_weight", [0.0, 0.05])
@pytest.mark.parametrize("stops", [[1], [2], [1, 2, 3]])
def test_an_interrupted_training_ends_bit_for_bit_as_an_uninterrupted_one(
    tmp_path, kl_weight, stops
):
    options = {"epochs": 4, "kl_weight": kl_weight}
    whole = tiny_codec(**options)
    file = tmp_path / "checkpoint"
    for epoch in stops:
        with pytest.raises(Stop):
            tiny_codec(resume=file, progress=stop_after(epoch), **options)
    told = []
    resumed = tiny_codec(resume=str(file), progress=told.append, **options)
    assert [epoch.number for epoch in told] == list(range(stops[-1] + 1, 5))
    assert same(resumed, whole)
    assert resumed.training == whole.training
    assert same(tiny_codec(resume=file, **options), whole)  # nothing is left to do


def test_an_interruption_within_an_epoch_repeats_that_epoch(tmp_path, monkeypatch):
    file = tmp_path / "checkpoint"
    steps = []
    step = codec_run.CodecRun._step

    def stopping(self, *arguments):
        steps.append(self.epoch)
        if len(steps) == 8:
            raise Stop
        return step(self, *arguments)

    monkeypatch.setattr(codec_run.CodecRun, "_step", stopping)
    with pytest.raises(Stop):
        tiny_codec(resume=file, epochs=3)
    assert steps[-1] == 2
    monkeypatch.setattr(codec_run.CodecRun, "_step", step)
    assert same(tiny_codec(resume=file, epochs=3), tiny_codec(epochs=3))


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    file = tmp_path / "checkpoint"
    tiny_codec(resume=file)
    for change, message in [
        ({"epochs": 5}, r"is of a training with epochs=2, but this one has 5"),
        ({"n_features": 3}, "n_features=6, but this one has 3"),
        ({"random_state": 7}, "seed=0, but this one has 7"),
        ({"n": 70}, "n_images=80, but this one has 70"),
        ({"shape": (10, 12)}, r"image_shape=\[12, 10\], but this one has \[10, 12\]"),
        ({"public_data": "others"}, "name='procedural images', but this one has 'others'"),
    ]:
        with pytest.raises(ModelFileError, match=message):
            tiny_codec(resume=file, **change)
    with pytest.raises(ModelFileError, match="sha256="):
        train_codec(images(seed=1), resume=file, **TINY)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    file = tmp_path / "checkpoint"
    tiny_codec(resume=file)
    content = file.read_bytes()
    file.write_bytes(content[:-9])
    with pytest.raises(ModelFileError, match="damaged"):
        tiny_codec(resume=file)
    file.write_bytes(content.replace(b'\\"epoch\\":2', b'\\"epoch\\":9'))
    with pytest.raises(ModelFileError, match="epoch 9 after 10 steps of 2 epochs"):
        tiny_codec(resume=file)
    with pytest.raises(ModelFileError, match=r"resume: .* is a directory"):
        tiny_codec(resume=tmp_path)
