"""Shared errors, against models whose marginal likelihood has a closed form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy import stats as scipy_stats

import chemsbi_jax as cs
from chemsbi_jax.constants import ABUNDANCES, SHARED_FACTORS
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical import (
    joint_density,
    mode,
    shared_density,
    surrogate,
)
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import Model, make_stars
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
    covariance = spread + np.diag(ERROR**2 + shared.variance[:8])
    covariance = covariance[np.ix_(seen, seen)]
    normal = scipy_stats.multivariate_normal(mean[seen], covariance)
    return normal.logpdf(stars.values[i][seen])


def at_random(layout, seed, size=0.5):
    return size * jax.random.normal(jax.random.key(seed), layout.scale.shape)


def expansion_at(model, stars, layout, psi, settings=CONSTANT):
    """All stars along the last axis, and their expansion around one psi."""
    rows = make_stars(stars, settings, PRIOR)
    start = np.zeros((N, 4), np.float32)
    local, found = mode.expand_at(
        rows, start, model, layout, np.asarray(psi, float), np.eye(len(psi))
    )
    return rows, local, found


@jax.jit
def log_likelihoods(psi, rows, expansion, layout):
    """Of each star, with those that fill up the last block."""
    return surrogate.normals(rows, expansion, layout, psi).log_likelihood


@jax.jit
def slope_of_sum(psi, rows, expansion, layout):
    def total(psi):
        return log_likelihoods(psi, rows, expansion, layout)[:N].sum()

    return jax.grad(total)(psi)


def test_marginal_likelihoods_are_those_of_the_linear_model(model, stars):
    """At the centre of the expansion, and at another psi."""
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    here, there = at_random(layout, 1, 0.2), at_random(layout, 2, 0.3)
    rows, _, found = expansion_at(model, stars, layout, here)
    rows = shared_density.last_axis(rows)
    for psi in (here, there):
        expected = [log_normal(model, stars, i, psi, layout) for i in range(N)]
        # float32: a few hundred nats of chi2
        each = log_likelihoods(psi, rows, found, layout)[:N]
        np.testing.assert_allclose(each, expected, rtol=2e-4, atol=0.02)


@pytest.mark.thorough
def test_slopes_of_marginal_likelihoods_are_differences(model, stars):
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    here, there = at_random(layout, 1, 0.2), at_random(layout, 2, 0.3)
    rows, _, found = expansion_at(model, stars, layout, here)
    slope = slope_of_sum(there, shared_density.last_axis(rows), found, layout)
    for i in (0, 5, 15, 22, 30):
        step = 1e-3 * np.eye(len(there))[i]
        two = [
            sum(log_normal(model, stars, k, there + s * step, layout) for k in range(N))
            for s in (1.0, -1.0)
        ]
        expected = (two[0] - two[1]) / 2e-3
        np.testing.assert_allclose(slope[i], expected, rtol=5e-3, atol=0.5)


def test_shared_errors_of_iron_count(model, stars):
    """[X/Fe] from [X/H]: the density is that of the full covariance, here by scipy."""
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    iron = ABUNDANCES.index("fe_h")
    errors = stars.errors.copy()
    errors[:, iron] *= np.sqrt(0.5)  # half of the variance of [X/Fe] is that of [Fe/H]
    shared = stars._replace(errors=errors, fe_covariance=errors[:, iron] ** 2)
    psi = at_random(layout, 1, 0.2)
    psi = psi.at[layout.slices()["scatter"]].set(-30.0)  # none
    rows, _, expansion = expansion_at(model, shared, layout, psi)
    rows = shared_density.last_axis(rows)
    found = log_likelihoods(psi, rows, expansion, layout)[1]
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


def density_at(model, stars, layout, psi):
    """Density of psi around one place."""
    rows, _, expansion = expansion_at(model, stars, layout, psi)
    shape = shared_density.last_axis(rows), expansion, layout
    covariance = 0.01 * np.eye(len(psi))
    return shared_density.make_density(*shape, np.asarray(psi), covariance, N)


@pytest.mark.thorough
def test_coordinates_integrate_to_the_marginal(model, stars, key):
    """In a linear model the stars' coordinates are standard normals at every psi."""
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    here = np.asarray(at_random(layout, 1, 0.2))
    shared = density_at(model, stars, layout, here)
    joint = joint_density.JointDensity(shared, model)
    at = 2.0 * jax.random.normal(key, here.shape)
    psi = shared.psi(at)
    noise = jax.random.normal(key, (4, shared.star.values.shape[-1]))
    found = joint.of_stars(at, noise) - scipy_stats.norm.logpdf(noise).sum(axis=0)
    expected = [log_normal(model, stars, i, psi, layout) for i in range(N)]
    np.testing.assert_allclose(found[:N], expected, rtol=2e-4, atol=0.02)
