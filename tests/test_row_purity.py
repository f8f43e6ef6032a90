"""Modules whose rows depend on their batch are caught; the strict mode rules it out."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cloister import DPGaussianMixture, DPKMeans
from cloister.errors import InvalidInput
from cloister.neural.encoders import ModuleEncoder, Preprocessing, check_row_purity
from cloister.privacy.guarantee import PrivacyGuarantee

pytestmark = pytest.mark.usefixtures("one_torch_thread")
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
SMALL = Preprocessing(size=8)


class Flat(nn.Module):
    """A linear layer; subclasses spoil it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(192, 6)

    def forward(self, pixels):
        return self.spoil(self.linear(pixels.flatten(1)))

    def spoil(self, rows):
        return rows


class CrossAttention(Flat):
    def spoil(self, rows):
        return torch.softmax(rows @ rows.T, dim=1) @ rows


class BatchMean(Flat):
    def spoil(self, rows):
        return rows - 1e-6 * rows.mean(dim=0)


class BatchStatistics(Flat):
    def spoil(self, rows):
        return nn.functional.batch_norm(rows, None, None, training=True)


class Dropping(Flat):
    def spoil(self, rows):
        return nn.functional.dropout(rows)  # always on: training defaults to True


class ByPlace(Flat):
    def spoil(self, rows):
        return rows + torch.arange(len(rows))[:, None] * 1e-4


class Remembering(Flat):
    seen = 0

    def spoil(self, rows):
        self.seen += 1
        return rows + self.seen * 1e-3


class ByThreads(Flat):
    def spoil(self, rows):
        return rows + torch.get_num_threads() * 1e-4


SPOILT = {
    CrossAttention: {"alone", "other neighbours"},
    BatchMean: {"alone", "other neighbours", "blank neighbours"},
    BatchStatistics: {"alone", "other neighbours"},
    Dropping: {"again"},
    ByPlace: {"other places", "copies of itself"},
    Remembering: {"again"},
}


def encoder(module, **options):
    torch.manual_seed(0)
    return ModuleEncoder(module(), preprocessing=SMALL, batch_size=16, **options)


def test_a_pure_module_is_found_pure_and_says_that_it_was_measured():
    flat = encoder(Flat)
    assert flat.row_purity == "unchecked"
    found = flat.check_row_purity(IMAGES)
    assert found.pure
    assert found.largest_difference == 0
    assert (found.n_rows, found.batch_size) == (8, 16)
    assert "other places" in found.summary()
    assert flat.row_purity == "measured"


@pytest.mark.parametrize("module", SPOILT)
def test_a_module_whose_rows_depend_on_their_batch_is_found(module):
    spoilt = encoder(module)
    found = spoilt.check_row_purity(IMAGES)
    assert not found.pure
    assert SPOILT[module] <= {name for name, count in found.differing_rows.items() if count}
    assert found.largest_difference > 0
    assert "rows depend on their batch" in found.summary()
    assert spoilt.row_purity == "unchecked"


def test_bits_that_change_with_the_number_of_threads_are_told_and_are_no_impurity():
    found = encoder(ByThreads).check_row_purity(IMAGES)
    assert found.differing_rows["other numbers of threads"] == 8
    assert found.pure
    assert found.largest_difference > 1e-5
    assert found.summary().endswith("; other numbers of threads change them")
    assert not encoder(ByThreads, strict=True).check_row_purity(IMAGES).largest_difference


# torch itself refuses statistics of one row; nothing rules out what Python remembers.
@pytest.mark.parametrize(
    "module", [*(m for m in SPOILT if m not in (Remembering, BatchStatistics))]
)
def test_strict_makes_rows_pure_by_construction(module):
    strict = encoder(module, strict=True)
    assert strict.row_purity == "strict"
    found = strict.check_row_purity(IMAGES)
    assert found.pure, found.summary()


def test_strict_refuses_statistics_of_a_batch():
    with pytest.raises(InvalidInput, match=r"cannot compute a batch.*more than 1 value"):
        encoder(BatchStatistics, strict=True)


def test_strict_sees_batches_of_one_on_one_thread_and_puts_everything_back():
    seen = []

    class Watching(Flat):
        def spoil(self, rows):
            deterministic = torch.are_deterministic_algorithms_enabled()
            seen.append((len(rows), torch.get_num_threads(), deterministic))
            return rows

    strict = encoder(Watching, strict=True)
    torch.set_num_threads(2)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    strict.encode(IMAGES[:4])
    assert set(seen) == {(1, 1, True)}
    assert torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_any_encoder_can_be_checked():
    class Own:
        id, n_features, norm_bound, row_purity = "own", 64, 1e9, "unchecked"

        def encode(self, batch):
            return batch.reshape(len(batch), -1).astype(np.float32)

    assert check_row_purity(Own(), IMAGES).pure
    own = Own()
    own.encode = lambda batch: Own().encode(batch) * len(batch)
    assert not check_row_purity(own, IMAGES).pure
    assert check_row_purity(Own(), [IMAGES[:3], IMAGES[3:]], n_rows=2).n_rows == 2
    with pytest.raises(InvalidInput, match="n_rows=0"):
        check_row_purity(Own(), IMAGES, n_rows=0)


def test_the_sign_of_a_zero_is_a_difference_too():
    class Signed:
        id, n_features, norm_bound, row_purity = "signed", 1, 1, "unchecked"
        calls = 0

        def encode(self, batch):
            self.calls += 1
            return np.full((len(batch), 1), 0.0 if self.calls == 1 else -0.0, np.float32)

    found = check_row_purity(Signed(), IMAGES)
    assert not found.pure
    assert found.largest_difference == 0


@pytest.mark.parametrize("estimator", [DPGaussianMixture, DPKMeans])
def test_purity_reaches_the_statement_and_survives_a_file(estimator, tmp_path):
    rows = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    said = {}
    for purity in (None, "unchecked", "measured", "strict"):
        options = {} if estimator is DPGaussianMixture else {"n_clusters": 2}
        model = estimator(epsilon=3.0, encoder_id="net", row_purity=purity, **options).fit(rows)
        model.save(tmp_path / "model")
        loaded = estimator.load(tmp_path / "model")
        assert loaded.row_purity == loaded.privacy_.row_purity == purity
        said[purity] = loaded.privacy_.statement()
    assert "does not extend to the records" in said["unchecked"]
    assert "does not extend to the records" in said[None]
    assert "A test found that the encoder 'net' computes a row alike" in said["measured"]
    assert "extends from the embeddings to the records" in said["strict"]
    assert "not extend" not in said["strict"] + said["measured"]
    with pytest.raises(InvalidInput, match="row_purity='certain'"):
        estimator(row_purity="certain", **options).fit(rows)


def test_guarantees_of_older_files_have_no_purity():
    rows = np.random.default_rng(0).normal(size=(200, 4))
    guarantee = DPGaussianMixture(epsilon=1.0, row_purity="strict").fit(rows).privacy_
    plain = guarantee.to_dict()
    plain.pop("row_purity")
    assert PrivacyGuarantee.from_dict(plain) == replace(guarantee, row_purity=None)


def test_an_encoder_keeps_no_figure_of_the_rows_it_was_checked_on():
    pure = encoder(Flat)
    pure.check_row_purity(IMAGES)
    assert pure.row_purity == "measured"
    assert b"RowPurity" not in pickle.dumps(pure)
