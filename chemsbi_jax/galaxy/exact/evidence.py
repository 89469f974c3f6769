"""Marginal likelihood of a galaxy, a by-product of the exact method.

ln Z is the log of the prior mean, over the global and all local parameters, of the
likelihood of all stars, with the normalisation of the Gaussian errors: the number by
which models with different yields are compared.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Key

from chemsbi_jax.galaxy.exact.blocks import MAX_EXTRA_ROUNDS, in_blocks
from chemsbi_jax.galaxy.exact.importance import Star, draw_weighted
from chemsbi_jax.galaxy.exact.polynomial import interpolate, log_integral
from chemsbi_jax.galaxy.exact.posterior import Exact
from chemsbi_jax.galaxy.grid import draw_from_grid
from chemsbi_jax.galaxy.likelihood import Observed
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import Forward

# batches of draws of each star at the posterior's mean: their mean takes out the bias
# of the few draws on the design, which is that of the log of a mean
N_BATCHES, BATCH_DRAWS = 8, 512
N_POSTERIOR_DRAWS = 1000  # of the global parameters, for `pointwise`


class LogEvidence(NamedTuple):
    """Marginal likelihood of the used stars."""

    value: float  # natural log; densities of dex (and Gyr for birth times)
    error: float  # its standard deviation by the Monte Carlo draws
    # log likelihood of each used star at draws of the global parameters
    pointwise: Float[np.ndarray, "star draw"]


def log_evidence(
    key: Key[Array, ""], exact: Exact, npe: Npe, forward: Forward
) -> LogEvidence:
    """The evidence of the stars that the exact method used, and the likelihood of each.

    The stars' likelihoods on the design, which share their draws between points, give
    the shape; more draws at the posterior's mean give the level. Neglected: the bias
    that remains, of at most 1 / (2 n) a star for n effective draws there.

    Args:
        key: determines the draws of the global parameters.
        exact: `exact_of_stars`, converged.
        npe: the network it was made with.
        forward: theta (..., 6) -> abundances [dex].
    """
    rows = np.flatnonzero(exact.is_used)
    each = np.asarray(exact.found.log_likelihood, float)[rows]
    total = each.sum(axis=0)
    stars = jax.tree.map(lambda x: np.asarray(x)[rows], exact.stars)
    mean = np.asarray(exact.grid.mean, float)
    level, error = _at_mean(stars, npe, forward, mean)
    on_design = interpolate(exact.design, total, each, mean[:, None])[:, 0]
    shift = level - on_design + gaussian_constants(stars.observed)
    latent = np.asarray(draw_from_grid(key, exact.grid, N_POSTERIOR_DRAWS), float).T
    pointwise = interpolate(exact.design, total, each, latent) + shift[:, None]
    value = log_integral(exact.design, total) + shift.sum()
    return LogEvidence(float(value), error, pointwise)


def gaussian_constants(observed: Observed) -> Float[np.ndarray, " star"]:
    """What `log_likelihood` leaves out: the normalisation of the Gaussian errors."""
    weights = np.concatenate(
        [observed.weight, np.asarray(observed.birth_weight)[:, None]], axis=1
    ).astype(float)
    seen = weights > 0.0
    each = 0.5 * np.log(np.where(seen, weights, 1.0) / (2.0 * np.pi))
    return np.where(seen, each, 0.0).sum(axis=1)


def _at_mean(
    stars: Star, npe: Npe, forward: Forward, mean: Float[np.ndarray, " 2"]
) -> tuple[Float[np.ndarray, " star"], float]:
    """Log likelihood of each star at one place, and the error of their sum."""
    total = np.asarray(in_blocks(_batches, stars, npe, forward, mean), float)
    largest = total.max(axis=1, keepdims=True)
    share = np.exp(total - largest)
    value = largest[:, 0] + np.log(share.mean(axis=1))
    spread = share.var(axis=1, ddof=1) / share.mean(axis=1) ** 2 / N_BATCHES
    return value, float(np.sqrt(spread.sum()))


def _batches(
    stars: Star, npe: Npe, forward: Forward, point: Float[Array, " 2"]
) -> Float[Array, "star batch"]:
    def one(star: Star) -> Array:
        def batch(i: Array) -> Array:
            # the exact method has used the indices below MAX_EXTRA_ROUNDS
            key = jax.random.fold_in(star.keys().extra, MAX_EXTRA_ROUNDS + i)
            draws = draw_weighted(key, star, npe, forward, point[:, None], BATCH_DRAWS)
            return logsumexp(draws.log_weight[0]) - jnp.log(BATCH_DRAWS)

        return lax.map(batch, jnp.arange(N_BATCHES))

    return lax.map(one, stars)
