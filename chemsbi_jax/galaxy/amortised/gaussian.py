"""Product of Gaussian posteriors of the stars, with the prior divided out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.amortised.padding import keys_of_stars, on_all_devices
from chemsbi_jax.npe.model import Npe, sample_global_latents
from chemsbi_jax.types import AnyArray

N_STAR_DRAWS = 1000  # draws of each star
MIN_GAIN = 1e-6  # smallest information of a star, in units of the prior's


class GaussianProduct(NamedTuple):
    """Product of Gaussian posteriors."""

    mean: Float[Array, " 2"]
    covariance: Float[Array, "2 2"]
    is_guarded: Bool[Array, " star"]  # weaker than the prior in some direction


class StreamedGaussian(NamedTuple):
    """Product of Gaussian posteriors, from sums in float64."""

    mean: Float[np.ndarray, " 2"]
    covariance: Float[np.ndarray, "2 2"]


class StarGain(NamedTuple):
    """Information of each star beyond the prior, in units of the prior."""

    precision: Float[Array, "star 2 2"]  # never negative
    push: Float[Array, "star 2"]  # precision times mean
    is_guarded: Bool[Array, " star"]  # weaker than the prior in some direction


def combine_gaussians(
    means: Float[AnyArray, "star 2"],
    covariances: Float[AnyArray, "star 2 2"],
    prior_mean: Float[AnyArray, " 2"],
    prior_covariance: Float[AnyArray, "2 2"],
    is_star: Bool[AnyArray, " star"] | None = None,
) -> GaussianProduct:
    r""":math:`P = \sum P_i - (N-1) P_0`, :math:`P\mu` alike, with full matrices.

    A star adds :math:`P_i - P_0` to the prior. Where noise makes that negative in a
    direction, the star's information in that direction is set to zero.

    Args:
        means: mean of each star's posterior.
        covariances: covariance of each star's posterior.
        prior_mean: mean of the prior in each of these posteriors.
        prior_covariance: covariance of that prior.
        is_star: False for rows that are only padding.
    """
    root = jnp.linalg.cholesky(prior_covariance)
    is_star = jnp.ones(len(means), bool) if is_star is None else is_star
    gain = star_gains(means, covariances, prior_mean, root)
    precision = jnp.where(is_star[:, None, None], gain.precision, 0.0)
    push = jnp.where(is_star[:, None], gain.push, 0.0)
    total = jnp.eye(N_GLOBAL) + jnp.sum(precision, 0)
    shift = jnp.linalg.solve(total, jnp.sum(push, 0))
    covariance = root @ jnp.linalg.inv(total) @ root.T
    return GaussianProduct(
        prior_mean + root @ shift, covariance, gain.is_guarded & is_star
    )


def star_gains(
    means: Float[AnyArray, "star 2"],
    covariances: Float[AnyArray, "star 2 2"],
    prior_mean: Float[AnyArray, " 2"],
    root: Float[AnyArray, "2 2"],
) -> StarGain:
    """Information beyond the prior; `root` is the Cholesky factor of its covariance."""

    def one(mean: Array, covariance: Array) -> tuple[Array, Array, Array]:
        # in units of the prior, where its precision is the identity
        precision = root.T @ jnp.linalg.inv(covariance) @ root
        shift = jnp.linalg.solve(root, mean - prior_mean)
        values, vectors = jnp.linalg.eigh(precision - jnp.eye(N_GLOBAL))
        is_weak = values < MIN_GAIN
        push = jnp.where(is_weak, 0.0, vectors.T @ precision @ shift)
        gain = (vectors * jnp.where(is_weak, 0.0, values)) @ vectors.T
        return gain, vectors @ push, is_weak.any()

    return StarGain(*jax.vmap(one)(jnp.asarray(means), jnp.asarray(covariances)))


def gaussian_product(
    key: Key[Array, ""],
    npe: Npe,
    inputs: Float[Array, "star input"],
    is_star: Bool[Array, " star"],
) -> GaussianProduct:
    """Gaussian method in latents; `is_star` is False for padding."""
    return multiply_stars(*moments_of_stars(key, npe, inputs), is_star)


def moments_of_stars(
    key: Key[Array, ""], npe: Npe, inputs: Float[Array, "star input"]
) -> tuple[Float[Array, "star 2"], Float[Array, "star 2 2"]]:
    """Mean and covariance of the global latents of each star of a padded table."""
    stars = (keys_of_stars(key, len(inputs)), inputs)
    return on_all_devices(star_moments)(stars, npe)


@quick_jit
def multiply_stars(
    means: Float[Array, "star 2"],
    covariances: Float[Array, "star 2 2"],
    is_star: Bool[Array, " star"],
) -> GaussianProduct:
    """Product of the Gaussians of some stars, in latents."""
    zero, one = jnp.zeros(N_GLOBAL), jnp.eye(N_GLOBAL)
    return combine_gaussians(means, covariances, zero, one, is_star)


def star_moments(
    stars: tuple[Key[Array, " star"], Array], npe: Npe
) -> tuple[Array, Array]:
    """Mean and covariance of the global latents of each star."""
    keys, inputs = stars
    draws = sample_global_latents(keys, npe, inputs, N_STAR_DRAWS)
    means = draws.mean(axis=1)
    centred = draws - means[:, None]
    return means, jnp.einsum("nda,ndb->nab", centred, centred) / (N_STAR_DRAWS - 1)
