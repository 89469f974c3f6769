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
from chemsbi_jax.galaxy.gaussian import GaussianProduct, combine_gaussians
from chemsbi_jax.galaxy.grid import GridPosterior, zoom_in
from chemsbi_jax.npe.model import Npe, features, sample_global_latents, star_keys

N_STAR_DRAWS = 1000  # of each star, for the Gaussian method
SEARCH = 10.0  # the flow method looks this many times wider than the Gaussian one
BLOCK = 32  # stars at a time: their arrays stay in the cache

# at the first call, as JAX starts with it: a script may still ask for all cores before
on_all_devices = cache(spread)
keys_of_stars = jax.jit(star_keys, static_argnums=1)


def gaussian_product(
    key: Key[Array, ""],
    npe: Npe,
    values: Float[Array, "star element"],
    counts: Bool[Array, " star"],
) -> GaussianProduct:
    """Gaussian method in latents; rows that don't count are padding."""
    stars = (keys_of_stars(key, len(values)), values)
    means, covariances = on_all_devices(_moments)(stars, npe)
    zero, one = jnp.zeros(N_GLOBAL), jnp.eye(N_GLOBAL)
    return _combine(means, covariances, zero, one, counts)


def _moments(stars: tuple[Key[Array, " star"], Array], npe: Npe) -> tuple[Array, Array]:
    """Mean and covariance of the global latents of each star."""
    keys, values = stars
    draws = sample_global_latents(keys, npe, values, N_STAR_DRAWS)
    means = draws.mean(axis=1)
    centred = draws - means[:, None]
    return means, jnp.einsum("nda,ndb->nab", centred, centred) / (N_STAR_DRAWS - 1)


_combine = jax.jit(combine_gaussians)


@eqx.filter_jit
def grid_posterior(
    npe: Npe,
    values: Float[Array, "star element"],
    counts: Bool[Array, " star"],
    guess: GaussianProduct,
) -> GridPosterior:
    """Flow method in latents: the product of the densities on a grid.

    The search starts around the Gaussian answer, ten times wider, but not wider than
    the prior: far from every star a network's density means nothing.
    """
    prior = jnp.eye(N_GLOBAL)
    wide = jnp.linalg.inv(prior + jnp.linalg.inv(SEARCH**2 * guess.covariance))
    rows = jax.tree.map(lambda x: x.reshape(-1, BLOCK, *x.shape[1:]), (values, counts))

    def log_density(first: Array, second: Array) -> Array:
        prior = norm.logpdf(first)[:, None] + norm.logpdf(second)

        def block(total: Array, rows: tuple[Array, Array]) -> tuple[Array, None]:
            gain = jax.vmap(lambda v: _on_columns(npe, v, first, second))(rows[0])
            gain = jnp.where(rows[1][:, None, None], gain - prior, 0.0)
            return total + jnp.sum(gain, axis=0), None

        return lax.scan(block, prior, rows)[0]

    return zoom_in(log_density, guess.mean, wide)


def _on_columns(npe: Npe, values: Array, first: Array, second: Array) -> Array:
    return npe.galaxy_flow.given(features(npe, values)).log_prob_columns(first, second)


def pad(npe: Npe, known: np.ndarray) -> tuple[Array, Array]:
    """Abundances padded to a few fixed lengths, and which rows are stars."""
    n = len(known)
    length = BLOCK * 2 ** max(0, int(np.ceil(np.log2(n / BLOCK))))
    values = np.repeat(np.asarray(npe.feature_mean)[None], length, axis=0)
    values[:n] = known
    return jnp.asarray(values), jnp.arange(length) < n
