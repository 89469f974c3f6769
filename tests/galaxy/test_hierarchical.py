"""Shared errors, against models whose marginal likelihood has a closed form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from numpyro.diagnostics import split_gelman_rubin
from scipy import stats as scipy_stats

import chemsbi_jax as cs
from chemsbi_jax.constants import ABUNDANCES, SHARED_FACTORS
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical.chains import ChainSizes
from chemsbi_jax.galaxy.hierarchical.joint_density import make_joint_density
from chemsbi_jax.galaxy.hierarchical.marginal import (
    make_marginal_density,
    make_points,
)
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode
from chemsbi_jax.galaxy.hierarchical.place import look_at
from chemsbi_jax.galaxy.hierarchical.sampling import by_nuts, sample_psi
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import Model, make_stars
from chemsbi_jax.galaxy.hierarchical.tangent import tangents
from chemsbi_jax.galaxy.nuts.shared import run_shared_nuts
from chemsbi_jax.priors import Prior

N, ERROR, N_FACTORS = 20, 0.05, len(SHARED_FACTORS)
PRIOR = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
CONSTANT = h.SharedErrors(population_width=0.0, scatter=0.0, outlier_share=0.0)
"""What is left is linear and Gaussian."""


class Line(NamedTuple):
    by_theta: jax.Array
    by_factors: jax.Array


def line(theta, factors, slopes):
    return theta @ slopes.by_theta + factors @ slopes.by_factors


@pytest.fixture(scope="module")
def slopes():
    rng = np.random.default_rng(3)
    by_theta = 0.3 * rng.normal(size=(6, 8))
    return Line(
        jnp.asarray(by_theta, jnp.float32),
        jnp.asarray(0.7 * rng.normal(size=(N_FACTORS, 8)), jnp.float32),
    )


@pytest.fixture(scope="module")
def model(slopes):
    return Model(Partial(line, slopes=slopes), PRIOR)


@pytest.fixture(scope="module")
def stars(model):
    rng = np.random.default_rng(4)
    theta = rng.normal(size=(N, 6))
    theta[:, :2] = 0.4, -0.3
    factors = np.broadcast_to(0.1 * rng.normal(size=N_FACTORS), (N, N_FACTORS))
    clean = np.asarray(model.forward(jnp.asarray(theta), jnp.asarray(factors)))
    values = clean + ERROR * rng.normal(size=clean.shape)
    observed = np.ones((N, 8), bool)
    observed[::3, 2] = False
    values = np.where(observed, values, np.nan)
    unknown = np.full(N, np.nan)
    return cs.Stars(
        values, np.where(observed, ERROR, np.nan), observed, unknown, unknown,
        np.arange(N).astype(str),
    )  # fmt: skip


def log_normal(model, stars, i, psi, layout):
    """log p(star i | psi) of the linear model, by scipy."""
    shared = jax.tree.map(lambda x: np.asarray(x, float), unpack(psi, layout))
    slopes = model.forward.keywords["slopes"]
    a, b = np.asarray(slopes.by_theta, float), np.asarray(slopes.by_factors, float)
    seen = stars.observed[i]
    mean = shared.galaxy @ a[:2] + shared.mean @ a[2:] + shared.factors @ b
    mean = mean + shared.zero_points[:8]
    spread = a[2:].T @ np.diag(np.exp(2.0 * shared.log_width)) @ a[2:]
    spread = spread[np.ix_(seen, seen)]
    noise = stars.errors[i][seen] ** 2 + shared.variance[:8][seen]
    covariance = spread + np.diag(noise)
    normal = scipy_stats.multivariate_normal(mean[seen], covariance)
    return normal.logpdf(stars.values[i][seen])


def at_random(layout, seed, size=0.5):
    return size * jax.random.normal(jax.random.key(seed), layout.scale.shape)


def rows_of(stars, settings=CONSTANT):
    """Stars of the likelihood, and first guesses of their local latents."""
    return make_stars(stars, settings, PRIOR), np.zeros((N, 4), np.float32)


def test_marginal_likelihoods_are_those_of_the_linear_model(model, stars):
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    for psi in (at_random(layout, 1, 0.2), at_random(layout, 2, 0.3)):
        expected = [log_normal(model, stars, i, psi, layout) for i in range(N)]
        # float32: a few hundred nats of chi2
        each = tangents(*rows_of(stars), model, layout, psi).log_likelihood
        np.testing.assert_allclose(each, expected, rtol=2e-4, atol=0.02)


def density_of(model, stars, layout, key, n_points):
    """All stars of a linear model with points."""
    rows, _ = rows_of(stars, h.SharedErrors(outlier_share=0.0))
    return make_marginal_density(rows, model, layout, make_points(key, n_points))


@pytest.fixture(scope="module")
def wide(stars):
    """The stars with errors for which many points count."""
    return stars._replace(errors=8.0 * stars.errors)


def test_points_give_the_marginal_likelihoods(model, wide, key):
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    density = density_of(model, wide, layout, key, 16384)
    assert density.counts.size > N  # filled up to a length with a program
    assert density.counts.sum() == N
    for seed in (1, 2):
        psi = at_random(layout, seed, 0.2)
        expected = [log_normal(model, wide, i, psi, layout) for i in range(N)]
        each = jax.jit(density.of_stars)(psi)[:N]
        n_effective = jax.jit(density.effective_points)(psi)[:N]
        assert n_effective.min() > 30
        # better than random points
        assert np.sqrt(((each - np.array(expected)) ** 2 * n_effective).mean()) < 1.0
        total = jax.jit(density.value)(psi)
        alone = each.sum() - 0.5 * (psi**2).sum()
        np.testing.assert_allclose(total, alone, rtol=1e-5)


def test_points_with_shared_errors_of_iron(model, wide, key):
    """[X/H] in place of [X/Fe], as in `tangents`."""
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    iron = ABUNDANCES.index("fe_h")
    errors = wide.errors.copy()
    errors[:, iron] *= np.sqrt(0.5)  # half of the variance of [X/Fe] is that of [Fe/H]
    shared = wide._replace(errors=errors, fe_covariance=errors[:, iron] ** 2)
    psi = at_random(layout, 1, 0.2)
    density = density_of(model, shared, layout, key, 16384)
    assert np.asarray(density.stars.over_h).any()
    each = jax.jit(density.of_stars)(psi)[:N]
    linear = tangents(*rows_of(shared), model, layout, psi).log_likelihood
    n_effective = jax.jit(density.effective_points)(psi)[:N]
    assert np.sqrt(((each - linear) ** 2 * n_effective).mean()) < 1.0


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


@pytest.mark.thorough
def test_mode_of_a_linear_model_is_that_of_least_squares(model, wide, key):
    """With all widths held, the posterior of psi is normal."""
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    found = find_shared_mode(key, rows_of(wide)[0], model, layout)
    assert found.gain < 0.1
    before = look_at(*rows_of(wide), model, layout, np.zeros(len(found.psi)))
    # one step of Fisher scoring from anywhere ends at the mode
    score = before.stars.score.sum(axis=0) - before.psi
    away = found.psi - before.psi - before.covariance @ score
    widths = np.sqrt(np.diag(before.covariance))
    np.testing.assert_allclose(away / widths, 0.0, atol=0.2)
    curved = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(curved / widths, 1.0, atol=0.15)


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
    at = 2.0 * jax.random.normal(key_psi, here.shape)
    noise = jax.random.normal(key_noise, (4, N))
    found = jax.jit(joint.of_stars)(at, noise)
    found = found - scipy_stats.norm.logpdf(noise).sum(axis=0)
    psi = joint.psi(at)
    expected = [log_normal(model, stars, i, psi, layout) for i in range(N)]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=0.03)


def test_coordinates_have_an_inverse(model, stars, key):
    layout = make_layout(h.SharedErrors(), SHARED_FACTORS)
    rows, start = rows_of(stars, h.SharedErrors())
    here = np.asarray(at_random(layout, 1, 0.2))
    place = look_at(rows, start, model, layout, here)
    joint = make_joint_density(rows, model, layout, place)
    at = np.asarray(jax.random.normal(key, (3, len(here) + 4 * N)))
    psi, local = joint.values(at)
    np.testing.assert_allclose(joint.coordinates(psi, local), at, atol=1e-3)
    np.testing.assert_allclose(psi, joint.psi(at[:, : len(here)]), atol=1e-5)


@pytest.mark.thorough
def test_nuts_finds_the_normal_posterior_of_a_linear_model(model, stars, key):
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    key_mode, key_run = jax.random.split(key)
    mode = find_shared_mode(key_mode, rows_of(stars)[0], model, layout).psi
    expected = look_at(*rows_of(stars), model, layout, mode)
    sizes = ChainSizes(n_chains=2, n_warmup=100, n_draws=200, max_tree_depth=5)
    found = run_shared_nuts(key_run, model.forward, PRIOR, stars, CONSTANT, sizes=sizes)
    assert found.n_divergent == 0
    draws = found.psi[..., :2]
    assert (split_gelman_rubin(draws) < 1.1).all()
    widths = np.sqrt(np.diag(expected.covariance))[:2]
    away = (draws.mean(axis=(0, 1)) - expected.psi[:2]) / widths
    # 100 independent draws give a mean to 0.1 and a width to 7 %
    np.testing.assert_allclose(away, 0.0, atol=0.4)
    np.testing.assert_allclose(draws.std(axis=(0, 1)) / widths, 1.0, atol=0.25)


@pytest.mark.thorough
def test_nuts_without_the_stars_finds_the_normal_posterior(model, wide, key):
    """`sample_psi`: all parameters of psi that the stars narrow, not only two."""
    key_mode, key_run = jax.random.split(key)
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    rows, local = rows_of(wide)
    mode = find_shared_mode(key_mode, rows, model, layout).psi
    expected = look_at(rows, local, model, layout, mode)
    sizes = ChainSizes(2, 75, 200, 4, acceptance=0.8, first_step=0.3)
    found = sample_psi(key_run, rows, model, layout, sizes=sizes)
    assert found.is_converged
    draws = found.psi.reshape(-1, len(mode))
    widths = np.sqrt(np.diag(expected.covariance))
    away = (draws.mean(axis=0) - expected.psi) / widths
    # the curvature of the prior alone in most directions: 1 of its widths there
    np.testing.assert_allclose(away, 0.0, atol=0.45)
    np.testing.assert_allclose(draws.std(axis=0) / widths, 1.0, atol=0.3)


def test_chains_that_do_not_converge_leave_the_network(model, wide, key):
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    rows, _ = rows_of(wide)
    of_network = 0.1 * np.random.default_rng(0).normal(size=(50, len(layout.scale)))
    sizes = ChainSizes(2, 2, 6, 1, first_step=1e-3)
    draws, checks = by_nuts(key, rows, model, layout, of_network, sizes=sizes)
    assert checks["sampler"] == "network"
    assert checks["r_hat"] > 1.05
    assert draws is of_network
