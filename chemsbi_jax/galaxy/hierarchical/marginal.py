"""Laplace marginal likelihood of each star, with the readings linear in all inputs."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from chemsbi_jax.galaxy.hierarchical.proposals import (
    N_LOCAL,
    Anchor,
    linear_readings,
    normal_approximation,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.small import log_determinant
from chemsbi_jax.galaxy.hierarchical.star import (
    LOG_2_PI,
    Star,
    log_likelihood,
    log_population,
)


def laplace_marginal(
    star: Star, anchor: Anchor, layout: Layout, psi: Float[Array, " psi"]
) -> Float[Array, ""]:
    """In closed form, around the star's mode at the anchor's psi."""
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
