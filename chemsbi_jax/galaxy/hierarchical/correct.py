"""Importance sampling of the stars' local latents, and what it changes for psi.

The chains have Laplace marginal likelihoods. A sampled one of each star at some of
their draws, with the same random numbers at every psi, gives these draws weights.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from chemsbi_jax.galaxy.exact.importance import n_effective
from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.follow import follow
from chemsbi_jax.galaxy.hierarchical.marginal import with_outliers
from chemsbi_jax.galaxy.hierarchical.proposals import (
    N_LOCAL,
    WIDEN,
    Anchor,
    even_normals,
    log_weights,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout, unpack
from chemsbi_jax.galaxy.hierarchical.small import log_determinant, solve_upper
from chemsbi_jax.galaxy.hierarchical.star import Model, Star


class Marginal(NamedTuple):
    """Importance sampling over the local latents of stars."""

    log_likelihood: Float[Array, "*star"]  # normalised, with outliers
    n_effective: Float[Array, "*star"]  # draws
    inlier: Float[Array, "*star"]  # posterior chance that it is no outlier
    laplace: Float[Array, "*star"]  # the same log likelihood by Laplace


class Correction(NamedTuple):
    """Weights of draws of psi, and what they came from."""

    log_weights: Float[np.ndarray, " draw"]  # smoothed, normalised
    pareto_k: float
    raw_sd: float  # of the log weights before smoothing
    noise: float  # sd of their error, from the halves of the draws; nats
    stars: Marginal  # mean over the draws of psi


def sampled_marginal(
    key: Key[Array, ""],
    star: Star,
    anchor: Anchor,
    model: Model,
    layout: Layout,
    psi: Float[Array, " psi"],
    n: int,
) -> Marginal:
    """Marginal likelihood of one star from `n` draws of the forward model."""
    shared = unpack(psi, layout)
    normal = follow(star, anchor, model, layout, psi)
    noise = even_normals(key, n)
    local = normal.mode + solve_upper(normal.root, WIDEN * noise.T)
    volume = N_LOCAL * jnp.log(WIDEN) - log_determinant(normal.root)
    log_density = norm.logpdf(noise).sum(axis=0) - volume
    weights = log_weights(star, shared, model, local, log_density)
    inlier = logsumexp(weights) - jnp.log(n)
    total = with_outliers(star, shared, inlier)
    chance = jnp.exp(inlier + jnp.log1p(-jnp.exp(shared.log_outliers)) - total)
    return Marginal(total, n_effective(weights), chance, normal.log_likelihood)


def correct_draws(
    key: Key[Array, ""],
    stars: Star,
    anchors: Anchor,
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, "draw psi"],
    n: int,
) -> Correction:
    """Pareto-smoothed weights of draws of psi, from `n` draws of each star.

    Two independent halves of the draws of the stars give the error of the log weights.
    """
    import arviz  # here, as it takes a second that other methods need not wait for

    n_stars = len(stars.values)
    keys = jax.random.split(key, (n_stars, 2))
    at = jnp.asarray(psi, jnp.float32)
    halves = in_blocks(
        _marginals, (keys, stars, anchors), model, layout, at, max(n // 2, 1)
    )
    each = Marginal(*(np.asarray(x, float) for x in halves))  # (star, draw, half)
    half = (each.log_likelihood - each.laplace).sum(axis=0)
    noise = float((half[:, 0] - half[:, 1]).std() / 2.0)
    both = np.logaddexp(*np.moveaxis(each.log_likelihood, -1, 0)) - np.log(2.0)
    raw = (both - each.laplace[..., 0]).sum(axis=0)
    smooth, k = arviz.psislw(raw)
    mean = Marginal(*(x.mean(axis=(1, 2)) for x in each))
    mean = mean._replace(n_effective=2.0 * mean.n_effective)
    return Correction(np.asarray(smooth), float(k), float(raw.std()), noise, mean)


def _marginals(block, model: Model, layout: Layout, psi: Array, n: int) -> Marginal:
    def at_one(psi: Array) -> Marginal:
        def one(key: Array, star: Star, anchor: Anchor) -> Marginal:
            return sampled_marginal(key, star, anchor, model, layout, psi, n)

        # (star, half)
        return jax.vmap(jax.vmap(one, (0, None, None)))(*block)

    found = lax.map(at_one, psi)  # (draw, star, half)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), found)
