"""Product of Gaussian posteriors, with the prior divided out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from chemsbi_jax.constants import N_GLOBAL

MIN_GAIN = 1e-6  # smallest information of a star, in units of the prior's


class GaussianProduct(NamedTuple):
    """Product of Gaussian posteriors."""

    mean: Float[Array, " 2"]
    covariance: Float[Array, "2 2"]
    is_guarded: Bool[Array, " star"]  # weaker than the prior in some direction


class StarGain(NamedTuple):
    """What each star adds to the prior, in units in which that is standard normal."""

    precision: Float[Array, "star 2 2"]  # never negative
    push: Float[Array, "star 2"]  # precision times mean
    is_guarded: Bool[Array, " star"]  # weaker than the prior in some direction


def combine_gaussians(
    means: Float[Array, "star 2"],
    covariances: Float[Array, "star 2 2"],
    prior_mean: Float[Array, " 2"],
    prior_covariance: Float[Array, "2 2"],
    counts: Bool[Array, " star"] | None = None,
) -> GaussianProduct:
    r""":math:`P = \sum P_i - (N-1) P_0`, :math:`P\mu` alike, with full matrices.

    A star's :math:`P_i - P_0` is what it adds to the prior. Where noise makes that
    negative in a direction, the star is taken to know nothing in that direction.

    Args:
        means: mean of each star's posterior.
        covariances: and its covariance.
        prior_mean: mean of the prior that each of them contains.
        prior_covariance: and its covariance.
        counts: False for rows that are only padding.
    """
    root = jnp.linalg.cholesky(prior_covariance)
    counts = jnp.ones(len(means), bool) if counts is None else counts
    gain = star_gains(means, covariances, prior_mean, root)
    precision = jnp.where(counts[:, None, None], gain.precision, 0.0)
    push = jnp.where(counts[:, None], gain.push, 0.0)
    total = jnp.eye(N_GLOBAL) + jnp.sum(precision, 0)
    shift = jnp.linalg.solve(total, jnp.sum(push, 0))
    covariance = root @ jnp.linalg.inv(total) @ root.T
    return GaussianProduct(
        prior_mean + root @ shift, covariance, gain.is_guarded & counts
    )


def star_gains(
    means: Float[Array, "star 2"],
    covariances: Float[Array, "star 2 2"],
    prior_mean: Float[Array, " 2"],
    root: Float[Array, "2 2"],
) -> StarGain:
    """What stars add to the prior; `root` is the Cholesky factor of its covariance."""

    def one(mean: Array, covariance: Array) -> tuple[Array, Array, Array]:
        # in units of the prior, where its precision is the identity
        precision = root.T @ jnp.linalg.inv(covariance) @ root
        shift = jnp.linalg.solve(root, mean - prior_mean)
        values, vectors = jnp.linalg.eigh(precision - jnp.eye(N_GLOBAL))
        is_weak = values < MIN_GAIN
        push = jnp.where(is_weak, 0.0, vectors.T @ precision @ shift)
        gain = (vectors * jnp.where(is_weak, 0.0, values)) @ vectors.T
        return gain, vectors @ push, is_weak.any()

    return StarGain(*jax.vmap(one)(means, covariances))
