"""Product of the flow densities of the stars on a grid, with the prior divided out."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float

from chemsbi_jax.compute.exported import stored_jit
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.amortised.gaussian import GaussianProduct
from chemsbi_jax.galaxy.amortised.padding import BLOCK
from chemsbi_jax.galaxy.grid import GridPosterior, zoom_in
from chemsbi_jax.npe.model import Npe, features
from chemsbi_jax.types import AnyArray

SEARCH = 10.0  # the flow method looks this many times wider than the Gaussian one
FARTHEST = 4.5  # prior widths: one training star in 25,000 lies beyond
FAR = 4.3  # prior widths: hardly any training star lies beyond
BORDER = 0.3  # prior widths, of a search that starts at the border
WALL = 1e9  # of the log density, for each prior width: more than any sum of stars


def sum_on_grid(
    npe: Npe,
    inputs: Float[AnyArray, "star input"],
    is_star: Bool[AnyArray, " star"],
    guess: GaussianProduct,
    score: Float[AnyArray, " 2"] | None = None,
) -> GridPosterior:
    """Flow method in latents: the product of the densities on a grid.

    `score` is the mean error of a star's slope (`mean_score`), None for zero.

    The search starts around the Gaussian answer, ten times wider, but not wider than
    the prior: far from every star a network's density means nothing. Where that answer
    is outside the networks' training, the search starts at its border.
    """
    prior = jnp.eye(N_GLOBAL)
    wide = jnp.linalg.inv(prior + jnp.linalg.inv(SEARCH**2 * guess.covariance))
    radius = jnp.sqrt(jnp.sum(guess.mean**2))
    wide = jnp.where(radius > FAR, wide + BORDER**2 * prior, wide)
    middle = guess.mean * jnp.minimum(1.0, FAR / radius)
    tilt = jnp.zeros(N_GLOBAL) if score is None else is_star.sum() * score
    seen = features(npe, jnp.asarray(inputs)).T
    block = min(BLOCK, len(seen))
    rows = jax.tree.map(lambda x: x.reshape(-1, block, *x.shape[1:]), (seen, is_star))

    def log_density(first: Array, second: Array) -> Array:
        prior = norm.logpdf(first)[:, None] + norm.logpdf(second)

        def gains(rows: tuple[Array, Array]) -> Array:
            gain = jax.vmap(lambda s: _on_columns(npe, s, first, second))(rows[0])
            gain = jnp.where(rows[1][:, None, None], gain - prior, 0.0)
            return jnp.sum(gain, axis=0)

        def add(total: Array, rows: tuple[Array, Array]) -> tuple[Array, None]:
            # blocks without a star cost nothing: a part of a table is a mask of rows
            nothing = jnp.zeros_like(total)
            gain = lax.cond(rows[1].any(), gains, lambda _: nothing, rows)
            return total + gain, None

        total = lax.scan(add, prior, rows)[0] + outside(first[:, None], second)
        shift = tilt[0] * (first - middle[0])[:, None] + tilt[1] * (second - middle[1])
        return total - shift

    return zoom_in(log_density, middle, wide)


def grid_posterior(
    npe: Npe,
    inputs: Float[AnyArray, "star input"],
    is_star: Bool[AnyArray, " star"],
    guess: GaussianProduct,
    score: Float[AnyArray, " 2"] | None = None,
) -> GridPosterior:
    """`sum_on_grid`, compiled once for each padded length of the table."""
    # JAX compiles another program if there is no score, or if a guess has a sharding
    score = np.zeros(N_GLOBAL, np.float32) if score is None else score
    guess = jax.tree.map(np.asarray, guess)
    return _grid_posterior(npe, inputs, is_star, guess, score)


_grid_posterior = stored_jit(sum_on_grid)


def is_far(prior_widths: float) -> bool:
    """Whether a posterior's mean lies where the networks were hardly trained."""
    return not prior_widths <= FAR  # NaN is far


def outside(first: AnyArray, second: AnyArray) -> AnyArray:
    """Penalty of a log density outside the training range of the networks."""
    radius = (first**2 + second**2) ** 0.5
    return -WALL * (radius - FARTHEST).clip(0.0)


def _on_columns(npe: Npe, seen: Array, first: Array, second: Array) -> Array:
    return npe.galaxy_flow.given(seen).log_prob_columns(first, second)
