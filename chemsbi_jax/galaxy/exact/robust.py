"""Model errors of the abundances, estimated from the stars.

As in Philcox & Rybizki 2019, each abundance gets an error of the model beside the
measurement's, Gaussian and new for each star. Its size is found by expectation
maximisation with the weighted draws of `exact`: the mean squared residual of an
abundance is its measured variance plus that of the model. Abundances that the model
can't reproduce then count less, and the interval widens.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.galaxy.exact.blocks import in_blocks
from chemsbi_jax.galaxy.exact.importance import Star, draw_weighted
from chemsbi_jax.galaxy.exact.maps import adapt_charts
from chemsbi_jax.galaxy.exact.posterior import Exact, exact_posterior
from chemsbi_jax.galaxy.likelihood import distance
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import Forward

N_ROUNDS = 12
RESIDUAL_DRAWS = 128  # of each star
REFIT_EVERY = 4  # rounds; then the galaxy's posterior and the maps are fitted anew
OVER_RELAXATION = 1.5  # of the steps, which are small where a model error is small
MIN_NORM = 1e-12


class Robust(NamedTuple):
    """The posterior with model errors, and their sizes."""

    exact: Exact
    model_error: Float[np.ndarray, " element"]  # dex


def squared_residuals(
    star: Star, npe: Npe, forward: Forward, point: Float[Array, " 2"]
) -> Float[Array, " element"]:
    """Posterior mean of the squared residuals of one star [dex^2]."""
    key = star.keys().design  # the same draws in every round: steps without noise
    draws = draw_weighted(key, star, npe, forward, point[:, None], RESIDUAL_DRAWS)
    before = jnp.broadcast_to(point[:, None], (2, RESIDUAL_DRAWS))
    theta = priors.from_normal(
        npe.prior, jnp.concatenate([before, draws.local[:, 0]]).T
    )
    return (
        jax.nn.softmax(draws.log_weight[0])
        @ distance(forward(theta), star.observed) ** 2
    )


def robust_posterior(
    key: Key[Array, ""], npe: Npe, forward: Forward, start: Exact
) -> Robust:
    """Posterior of the global latents with a model error of each abundance.

    Args:
        key: determines the draws.
        npe: prior, and proposals for the local parameters.
        forward: theta (..., 6) -> abundances [dex].
        start: `exact_posterior` of the stars; those that it left out stay out.
    """
    kept = np.flatnonzero(start.is_used)
    stars = jax.tree.map(lambda x: x[kept], start.stars)
    weight = np.asarray(stars.observed.weight, float)
    seen = weight > 0.0
    variance = np.where(seen, 1.0 / np.where(seen, weight, 1.0), np.inf)  # measured
    result, extra = start, np.zeros(weight.shape[1])
    for i in range(N_ROUNDS + 1):
        inflated = (1.0 / (variance + extra)).astype(np.float32)
        stars = stars._replace(observed=stars.observed._replace(weight=inflated))
        mean = np.asarray(result.grid.mean, float)
        if i % REFIT_EVERY == 0 and i > 0:
            result = exact_posterior(
                key,  # key reuse: the same draws each time, so steps without noise
                npe,
                forward,
                stars.observed,
                stars.seen,
                mean,
                result.grid.covariance,
            )
        if i == N_ROUNDS:
            break
        if i % REFIT_EVERY == 0:  # between, the maps are good enough
            stars = adapt_charts(stars, npe, forward, mean)
        squares = np.asarray(in_blocks(_squares, stars, npe, forward, mean), float)
        total = variance + extra
        # of each star, in units of its own variance: errors may differ
        excess = np.where(seen, squares - total, 0.0) / np.where(seen, total, 1.0) ** 2
        norm = np.where(seen, 1.0 / np.where(seen, total, 1.0) ** 2, 0.0).sum(axis=0)
        step = excess.sum(axis=0) / np.maximum(norm, MIN_NORM)
        extra = np.maximum(extra + OVER_RELAXATION * step, 0.0)
    return Robust(result, np.sqrt(extra))


def _squares(
    stars: Star, npe: Npe, forward: Forward, point: Float[Array, " 2"]
) -> Float[Array, "star element"]:
    return lax.map(lambda s: squared_residuals(s, npe, forward, point), stars)
