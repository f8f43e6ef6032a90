"""`cloister fit --dry-run`: the plan of a fit, printed from options alone."""

from dataclasses import asdict

import numpy as np
import pytest

from cloister import DPGaussianMixture, DPKMeans
from command_line import run, run_json

SIZES = "--n-hint 60000 --n-features 32"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    (folder / "rows.npy").write_bytes(b"no array")
    (folder / "labels.npy").write_bytes(b"no labels")
    return folder


FITS = {
    "--model kmeans --n-clusters 20": DPKMeans(20).plan(60_000, 32),
    "": DPGaussianMixture().plan(60_000, 32, 1),
    "--labels {labels.npy} --classes 0,1,2": DPGaussianMixture().plan(60_000, 32, 3),
    "--labels {labels.npy}": DPGaussianMixture().plan(60_000, 32),
    "--n-components 2 --epsilon 8": DPGaussianMixture(2, epsilon=8.0).plan(60_000, 32, 1),
}


@pytest.mark.parametrize("options", FITS)
def test_a_dry_run_with_sizes_prints_the_plan(folder, options):
    line = f"fit {{rows.npy}} --out {{m}} {options} --dry-run {SIZES}"
    result, expected = run_json(line, folder), asdict(FITS[options])
    assert {r["name"]: r["share"] for r in result["releases"]} == expected.pop("shares")
    assert result["plan"] == expected
    printed = dict(row.split()[-2:] for row in run(line, folder).stdout.splitlines() if row)
    for name, value in expected.items():
        assert float(printed[name]) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("given", ["", "--n-hint 60000", "--n-features 32"])
def test_without_sizes_it_says_what_prints_the_rest(folder, given):
    line = f"fit {{rows.npy}} --out {{m}} --model kmeans --dry-run {given}"
    assert "plan" not in run_json(line, folder)
    assert "--n-hint and --n-features tell the rest" in run(line, folder).stdout


@pytest.mark.parametrize(("d", "tilted"), [(7, False), (8, True)])
def test_releases_are_those_of_so_many_features(folder, d, tilted):
    line = f"fit {{rows.npy}} --labels {{labels.npy}} --out {{m}} --dry-run --n-features {d}"
    assert ("gradients" in [r["name"] for r in run_json(line, folder)["releases"]]) is tilted


def test_features_are_for_a_dry_run_only(folder):
    result = run("fit {rows.npy} --out {m} --n-features 8", folder)
    assert result.exit_code == 2
    assert "--n-features needs --dry-run" in result.stderr
    for sizes, name in [("--n-hint 0 --n-features 8", "n_hint=0"), ("--n-features 0", "--n-fea")]:
        result = run(f"fit {{rows.npy}} --out {{m}} --dry-run {sizes}", folder)
        assert result.exit_code == 2
        assert name in result.stderr


def test_a_mixture_takes_a_hint(folder, tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 4))
    np.save(tmp_path / "rows.npy", rows / np.linalg.norm(rows, axis=1, keepdims=True))
    run_json("fit {rows.npy} --out {m} --n-hint 5000", tmp_path)
    model = DPGaussianMixture.load(tmp_path / "m")
    assert model.n_hint == 5_000
    assert model.plan_ == DPGaussianMixture().plan(5_000, 4, 1)
