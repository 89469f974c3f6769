"""NUTS and importance sampling against closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy.stats import norm, truncnorm

import chemsbi_jax.galaxy.nuts.sampler
from chemsbi_jax.galaxy.exact.triangular_map import prior_chart
from chemsbi_jax.galaxy.likelihood import log_likelihood, observe
from chemsbi_jax.galaxy.nuts.convergence import check_convergence
from chemsbi_jax.galaxy.nuts.coordinates import EDGE, Joint, make_joint, to_theta
from chemsbi_jax.galaxy.nuts.sampler import (
    STEEP_MAX,
    STEEP_MEAN,
    Chains,
    Draws,
    _draw_until_converged,
    _is_sound,
    _last,
    _shrink_steep_stars,
    run_nuts,
)
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import GalaxyPosterior, Stars
from helpers.networks import untrained
from helpers.quadratic_galaxy import model

SIGMA = 0.3
N_STARS = 6


@pytest.fixture(scope="module")
def problem():
    """A linear model with normal priors: the posterior is a Gaussian."""
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(6, 8)) * 0.5
    latent = rng.normal(size=(N_STARS, 6))
    latent[:, :2] = (0.8, -0.6)
    values = latent @ matrix + SIGMA * rng.normal(size=(N_STARS, 8))
    unknown = np.full(N_STARS, np.nan)
    stars = Stars(
        values,
        np.full(values.shape, SIGMA),
        np.ones(values.shape, bool),
        unknown,
        unknown,
        np.arange(N_STARS).astype(str),
    )
    prior = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
    return matrix, stars, prior, model(matrix)


@pytest.fixture(scope="module")
def npe(problem):
    """Its posterior is the prior: proposals that a chain can do without."""
    return untrained(problem[2])


def closed_form(matrix, values):
    """Mean and covariance of the two global parameters, locals integrated out."""
    first, rest = matrix[:2].T, matrix[2:].T
    noise = rest @ rest.T + SIGMA**2 * np.eye(8)
    inverse = np.linalg.inv(noise)
    precision = np.eye(2) + len(values) * first.T @ inverse @ first
    covariance = np.linalg.inv(precision)
    return covariance @ first.T @ inverse @ values.sum(axis=0), covariance


def test_chains_find_the_closed_form(problem):
    """Without the maps that `run_nuts` fits, whose programs take longer to compile."""
    matrix, stars, prior, forward = problem
    mean, covariance = closed_form(matrix, stars.values)
    curvature = np.eye(4) + matrix[2:] @ matrix[2:].T / SIGMA**2  # of each star
    units = jnp.asarray(np.linalg.cholesky(np.linalg.inv(curvature)), jnp.float32)
    joint = Joint(
        forward=forward,
        prior=prior,
        observed=observe(stars),
        charts=prior_chart(N_STARS),
        stretch=jnp.broadcast_to(units, (N_STARS, 4, 4)),
        centre=jnp.asarray(mean, jnp.float32),
        scale=jnp.linalg.cholesky(jnp.asarray(covariance, jnp.float32)),
    )
    at = {"galaxy": jnp.zeros((2, 2)), "stars": jnp.zeros((2, 4, N_STARS))}
    chains = Chains(joint, 0.25, 4, True)
    key_warm_up, key_draws = jax.random.split(jax.random.key(1))
    at = _last(chains.draw(key_warm_up, at, 100))
    everyone = np.ones(N_STARS, bool)
    drawn, result = _draw_until_converged(key_draws, chains, at, 300, everyone)
    assert _is_sound(drawn)
    assert_closed_form(result, mean, covariance)


@pytest.mark.thorough
def test_nuts_finds_the_closed_form(problem, npe):
    matrix, stars, prior, forward = problem
    mean, covariance = closed_form(matrix, stars.values)
    start = GalaxyPosterior("guess", np.zeros((2, 2)), np.zeros(2), np.eye(2), {})
    result = run_nuts(
        jax.random.key(1), forward, stars, npe, start, n_draws=190, quiet=True
    )
    # too few for 400 effective draws: the chains go on
    assert len(result.posterior.draws) > 380
    assert_closed_form(result, mean, covariance)


def assert_closed_form(result, mean, covariance):
    assert result.convergence["converged"]
    sd = np.sqrt(np.diag(covariance))
    # 400 effective draws or more: 5 standard errors are 0.25 sigma
    assert np.all(np.abs(result.posterior.mean - mean) < 0.25 * sd)
    width = np.sqrt(np.diag(result.posterior.covariance)) / sd
    assert np.all(np.abs(width - 1.0) < 0.15)
    assert result.star_draws.shape[0] == N_STARS
    assert result.star_draws.shape[2] == 6


@pytest.mark.thorough
def test_chains_that_hardly_move_start_anew(problem, npe, monkeypatch):
    """With an acceptance that no chain has: each try takes smaller steps."""
    monkeypatch.setattr(chemsbi_jax.galaxy.nuts.sampler, "MIN_ACCEPT", 1.1)
    _, stars, prior, forward = problem
    start = GalaxyPosterior("guess", np.zeros((2, 2)), np.zeros(2), np.eye(2), {})
    few = {"n_draws": 20, "n_warmup": 20, "quiet": True}
    one, two = (
        run_nuts(jax.random.key(1), forward, stars, npe, start, n_tries=n, **few)
        for n in (1, 2)
    )
    assert [r.convergence["tries"] for r in (one, two)] == [1, 2]
    assert two.convergence["accepted"] > one.convergence["accepted"]


@pytest.mark.thorough
def test_steep_stars_get_smaller_units_and_stay_where_they_are(problem, npe):
    """Two draws of two chains; a steep star, a star that is steep once, and NaN."""
    _, stars, prior, forward = problem
    start = GalaxyPosterior("guess", np.zeros((2, 2)), np.zeros(2), np.eye(2), {})
    joint, _ = make_joint(jax.random.key(1), forward, stars, npe, start)
    rng = np.random.default_rng(0)
    at = {
        "galaxy": rng.normal(size=(2, 8, 2)).astype(np.float32),
        "stars": rng.normal(size=(2, 8, 4, N_STARS)).astype(np.float32),
    }
    steepness = np.full((2, 8, N_STARS), 4.0)
    steepness[..., 1] = 4.0 * STEEP_MEAN
    steepness[1, -1, 2] = 9.0 * STEEP_MAX
    steepness[:, 0, 3] = 1e6  # before the half that counts
    steepness[..., 4] = np.nan
    no = np.zeros((2, 8), bool)
    chains = Chains(joint, 0.2, 4, True)
    softer, last = _shrink_steep_stars(chains, Draws(at, no, no, no, steepness))
    factor = np.asarray(joint.stretch / softer.joint.stretch)[:, 0, 0]
    assert factor[0] == factor[3] == factor[5] == 1.0
    np.testing.assert_allclose(factor[1], 2.0, rtol=1e-5)
    assert 3.0 * 0.999 < factor[2] < 2.0 * 3.0  # the peak, or the mean that it makes
    assert factor[4] > 1.0
    for c in range(2):
        ends = (jnp.asarray(at[k][c, -1]) for k in ("galaxy", "stars"))
        before, _ = joint.to_latents(*ends)
        ends = (jnp.asarray(last[k][c]) for k in ("galaxy", "stars"))
        after, _ = softer.joint.to_latents(*ends)
        np.testing.assert_allclose(before, after, atol=1e-4)


def walled(theta, matrix):
    """An emulator that ends at five prior widths of the local parameters."""
    inside = jnp.all(jnp.abs(theta[..., 2:]) <= 5.0, axis=-1, keepdims=True)
    return jnp.where(inside, theta @ matrix, jnp.nan)


@pytest.mark.thorough
def test_no_cliff_where_the_emulator_ends(problem, npe):
    """Steps of the chains far beyond its end are no divergences."""
    matrix, stars, prior, forward = problem
    start = GalaxyPosterior("guess", np.zeros((2, 2)), np.zeros(2), np.eye(2), {})
    joint, _ = make_joint(jax.random.key(1), forward, stars, npe, start)
    ends = Partial(walled, matrix=jnp.asarray(matrix, jnp.float32))
    joint = joint._replace(forward=ends)
    far = 20.0 * jax.random.normal(jax.random.key(2), (100, 4, N_STARS))
    at = {"galaxy": jnp.zeros((100, 2)), "stars": far}
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(joint.potential)))(at)
    assert np.abs(np.asarray(value)).max() < 1e8  # a star without a model costs 1e10
    assert np.isfinite(slope["stars"]).all()
    assert np.isfinite(slope["galaxy"]).all()


def test_latents_within_the_edge_are_those_of_a_cut_prior():
    """Against scipy's truncated normal; smooth, and the middle is not moved."""
    prior = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
    latent = jnp.linspace(-7.0, 7.0, 57)
    latents = jnp.broadcast_to(latent[:, None], (57, 6))
    theta = jax.jit(partial(to_theta, prior))(latents)
    np.testing.assert_array_equal(theta[:, 0], latent)  # the galaxy's are free
    u = norm.cdf(-np.abs(np.asarray(latent, float)))
    expected = -np.sign(latent) * truncnorm.ppf(u, -EDGE, EDGE)
    np.testing.assert_allclose(theta[:, 3], expected, atol=2e-4)
    third = jax.grad(lambda z: to_theta(prior, jnp.full(6, z))[3])
    slope = jax.jit(jax.vmap(third))(latent)
    assert np.all(np.isfinite(slope))
    assert np.all(slope > 0.0)


def test_gaps_do_not_count(problem):
    _, stars, _, forward = problem
    theta = jnp.zeros((N_STARS, 6))
    observed = stars.observed.copy()
    observed[:, 3] = False
    values = np.where(observed, stars.values, np.nan)
    errors = np.where(observed, stars.errors, np.nan)
    gaps = observe(stars._replace(values=values, errors=errors, observed=observed))
    full = log_likelihood(forward, theta, observe(stars))
    less = log_likelihood(forward, theta, gaps)
    missing = -0.5 * (stars.values[:, 3] / SIGMA) ** 2
    np.testing.assert_allclose(full - less, missing, rtol=1e-4, atol=1e-4)


def test_birth_times_count(problem):
    _, stars, _, forward = problem
    theta = jnp.zeros((N_STARS, 6))
    dated = stars._replace(
        birth_time=np.full(N_STARS, 2.0), e_birth_time=np.full(N_STARS, 0.5)
    )
    change = log_likelihood(forward, theta, observe(dated)) - log_likelihood(
        forward, theta, observe(stars)
    )
    np.testing.assert_allclose(change, -8.0, rtol=1e-5)


def test_gate_rejects_what_did_not_converge():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(2, 1000, 2))
    none = np.zeros((2, 1000), bool)
    assert check_convergence(good, none)["converged"]
    assert not check_convergence(good + [[[0.0]], [[1.0]]], none)["converged"]
    assert not check_convergence(good[:, :100], none[:, :100])["converged"]
    one = none.copy()
    one[0, 3] = True
    assert not check_convergence(good, one)["converged"]
    walk = np.cumsum(good, axis=1)
    assert not check_convergence(walk, none)["converged"]
