"""What fitted models, their files and the ledger refuse: typed errors, nothing lost or spent."""

import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sklearn.exceptions import NotFittedError

from cloister import DPGaussianMixture, DPKMeans
from cloister.errors import CloisterError, InvalidInput, InvalidType, ModelFileError
from cloister.model_file import read_model, write_model

rng = np.random.default_rng(5)
ROWS = rng.normal(size=(50, 4))
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
MODELS = {
    "k-means": DPKMeans(2, n_rounds=1).fit(ROWS),
    "mixture": DPGaussianMixture(covariance_type="full", classes=[0, 1]).fit(
        ROWS, np.arange(len(ROWS)) % 2
    ),
    "tilted": DPGaussianMixture(classes=[0, 1], row_transform="root", tilt=True).fit(
        ROWS, np.arange(len(ROWS)) % 2
    ),
}
ROW_METHODS = [
    ("k-means", "predict"),
    ("k-means", "score"),
    ("mixture", "predict"),
    ("mixture", "predict_proba"),
    ("mixture", "score_samples"),
    ("mixture", "score"),
]
BAD_ROWS = {
    "too few features": (ROWS[:, :3], InvalidInput, "X has 3 features.* expecting 4", "must have"),
    "one row flat": (ROWS[0], InvalidInput, "^X: expected a 2D", "reshape"),
    "NaN": (np.full((3, 4), np.nan), InvalidInput, "^X has NaN.* row 0", "leave such rows out"),
    "beyond float32": (ROWS * 1e300, InvalidInput, "^X has .*float32 in row 0", "mend them"),
    "None": (None, InvalidType, "^X must be an array", "numpy array"),
    "words": ([["a"] * 4], InvalidType, "^X has dtype", "real number"),
    "complex": (ROWS * 1j, InvalidInput, "^X: Complex", "as features"),
}


def assert_typed(caught, argument, way_out):
    assert isinstance(caught.value, CloisterError)
    assert re.search(argument, str(caught.value))
    assert re.search(way_out, str(caught.value))


@pytest.mark.parametrize("rows", BAD_ROWS)
@pytest.mark.parametrize(("kind", "method"), ROW_METHODS)
def test_rows_of_later_calls(kind, method, rows):
    X, error, argument, way_out = BAD_ROWS[rows]
    with pytest.raises(error) as caught:
        getattr(MODELS[kind], method)(X)
    assert_typed(caught, argument, way_out)


@pytest.mark.parametrize(
    ("kind", "method", "arguments"),
    [
        *((kind, method, (ROWS,)) for kind, method in ROW_METHODS),
        ("mixture", "sample", (3,)),
        ("mixture", "save", ("model",)),
        ("k-means", "save", ("model",)),
    ],
)
def test_not_fitted(kind, method, arguments):
    estimator = type(MODELS[kind])()
    with pytest.raises(NotFittedError, match=r"not fitted yet.*fit"):
        getattr(estimator, method)(*arguments)


@pytest.mark.parametrize("n", [0, -1, 2.5, 3.0, np.nan, "3", None, True, [3], 2**50])
def test_number_of_samples(n):
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        MODELS["mixture"].sample(n)
    assert_typed(caught, "^n_samples", "how many rows to draw")


@pytest.mark.parametrize("seed", [-1, 1.5, "seed", True, 2**64, [1]])
def test_seed_of_samples(seed):
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        MODELS["mixture"].sample(3, random_state=seed)
    assert_typed(caught, "^random_state", "None draws a seed")


def cut(path, _):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def stored(path):
    with safe_open(path, framework="numpy") as opened:
        return load_file(path), opened.metadata()


def without_an_array(path, _):
    arrays, metadata = stored(path)
    arrays.pop(sorted(arrays)[0])
    save_file(arrays, path, metadata=metadata)


FILES = {
    "missing": (lambda path, _: path.unlink(), "no file"),
    "empty": (lambda path, _: path.write_bytes(b""), "damaged"),
    "cut": (cut, "damaged"),
    "text": (lambda path, _: path.write_text("weights"), "damaged"),
    "pickle": (lambda path, _: path.write_bytes(b"\x80\x04N."), "damaged"),
    "numpy": (lambda path, _: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{}"), "damaged"),
    "header of 2^60 bytes": (lambda path, _: path.write_bytes(b"\0" * 7 + b"\x10{}"), "damaged"),
    "foreign": (lambda path, _: save_file({"weights": ROWS}, path), "no cloister model"),
    "other kind": (lambda path, other: other.save(path), "load it with the class that saved"),
    "an array less": (without_an_array, "write the model again"),
}


@pytest.mark.parametrize("defect", FILES)
@pytest.mark.parametrize("kind", MODELS)
def test_model_files(tmp_path, kind, defect):
    path, (damage, way_out) = tmp_path / "some.model", FILES[defect]
    MODELS[kind].save(path)
    damage(path, next(model for name, model in MODELS.items() if name != kind))
    with pytest.raises(ModelFileError) as caught:
        type(MODELS[kind]).load(path)
    assert_typed(caught, r"some\.model", way_out)


SPOILT = {
    "NaN": lambda array: array * np.nan,
    "other dtype": lambda array: array.astype(np.float16),
    "one entry": lambda array: array.ravel()[:1],
    "no rows": lambda array: array[:0],
    "another axis": lambda array: array[None],
}
ARRAYS = [
    *(("k-means", name) for name in ("cluster_centers", "noisy_counts")),
    *(
        ("mixture", name)
        for name in ("weights", "means", "directions", "variances", "rest", "covariance_of")
    ),
    *(
        ("tilted", f"untilted_{name}")
        for name in ("weights", "means", "directions", "variances", "rest", "covariance_of")
    ),
]


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize(("kind", "name"), ARRAYS)
def test_arrays_of_model_files(tmp_path, kind, name, spoilt):
    path = tmp_path / "some.model"
    MODELS[kind].save(path)
    arrays, metadata = stored(path)
    arrays[name] = np.ascontiguousarray(SPOILT[spoilt](arrays[name]))
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(ModelFileError) as caught:
        type(MODELS[kind]).load(path)
    assert_typed(caught, f"array .({name}|(untilted_)?variances)", "write the model again")


@pytest.mark.parametrize("value", [[], "text", None, {}, {"n_features": "3"}])
@pytest.mark.parametrize("name", ["parameters", "privacy"])
@pytest.mark.parametrize("kind", MODELS)
def test_headers_of_model_files(tmp_path, kind, name, value):
    path = tmp_path / "some.model"
    MODELS[kind].save(path)
    _, arrays, header = read_model(path)
    write_model(path, type(MODELS[kind])._kind, arrays, {**header, name: value})
    with pytest.raises(ModelFileError) as caught:
        type(MODELS[kind]).load(path)
    assert_typed(caught, "^path: ", "write the model again")


@pytest.mark.parametrize("tilted", [True, False])
def test_a_file_says_whether_it_holds_two_mixtures(tmp_path, tilted):
    path, kind = tmp_path / "some.model", "tilted" if tilted else "mixture"
    MODELS[kind].save(path)
    _, arrays, header = read_model(path)
    assert header["tilted"] is tilted
    for damaged in ("yes", None, 1):
        write_model(path, "mixture", arrays, {**header, "tilted": damaged})
        with pytest.raises(ModelFileError, match=r"has tilted=.* write the model again"):
            DPGaussianMixture.load(path)
    del header["tilted"]  # as version 0.1.0 wrote it
    write_model(path, "mixture", arrays, header)
    assert DPGaussianMixture.load(path).untilted_ is None


@pytest.mark.parametrize("name", ["weights", "variances", "rest", "covariance_of"])
def test_numbers_that_no_mixture_has(tmp_path, name):
    path = tmp_path / "some.model"
    MODELS["mixture"].save(path)
    arrays, metadata = stored(path)
    arrays[name] = -1 - arrays[name]
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(ModelFileError, match=f"array {name!r}.* write the"):
        DPGaussianMixture.load(path)


@pytest.mark.parametrize(
    ("path", "error", "argument", "way_out"),
    [
        (None, InvalidType, "^path", "str or a path"),
        (3, InvalidType, "^path", "str or a path"),
        (b"some.model", InvalidType, "^path", "str or a path"),
        ("", ModelFileError, "^path", "file"),
        ("{}/no/such/folder/some.model", ModelFileError, "^path", "create it|check its"),
        ("{}", ModelFileError, "^path", "name a"),
    ],
)
@pytest.mark.parametrize("kind", MODELS)
def test_paths(tmp_path, kind, path, error, argument, way_out):
    path = path.format(tmp_path) if isinstance(path, str) else path
    for use in (MODELS[kind].save, type(MODELS[kind]).load):
        with pytest.raises(error) as caught:
            use(path)
        assert_typed(caught, argument, way_out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unsafe", [{"epsilon": np.inf}, {"unsafe_noise_seed": 1}])
@pytest.mark.parametrize("kind", MODELS)
def test_models_that_promise_nothing_are_saved_only_on_demand(tmp_path, kind, unsafe):
    model = type(MODELS[kind])(**unsafe).fit(ROWS)
    path = tmp_path / "unsafe.model"
    with pytest.raises(InvalidInput, match=r"epsilon=inf.*allow_unsafe=True"):
        model.save(path)
    assert not path.exists()
    model.save(path, allow_unsafe=True)
    assert type(model).load(path).privacy_.epsilon == np.inf


def test_encoder_named_infinity_stays_a_name(tmp_path):
    path = tmp_path / "named.model"
    DPGaussianMixture(encoder_id="inf").fit(ROWS).save(path)
    assert DPGaussianMixture.load(path).encoder_id == "inf"
