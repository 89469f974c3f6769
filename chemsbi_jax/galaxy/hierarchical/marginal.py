"""Marginal likelihood of each star given the shared parameters."""

import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from chemsbi_jax.galaxy.evidence import n_effective
from chemsbi_jax.galaxy.hierarchical.proposals import (
    Linear,
    Proposal,
    inputs_at,
    log_weights,
    move,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.star import Model, Star, readings


def exact_marginal(
    star: Star, proposal: Proposal, model: Model, layout: Layout, psi: Array
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Log marginal likelihood of one star from the forward model at moved draws.

    Returns:
        It, the effective number of draws, and the posterior chance that the star is no
        outlier.
    """
    shared = unpack(psi, layout)
    local, log_density = move(star, proposal, layout, psi)
    predicted = readings(model, inputs_at(shared, local))
    return _mixture(star, shared, local, log_density, predicted)


def linear_marginal(
    star: Star,
    proposal: Proposal,
    linear: Linear,
    layout: Layout,
    psi: Float[Array, " psi"],
) -> Float[Array, ""]:
    """The same with readings to first order around the proposal's psi."""
    shared = unpack(psi, layout)
    local, log_density = move(star, proposal, layout, psi)
    moved = inputs_at(shared, local) - linear.inputs
    predicted = linear.value + jnp.einsum("kri,ki->kr", linear.slope, moved)
    return _mixture(star, shared, local, log_density, (predicted, linear.bad))[0]


def _mixture(
    star: Star, shared: Shared, local: Array, log_density: Array, predicted: tuple
) -> tuple[Array, Array, Array]:
    weights = log_weights(star, shared, local, log_density, predicted)
    inlier = logsumexp(weights) - jnp.log(len(weights))
    inlier = inlier + jnp.log1p(-jnp.exp(shared.log_outliers))
    total = jnp.logaddexp(inlier, shared.log_outliers + star.log_broad)
    return total, n_effective(weights), jnp.exp(inlier - total)
