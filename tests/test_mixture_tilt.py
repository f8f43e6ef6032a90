"""The tilted mixture: its noiseless course, its rule, its two faces, where it is refused."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from threadpoolctl import threadpool_limits

import reference_tilt
from cloister import DPGaussianMixture
from cloister.covariance import Covariances
from cloister.errors import InvalidInput, InvalidType
from cloister.mixture_plan import GRADIENT_STEPS, TILTED_SHARES
from cloister.tilted_mixture import mixture_bias, tilted_mixture
from cloister.transforms import apply_transform


def rows_of(n, d, classes, seed=0, priors=None, distance=1.0):
    """Classes that a line tells apart no better than their overlap allows, in the unit ball."""
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, size=n, p=priors)
    X = distance * rng.normal(size=(classes, d))[y] + rng.normal(size=(n, d)) * (
        3 / np.arange(1, d + 1) ** 0.5
    )
    X /= np.linalg.norm(X, axis=1).max()
    return X, y


def accuracy(model, X, y):
    return (model.predict(X) == y).mean()


def test_the_noiseless_course_is_that_of_numpy():
    X, y = rows_of(900, 6, 3)
    model = DPGaussianMixture(epsilon=np.inf, classes=range(3), tilt=True).fit(X, y)
    # Without noise the clip opens up as far as two rows can lie apart.
    weights, means, covariance = reference_tilt.tilted(X, y, 3, radius=2.0)
    np.testing.assert_allclose(model.weights_, weights, rtol=1e-12)
    # Rows and residuals are rounded to 2^-10 of their radius before they are summed.
    np.testing.assert_allclose(model.means_, means, atol=2e-3 * np.abs(means).max())
    found = model.covariances_.matrices()[0]
    np.testing.assert_allclose(found, covariance, atol=2e-3 * np.abs(covariance).max())


@pytest.mark.parametrize(("d", "classes"), [(1, 2), (2, 5), (7, 3), (3, 30)])
@pytest.mark.parametrize("size", [0.0, 1e-6, 1.0, 300.0])
def test_the_mixture_has_the_rule_and_the_moments_that_it_is_made_for(rng, d, classes, size):
    weights, priors = size * rng.normal(size=(classes, d)), rng.dirichlet(np.ones(classes))
    priors = (priors + 1e-3) / (priors + 1e-3).sum()
    axes, variances = np.linalg.qr(rng.normal(size=(d, d)))[0], rng.uniform(0.1, 2, size=d)
    moment, centre = Covariances(axes[None], variances[None], np.ones((1, d))), rng.normal(size=d)
    mixture = tilted_mixture(weights, priors, centre, moment)
    offsets = mixture.means - centre
    within = mixture.covariances.matrices()[0]
    assert np.linalg.eigvalsh(within).min() > 0
    np.testing.assert_allclose(priors @ offsets, 0, atol=1e-9)
    total = within + (offsets * priors[:, None]).T @ offsets
    np.testing.assert_allclose(total, moment.matrices()[0], atol=1e-4)
    X = rng.normal(size=(50, d))
    logits = (X - centre) @ weights.T + mixture_bias(weights, priors, moment)
    posterior = softmax(mixture.log_densities(centre + (X - centre)), axis=1)
    np.testing.assert_allclose(posterior, softmax(logits, axis=1), atol=2e-2 if size > 1 else 1e-6)


@pytest.mark.parametrize("transform", [None, "root"])
@pytest.mark.parametrize("covariance_type", ["tied", "low_rank"])
def test_linear_rule_is_the_posterior(covariance_type, transform):
    X, y = rows_of(2000, 12, 4)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    model = DPGaussianMixture(
        1, covariance_type, epsilon=5.0, classes=range(4), row_transform=transform
    ).fit(X, y)
    coef, intercept = model.linear_rule()
    assert coef.shape == (4, 12)
    assert intercept.shape == (4,)
    rows = apply_transform(transform, X[:100]) if transform else X[:100]
    found = softmax(rows @ coef.T + intercept, axis=1)
    np.testing.assert_allclose(found, model.predict_proba(X[:100]), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, "tied"), (1, "full"), (1, "diag"), (1, "spherical")])
def test_no_linear_rule_where_the_posterior_is_not_linear(shape):
    X, y = rows_of(300, 4, 2)
    model = DPGaussianMixture(*shape, classes=[0, 1]).fit(X, y)
    with pytest.raises(InvalidInput, match=r"no linear rule; fit with 1 and one of"):
        model.linear_rule()


def test_more_accurate_than_means_and_covariance_where_noise_matters():
    X, y = rows_of(7000, 200, 5, distance=0.1)
    train, test = slice(0, 4000), slice(4000, None)
    found = {
        tilt: np.mean(
            [
                accuracy(
                    DPGaussianMixture(epsilon=1.0, classes=range(5), tilt=tilt).fit(
                        X[train], y[train]
                    ),
                    X[test],
                    y[test],
                )
                for _ in range(3)
            ]
        )
        for tilt in (True, False)
    }
    assert found[True] > found[False] + 0.01
    best = accuracy(LinearDiscriminantAnalysis().fit(X[train], y[train]), X[test], y[test])
    assert found[True] < best + 0.02


@pytest.mark.parametrize("epsilon", [0.05, 1.0, np.inf])
@pytest.mark.parametrize(
    ("n", "d", "classes"), [(200, 20, 3), (300, 2, 2), (3, 4, 2), (400, 3, 100), (100, 1, 2)]
)
def test_every_shape_gives_a_mixture(n, d, classes, epsilon):
    X, y = rows_of(n, d, classes)
    model = DPGaussianMixture(epsilon=epsilon, classes=range(classes), tilt=True).fit(X, y)
    assert model.untilted_ is not None
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.isfinite(model.score_samples(X)).all()
    for tilted in (True, False):
        rows, labels = model.sample(50, random_state=0, tilted=tilted)
        assert np.isfinite(rows).all()
        assert set(labels) <= set(range(classes))


def test_many_features_are_preconditioned_by_their_variances():
    X, y = rows_of(60, 2100, 2, distance=3.0)
    model = DPGaussianMixture(epsilon=np.inf, classes=[0, 1], tilt=True).fit(X, y)
    assert accuracy(model, X, y) == 1.0
    assert [e.name for e in model.privacy_.events][4] == "second moments"


def test_rare_classes_keep_their_rows():
    X, y = rows_of(8000, 10, 3, priors=[0.79, 0.2, 0.01], distance=3.0)
    model = DPGaussianMixture(epsilon=8.0, classes=range(3), tilt=True).fit(X, y)
    best = LinearDiscriminantAnalysis().fit(X, y)
    rare = y == 2
    assert accuracy(model, X[rare], y[rare]) > accuracy(best, X[rare], y[rare]) - 0.15
    np.testing.assert_allclose(model.weights_, [0.79, 0.2, 0.01], atol=0.01)


def test_the_untilted_mixture_is_that_of_the_rows():
    X, y = rows_of(20_000, 5, 2)
    model = DPGaussianMixture(epsilon=np.inf, classes=[0, 1], tilt=True).fit(X, y)
    plain = DPGaussianMixture(epsilon=np.inf, classes=[0, 1], tilt=False).fit(X, y)
    assert plain.untilted_ is None
    np.testing.assert_allclose(model.untilted_.means, plain.means_, atol=1e-3)
    found, expected = (m.matrices() for m in (model.untilted_.covariances, plain.covariances_))
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())
    assert model.score(X) == pytest.approx(plain.score(X), abs=0.05)
    rows, labels = model.sample(20_000, random_state=1, tilted=False)
    for g in (0, 1):
        np.testing.assert_allclose(rows[labels == g].mean(axis=0), plain.means_[g], atol=0.01)


def test_plan_names_every_release():
    X, y = rows_of(300, 4, 2)
    estimator = DPGaussianMixture(classes=[0, 1], tilt=True)
    assert (
        estimator.shares()
        == DPGaussianMixture().shares(2, 8)
        == DPGaussianMixture().shares()
        == TILTED_SHARES
    )
    steps = [f"gradient {step}" for step in range(1, GRADIENT_STEPS + 1)]
    expected = [name for name in TILTED_SHARES if name != "gradients"] + steps
    assert [event.name for event in estimator.fit(X, y).privacy_.events] == expected
    untilted = DPGaussianMixture(tilt=False).shares()
    assert DPGaussianMixture().shares(2, 7) == untilted
    assert DPGaussianMixture().shares(1) == DPGaussianMixture(classes=["a"]).shares() == untilted
    whole = DPGaussianMixture().fit(X)
    assert [event.name for event in whole.privacy_.events] == list(untilted)
    assert sum(TILTED_SHARES.values()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "classes"), [((1, "tied"), [0]), ((2, "tied"), [0, 1]), ((1, "full"), [0, 1])]
)
def test_tilt_is_refused_where_no_line_tells_classes_apart(shape, classes):
    X, y = rows_of(100, 4, len(classes))
    with pytest.raises(InvalidInput, match=r"^tilt=True needs .*take tilt='auto'"):
        DPGaussianMixture(*shape, classes=classes, tilt=True).fit(X, y)


@pytest.mark.parametrize("tilt", ["yes", 1, None, 0.5])
def test_what_tilt_may_be(tilt):
    with pytest.raises((InvalidInput, InvalidType), match=r"^tilt"):
        DPGaussianMixture(tilt=tilt).shares()


def test_a_fit_resumes_with_another_number_of_threads(tmp_path):
    """Sums in another order would make the next gradient another question."""
    X, y = rows_of(400, 300, 3)
    noise = {"classes": range(3), "tilt": True, "unsafe_noise_seed": 0}
    fits = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            fits.append(DPGaussianMixture(**noise).fit(X, y))
    assert (fits[0].means_ == fits[1].means_).all()


def test_the_transform_is_that_of_the_fit(tmp_path):
    X, y = rows_of(500, 6, 3)
    model = DPGaussianMixture(classes=range(3), row_transform="root", tilt=True).fit(X, y)
    before = model.predict_proba(X)
    model.row_transform = None
    assert (model.predict_proba(X) == before).all()
    with pytest.raises(InvalidInput, match="row_transform=None"):
        model.save(tmp_path / "model")


def test_saved_model_has_both_faces(tmp_path):
    X, y = rows_of(500, 6, 3)
    model = DPGaussianMixture(classes=range(3), row_transform="root", tilt=True).fit(X, y)
    model.save(tmp_path / "model")
    loaded = DPGaussianMixture.load(tmp_path / "model")
    assert loaded.row_transform == "root"
    assert loaded.tilt is True
    assert "transform 'root'" in loaded.privacy_.statement()
    assert (loaded.predict_proba(X) == model.predict_proba(X)).all()
    assert (loaded.score_samples(X) == model.score_samples(X)).all()
    for tilted in (True, False):
        drawn = [m.sample(9, random_state=1, tilted=tilted)[0] for m in (model, loaded)]
        assert (drawn[0] == drawn[1]).all()
