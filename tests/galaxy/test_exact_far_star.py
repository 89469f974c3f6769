"""A star that the network's proposals fail: the prior proposes in their place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp, ndtri
from jax.scipy.stats import norm

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.galaxy.exact.blocks import (
    effective_draws,
    evidence_at,
    resample_poor_stars,
)
from chemsbi_jax.galaxy.exact.importance import keys_of_stars, new_stars
from chemsbi_jax.galaxy.exact.maps import adapt_poor_proposals
from chemsbi_jax.galaxy.exact.polynomial import Design, fit_polynomial
from chemsbi_jax.galaxy.exact.start import features_of
from chemsbi_jax.galaxy.likelihood import log_likelihood, observe
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.types import Stars

IRON, MEASURED, ERROR = 1, -2.6, 0.07  # [Fe/H] alone, 7 sigma from any likely star
N_DRAWS = 2**16


@pytest.fixture(scope="module")
def problem():
    networks = load_networks("tng-any")
    values = np.full((8, len(cs.ABUNDANCES)), np.nan)
    values[:, IRON] = np.append(np.linspace(-0.4, 0.2, 7), MEASURED)
    unknown = np.full(8, np.nan)
    errors = np.where(np.isfinite(values), ERROR, np.nan)
    names = np.arange(8).astype(str)
    stars = Stars(values, errors, np.isfinite(values), unknown, unknown, names)
    return networks, stars


def brute_force(networks, observed, point):
    """Log likelihood of the last star: draws around its best local latents."""
    npe, forward = networks
    last = jax.tree.map(lambda x: jnp.asarray(x)[-1], observed)

    @jax.jit
    def log_density(local):
        latent = jnp.concatenate([point + jnp.zeros((len(local), 2)), local], axis=-1)
        gain = log_likelihood(forward, priors.from_normal(npe.prior, latent), last)
        return gain + norm.logpdf(local).sum(axis=-1)

    centre, root = jnp.zeros(4), 2.5 * jnp.eye(4)
    for key in jax.random.split(jax.random.key(0), 6):  # adaptive importance sampling
        noise = ndtri(jax.random.uniform(key, (N_DRAWS, 4), minval=1e-6))
        local = centre + noise @ root
        log_volume = jnp.log(jnp.abs(jnp.linalg.det(root)))
        log_weight = log_density(local) - norm.logpdf(noise).sum(axis=-1) + log_volume
        share = jax.nn.softmax(log_weight)
        centre = share @ local
        away = local - centre
        root = 1.3 * jnp.linalg.cholesky((share * away.T) @ away).T
    assert 1.0 / (share**2).sum() > 1000.0
    return float(logsumexp(log_weight) - jnp.log(N_DRAWS))


@pytest.mark.thorough
def test_a_far_star_gets_proposals_from_the_prior(problem):
    networks, stars = problem
    npe, forward = networks
    observed, words = observe(stars), keys_of_stars(jax.random.key(3), 8)
    plain = new_stars(words, features_of(npe, stars), observed)
    design = Design(np.array([-1.1, -0.27]), np.diag([0.13, 0.22]), 5)
    found = evidence_at(plain, npe, forward, design.points)
    better, charted = adapt_poor_proposals(plain, found, npe, forward, design)
    np.testing.assert_array_equal(better.is_blind, [False] * 7 + [True])
    every = np.ones(8, bool)
    charted = resample_poor_stars(better, charted, npe, forward, design, every)
    assert effective_draws(charted, design)[-1] > 20.0
    last = np.asarray(charted.log_likelihood[-1], float)
    assert fit_polynomial(design, last)[1] < 0.1  # noise of the design, in log density
    for i in (6, 12, 18):  # inner points
        known = brute_force(networks, observed, design.points[:, i])
        # 20 effective draws: 0.22 in a log
        assert abs(last[i] - known) < 0.25
