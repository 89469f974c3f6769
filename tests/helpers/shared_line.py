"""A linear model of stars with shared errors, whose likelihood has a closed form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.tree_util import Partial
from scipy import stats as scipy_stats

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical.shared import unpack
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


def linear_model():
    rng = np.random.default_rng(3)
    by_theta = 0.3 * rng.normal(size=(6, 8))
    slopes = Line(
        jnp.asarray(by_theta, jnp.float32),
        jnp.asarray(0.7 * rng.normal(size=(N_FACTORS, 8)), jnp.float32),
    )
    return Model(Partial(line, slopes=slopes), PRIOR)


def linear_stars(model):
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
