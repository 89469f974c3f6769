"""Marginal likelihood of each star given the shared parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Key

from chemsbi_jax.galaxy.exact.importance import n_effective
from chemsbi_jax.galaxy.hierarchical.proposals import (
    N_LOCAL,
    Anchor,
    Guide,
    draw_local,
    linear_readings,
    log_weights,
    normal_approximation,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.small import log_determinant
from chemsbi_jax.galaxy.hierarchical.star import (
    LOG_2_PI,
    Model,
    Star,
    log_likelihood,
    log_population,
)


class Marginal(NamedTuple):
    """Importance sampling over the local latents of stars at one psi."""

    log_likelihood: Float[Array, "*star"]  # normalised, with outliers
    n_effective: Float[Array, "*star"]  # draws
    inlier: Float[Array, "*star"]  # posterior chance that it is no outlier


def sampled_marginal(
    key: Key[Array, ""],
    star: Star,
    guide: Guide,
    model: Model,
    layout: Layout,
    psi: Float[Array, " psi"],
    n: int,
) -> Marginal:
    """Marginal likelihood of one star from `n` draws of the forward model."""
    shared = unpack(psi, layout)
    weights = log_weights(
        star, shared, model, *draw_local(key, star, guide, layout, psi, n)
    )
    inlier = logsumexp(weights) - jnp.log(n)
    total = with_outliers(star, shared, inlier)
    share = jnp.exp(inlier + jnp.log1p(-jnp.exp(shared.log_outliers)) - total)
    return Marginal(total, n_effective(weights), share)


def laplace_marginal(
    star: Star, anchor: Anchor, layout: Layout, psi: Float[Array, " psi"]
) -> Float[Array, ""]:
    """The same in closed form, with the readings linear around the star's mode."""
    shared = unpack(psi, layout)
    root, step = normal_approximation(star, anchor, layout, psi)
    local = anchor.mode + step
    value = linear_readings(anchor, layout, psi, local)
    inlier = log_likelihood(star, shared, value) + log_population(shared, local)
    inlier = inlier - log_determinant(root) + 0.5 * N_LOCAL * LOG_2_PI
    return with_outliers(star, shared, inlier)


def with_outliers(
    star: Star, shared: Shared, inlier: Float[Array, "*b"]
) -> Float[Array, "*b"]:
    """Log of the mixture with the broad normal of the outliers."""
    inlier = inlier + jnp.log1p(-jnp.exp(shared.log_outliers))
    return jnp.logaddexp(inlier, shared.log_outliers + star.log_broad)


def marginals(block, model: Model, layout: Layout, psi: Array, n: int) -> Marginal:
    """`sampled_marginal` of a block (keys, stars, guides)."""
    return jax.vmap(lambda k, s, g: sampled_marginal(k, s, g, model, layout, psi, n))(
        *block
    )
