"""DPKMeans(metric="cosine"): spherical k-means of rows that are scaled one by one."""

import numpy as np
import pytest

from cloister import DPKMeans, KMeans
from cloister.codes import CODE_BOUND, CodeGrid
from cloister.engines import LocalEngine
from cloister.errors import InvalidInput, ModelFileError
from cloister.model_file import read_model, write_model
from cloister.privacy.sensitivity import tally_sensitivity
from cloister.sources import as_source, encode_labels
from untouchable import untouchable

REPEATABLE = {"metric": "cosine", "random_state": 0, "unsafe_noise_seed": 0}


def cones(n=6_000, d=8, k=5, seed=0):
    """Directions about k axes, each row of another length."""
    rng = np.random.default_rng(seed)
    axes = rng.standard_normal((k, d))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    rows = axes[rng.integers(k, size=n)] + 0.15 * rng.standard_normal((n, d)) / np.sqrt(d)
    return rows * 10.0 ** rng.uniform(-3, 3, size=(n, 1))


def test_lengths_of_rows_do_not_matter():
    rows = cones()
    exact = np.ldexp(rows, np.random.default_rng(1).integers(-20, 20, size=(len(rows), 1)))
    model, other = (DPKMeans(5, **REPEATABLE).fit(X.astype("f4")) for X in (rows, exact))
    assert (model.cluster_centers_ == other.cluster_centers_).all()
    assert (model.predict(rows) == model.predict(exact)).all()


def test_centres_lie_on_the_sphere_and_score_is_one_minus_the_cosine():
    rows = cones()
    model = DPKMeans(5, 2.0, compute_labels=True, **REPEATABLE).fit(rows)
    np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1, rtol=1e-12)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ model.cluster_centers_.T
    assert (model.labels_ == cosines.argmax(axis=1)).mean() > 0.999
    assert (model.predict(rows) == model.labels_).all()
    assert (DPKMeans(5, 2.0, **REPEATABLE).fit_predict(rows) == model.labels_).all()
    assert model.score(rows) == pytest.approx(-(1 - cosines.max(axis=1)).mean(), rel=1e-6)


def test_private_centres_are_nearly_those_of_spherical_k_means():
    rows = cones(20_000)
    best = KMeans(5, metric="cosine", n_init=5, random_state=0).fit(rows)
    for epsilon, limit in ((1.0, 1.02), (np.inf, 1.002)):
        model = DPKMeans(5, epsilon, metric="cosine", random_state=0, unsafe_noise_seed=3).fit(rows)
        assert -model.score(rows) < limit * best.inertia_ / len(rows)
    assert best.score(rows) == pytest.approx(-best.inertia_)  # the same convention


def test_a_zero_row_moves_no_centre_and_costs_one():
    rows = cones(3_000)
    with_zeros = np.concatenate([rows, np.zeros((300, 8))])
    start = rows[:5]
    options = {"metric": "cosine", "init": start, "epsilon": np.inf, "n_rounds": 1}
    model, other = (DPKMeans(5, **options).fit(X) for X in (rows, with_zeros))
    # They are counted, in whichever cell is nearest to zero, and shorten its mean: no direction.
    angles = (model.cluster_centers_ * other.cluster_centers_).sum(axis=1)
    assert (angles > 1 - 1e-3).all()
    assert other.score(np.zeros((1, 8))) == -1.0
    assert other.noisy_counts_.sum() == 3_300
    nothing = DPKMeans(3, metric="cosine").fit(np.zeros((50, 4)))
    np.testing.assert_allclose(np.linalg.norm(nothing.cluster_centers_, axis=1), 1, rtol=1e-12)
    assert len(np.unique(nothing.cluster_centers_, axis=0)) == 3


def test_one_row_of_any_length_changes_a_tally_by_its_sensitivity_at_most():
    grid, d = CodeGrid(4, 1.0, normalize=True), 4
    centres = grid.round_centres(np.eye(4)[:3])[None]
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((40, d)) * 10.0 ** rng.uniform(-40, 38, (40, 1))).astype("f4")

    def answer(X):
        engine = LocalEngine(as_source(X), grid, encode_labels(None, len(X)))
        exact = engine.exact_tally(centres, None)
        return exact.exact_counts, exact.exact_sums

    counts, sums = answer(rows)
    for i in range(len(rows)):
        fewer_counts, fewer_sums = answer(np.delete(rows, i, axis=0))
        weight = tally_sensitivity(d) ** 2 - CODE_BOUND**2
        changed = weight * ((counts - fewer_counts) ** 2).sum() + ((sums - fewer_sums) ** 2).sum()
        assert changed <= tally_sensitivity(d) ** 2
        assert np.abs(counts - fewer_counts).sum() == 1


def test_the_statement_says_how_rows_were_scaled():
    model = DPKMeans(2, metric="cosine").fit(cones(500))
    statement = model.privacy_.statement()
    assert "Rows were scaled one by one to norm 1 (zero rows stay zero)" in statement
    assert "shortened" not in statement
    assert model.privacy_.clip_norm == 1.0


def test_a_file_keeps_the_metric_and_old_files_are_euclidean(tmp_path):
    rows, path = cones(900), tmp_path / "m.safetensors"
    model = DPKMeans(3, metric="cosine").fit(rows)
    model.save(path)
    loaded = DPKMeans.load(path)
    assert loaded.metric == "cosine"
    assert (loaded.predict(rows) == model.predict(rows)).all()
    kind, arrays, header = read_model(path)
    other = header | {"parameters": header["parameters"] | {"metric": "euclidean"}}
    write_model(path, kind, arrays, other)
    with pytest.raises(ModelFileError, match="metric='euclidean' and a statement of the transform"):
        DPKMeans.load(path)
    with pytest.raises(InvalidInput, match="fit again"):
        model.set_params(metric="euclidean").save(path)
    DPKMeans(3).fit(rows).save(path)
    kind, arrays, header = read_model(path)
    del header["parameters"]["metric"]  # as versions before this wrote it
    write_model(path, kind, arrays, header)
    assert DPKMeans.load(path).metric == "euclidean"


@pytest.mark.parametrize("bad", [{"metric": "angle"}, {"clip_norm": 2.0}, {"metric": None}])
def test_what_makes_no_sense_is_refused_before_the_rows_are_read(bad):
    with pytest.raises(InvalidInput, match=r"^(metric|clip_norm)="):
        DPKMeans(2, **{"metric": "cosine", **bad}).fit(untouchable(np.ones((9, 3))))
