"""The two amortised products of the stars: of Gaussians, and of flow densities."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Key

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.devices import spread
from chemsbi_jax.galaxy.amortised.gaussian import GaussianProduct, combine_gaussians
from chemsbi_jax.galaxy.grid import GridPosterior, zoom_in
from chemsbi_jax.npe.model import Npe, features, sample_global_latents, star_keys

N_STAR_DRAWS = 1000  # of each star, for the Gaussian method
SEARCH = 10.0  # the flow method looks this many times wider than the Gaussian one
FARTHEST = 4.5  # prior widths: beyond, one training star in 25,000, and no use of it
FAR = 4.3  # prior widths: hardly any training
BORDER = 0.3  # prior widths, of a search that starts at the border
WALL = 1e9  # of the log density, for each prior width: more than any sum of stars
BLOCK = 32  # stars at a time: their arrays stay in the cache

# at the first call, as JAX starts with it: a script may still ask for all cores before
on_all_devices = cache(spread)
keys_of_stars = jax.jit(star_keys, static_argnums=1)


def gaussian_product(
    key: Key[Array, ""],
    npe: Npe,
    inputs: Float[Array, "star input"],
    counts: Bool[Array, " star"],
) -> GaussianProduct:
    """Gaussian method in latents; rows that don't count are padding."""
    stars = (keys_of_stars(key, len(inputs)), inputs)
    means, covariances = on_all_devices(star_moments)(stars, npe)
    # numpy's: eager JAX operations would each be compiled
    zero, one = np.zeros(N_GLOBAL, np.float32), np.eye(N_GLOBAL, dtype=np.float32)
    return _combine(means, covariances, zero, one, counts)


def star_moments(
    stars: tuple[Key[Array, " star"], Array], npe: Npe
) -> tuple[Array, Array]:
    """Mean and covariance of the global latents of each star."""
    keys, inputs = stars
    draws = sample_global_latents(keys, npe, inputs, N_STAR_DRAWS)
    means = draws.mean(axis=1)
    centred = draws - means[:, None]
    return means, jnp.einsum("nda,ndb->nab", centred, centred) / (N_STAR_DRAWS - 1)


_combine = jax.jit(combine_gaussians)


def sum_on_grid(
    npe: Npe,
    inputs: Float[Array, "star input"],
    counts: Bool[Array, " star"],
    guess: GaussianProduct,
    score: Float[Array, " 2"] | None = None,
) -> GridPosterior:
    """Flow method in latents: the product of the densities on a grid.

    `score` is what each star's slope is off by (`centre.mean_score`), None for zero.

    The search starts around the Gaussian answer, ten times wider, but not wider than
    the prior: far from every star a network's density means nothing. Where that answer
    is outside the networks' training, the search starts at its border.
    """
    prior = jnp.eye(N_GLOBAL)
    wide = jnp.linalg.inv(prior + jnp.linalg.inv(SEARCH**2 * guess.covariance))
    radius = jnp.sqrt(jnp.sum(guess.mean**2))
    wide = jnp.where(radius > FAR, wide + BORDER**2 * prior, wide)
    middle = guess.mean * jnp.minimum(1.0, FAR / radius)
    tilt = jnp.zeros(N_GLOBAL) if score is None else counts.sum() * score
    seen = features(npe, inputs).T
    block = min(BLOCK, len(seen))
    rows = jax.tree.map(lambda x: x.reshape(-1, block, *x.shape[1:]), (seen, counts))

    def log_density(first: Array, second: Array) -> Array:
        prior = norm.logpdf(first)[:, None] + norm.logpdf(second)

        def add(total: Array, rows: tuple[Array, Array]) -> tuple[Array, None]:
            gain = jax.vmap(lambda s: _on_columns(npe, s, first, second))(rows[0])
            gain = jnp.where(rows[1][:, None, None], gain - prior, 0.0)
            return total + jnp.sum(gain, axis=0), None

        total = lax.scan(add, prior, rows)[0] + outside(first[:, None], second)
        shift = tilt[0] * (first - middle[0])[:, None] + tilt[1] * (second - middle[1])
        return total - shift

    return zoom_in(log_density, middle, wide)


grid_posterior = eqx.filter_jit(sum_on_grid)


def is_far(prior_widths: float) -> bool:
    """Whether a posterior's mean lies where the networks were hardly trained."""
    return not prior_widths <= FAR  # NaN is far


def outside(first: Array, second: Array) -> Array:
    """Added to a log density: a wall around the place where networks were trained."""
    radius = (first**2 + second**2) ** 0.5
    return -WALL * (radius - FARTHEST).clip(0.0)


def _on_columns(npe: Npe, seen: Array, first: Array, second: Array) -> Array:
    return npe.galaxy_flow.given(seen).log_prob_columns(first, second)


def pad(npe: Npe, known: np.ndarray) -> tuple[Array, Array]:
    """Inputs padded to a few fixed lengths, and which rows are stars."""
    n = len(known)
    length = BLOCK * 2 ** max(0, int(np.ceil(np.log2(max(n, 1) / BLOCK))))
    inputs = np.repeat(np.asarray(npe.reader.blank())[None], length, axis=0)
    inputs[:n] = known
    return jnp.asarray(inputs), jnp.asarray(np.arange(length) < n)
