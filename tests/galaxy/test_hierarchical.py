"""Shared errors, against models whose marginal likelihood has a closed form."""

import jax
import numpy as np
import pytest
from numpyro.diagnostics import split_gelman_rubin
from scipy import stats as scipy_stats

import chemsbi_jax as cs
from chemsbi_jax.constants import ABUNDANCES, SHARED_FACTORS
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical.chains import ChainSizes
from chemsbi_jax.galaxy.hierarchical.joint_density import make_joint_density
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode
from chemsbi_jax.galaxy.hierarchical.model_fit import fit_stars
from chemsbi_jax.galaxy.hierarchical.place import look_at
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import make_stars
from chemsbi_jax.galaxy.hierarchical.tangent import tangents
from chemsbi_jax.galaxy.nuts.shared import run_shared_nuts
from helpers.shared_line import (
    CONSTANT,
    ERROR,
    PRIOR,
    N,
    at_random,
    line,
    linear_model,
    linear_stars,
    log_normal,
    rows_of,
)


@pytest.fixture(scope="module")
def model():
    return linear_model()


@pytest.fixture(scope="module")
def stars(model):
    return linear_stars(model)


def test_marginal_likelihoods_are_those_of_the_linear_model(model, stars):
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    for psi in (at_random(layout, 1, 0.2), at_random(layout, 2, 0.3)):
        expected = [log_normal(model, stars, i, psi, layout) for i in range(N)]
        # float32: a few hundred nats of chi2
        each = tangents(*rows_of(stars), model, layout, psi).log_likelihood
        np.testing.assert_allclose(each, expected, rtol=2e-4, atol=0.02)


@pytest.mark.parametrize("n_abundances", [2, 8])
def test_odds_of_outliers_compare_integrals(model, stars, n_abundances):
    """Few abundances leave the local latents free: their volume counts."""
    settings = h.SharedErrors(outlier_share=0.02)
    layout = make_layout(settings, SHARED_FACTORS)
    kept = stars.observed & (np.arange(8) < n_abundances)
    few = stars._replace(
        values=np.where(kept, stars.values, np.nan),
        errors=np.where(kept, stars.errors, np.nan),
        observed=kept,
    )
    rows = make_stars(few, settings, PRIOR)
    for seed in (1, 2):
        psi = at_random(layout, seed, 0.2)
        log_share = float(unpack(psi, layout).log_outliers)
        assert np.exp(log_share) == pytest.approx(0.02, rel=0.1)
        inlier = [log_normal(model, few, i, psi, layout) for i in range(N)]
        inlier = np.asarray(inlier) + np.log1p(-np.exp(log_share))
        expected = log_share + rows.log_broad - inlier
        found = fit_stars(rows, model, layout, np.asarray(psi)).log_odds
        # float32: a few hundred nats of chi2
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=0.05)


def test_scores_are_differences(model, stars):
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    psi = at_random(layout, 2, 0.3)
    score = tangents(*rows_of(stars), model, layout, psi).score.sum(axis=0)
    for i in (0, 5, 15, 22, 30, 33, 38):  # every block
        step = 1e-3 * np.eye(len(psi))[i]
        two = [
            sum(log_normal(model, stars, k, psi + s * step, layout) for k in range(N))
            for s in (1.0, -1.0)
        ]
        expected = (two[0] - two[1]) / 2e-3
        np.testing.assert_allclose(score[i], expected, rtol=5e-3, atol=0.5)


@pytest.mark.thorough
def test_information_is_the_variance_of_scores(model, stars):
    """Over many data sets of one psi, by what the score of a star is in each."""
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    psi, n = at_random(layout, 2, 0.3), 2000
    shared = jax.tree.map(lambda x: np.asarray(x, float), unpack(psi, layout))
    slopes = jax.tree.map(np.asarray, model.forward.keywords["slopes"])
    rng = np.random.default_rng(6)
    local = shared.mean + np.exp(shared.log_width) * rng.normal(size=(n, 4))
    theta = np.concatenate([np.tile(shared.galaxy, (n, 1)), local], axis=1)
    clean = line(theta, shared.factors, slopes) + shared.zero_points[:8]
    noise = np.sqrt(ERROR**2 + shared.variance[:8]) * rng.normal(size=(n, 8))
    unknown, everything = np.full(n, np.nan), np.ones((n, 8), bool)
    many = cs.Stars(
        clean + noise, np.full((n, 8), ERROR), everything, unknown, unknown,
        np.arange(n).astype(str),
    )  # fmt: skip
    rows = make_stars(many, CONSTANT, PRIOR)
    found = tangents(rows, np.zeros((n, 4), np.float32), model, layout, psi)
    expected = found.information.mean(axis=0)
    scores = found.score / np.sqrt(np.maximum(np.diag(expected), 1e-6))
    used = np.diag(expected) > 0.01
    assert used.sum() > 20
    ratio = (scores[:, used] ** 2).mean(axis=0)
    # sums of squares: 3 % at one standard deviation, more for the spreads
    np.testing.assert_allclose(ratio, 1.0, atol=0.2)
    np.testing.assert_allclose(scores[:, used].mean(axis=0), 0.0, atol=0.1)


def test_shared_errors_of_iron_count(model, stars):
    """[X/Fe] from [X/H]: the density is that of the full covariance, here by scipy."""
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    iron = ABUNDANCES.index("fe_h")
    errors = stars.errors.copy()
    errors[:, iron] *= np.sqrt(0.5)  # half of the variance of [X/Fe] is that of [Fe/H]
    shared = stars._replace(errors=errors, fe_covariance=errors[:, iron] ** 2)
    psi = at_random(layout, 1, 0.2)
    psi = psi.at[layout.slices()["scatter"]].set(-30.0)  # none
    found = tangents(*rows_of(shared), model, layout, psi).log_likelihood[1]
    p = jax.tree.map(lambda x: np.asarray(x, float), unpack(psi, layout))
    slopes = model.forward.keywords["slopes"]
    a, b = np.asarray(slopes.by_theta, float), np.asarray(slopes.by_factors, float)
    mean = p.galaxy @ a[:2] + p.mean @ a[2:] + p.factors @ b + p.zero_points[:8]
    covariance = a[2:].T @ np.diag(np.exp(2.0 * p.log_width)) @ a[2:]
    error = np.full((8, 8), 0.5)
    error[iron], error[:, iron] = -0.5, -0.5
    np.fill_diagonal(error, 1.0)
    error[iron, iron] = 0.5
    normal = scipy_stats.multivariate_normal(mean, covariance + ERROR**2 * error)
    assert stars.observed[1].all()
    expected = normal.logpdf(stars.values[1])
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=0.02)


def test_coordinates_integrate_to_the_marginal(model, stars, key):
    """In a linear model the stars' coordinates are standard normals at every psi."""
    key_psi, key_noise = jax.random.split(key)
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    here = np.asarray(at_random(layout, 1, 0.2))
    rows, start = rows_of(stars)
    place = look_at(rows, start, model, layout, here)
    joint = make_joint_density(rows, model, layout, place)
    at = jax.random.normal(key_psi, here.shape)
    noise = jax.random.normal(key_noise, (4, N))
    found = jax.jit(joint.of_stars)(at, noise)
    found = found - scipy_stats.norm.logpdf(noise).sum(axis=0)
    psi = joint.whitening.psi(at)
    expected = [log_normal(model, stars, i, psi, layout) for i in range(N)]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=0.03)


@pytest.mark.thorough
def test_nuts_finds_the_normal_posterior_of_a_linear_model(model, stars, key):
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    key_mode, key_run = jax.random.split(key)
    mode = find_shared_mode(key_mode, rows_of(stars)[0], model, layout).psi
    expected = look_at(*rows_of(stars), model, layout, mode)
    sizes = ChainSizes(n_chains=2, n_warmup=100, n_draws=200, max_tree_depth=5)
    found = run_shared_nuts(key_run, model.forward, PRIOR, stars, CONSTANT, sizes=sizes)
    # 1 or 2 of 400 were seen: 200 short draws give coarse coordinates for 44 latents
    assert found.n_divergent < 0.01 * found.psi[..., 0].size
    draws = found.psi[..., :2]
    assert (split_gelman_rubin(draws) < 1.1).all()
    widths = np.sqrt(np.diag(expected.covariance))[:2]
    away = (draws.mean(axis=(0, 1)) - expected.psi[:2]) / widths
    # 100 independent draws give a mean to 0.1 and a width to 7 %
    np.testing.assert_allclose(away, 0.0, atol=0.4)
    np.testing.assert_allclose(draws.std(axis=(0, 1)) / widths, 1.0, atol=0.25)
