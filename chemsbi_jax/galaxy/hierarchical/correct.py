"""Importance sampling of the stars' local latents, and what it changes for psi.

The chains have Laplace marginal likelihoods of expanded readings. Marginal likelihoods
sampled with the forward model itself at some of their draws, with the same random
numbers at every psi, give these draws weights.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from chemsbi_jax.compute.devices import spread
from chemsbi_jax.galaxy.exact.importance import n_effective
from chemsbi_jax.galaxy.hierarchical.marginal import with_outliers
from chemsbi_jax.galaxy.hierarchical.proposals import (
    N_LOCAL,
    WIDEN,
    even_normals,
    log_weights,
)
from chemsbi_jax.galaxy.hierarchical.shared import unpack
from chemsbi_jax.galaxy.hierarchical.shared_density import SharedDensity
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.surrogate import normals, solve_upper

N_HALVES = 2  # independent sets of draws, whose difference is the error
CHUNK = 16  # draws of psi of a call


class Marginal(NamedTuple):
    """Importance sampling over the local latents of stars."""

    log_likelihood: Float[Array, "*star"]  # normalised, with outliers
    n_effective: Float[Array, "*star"]  # draws
    inlier: Float[Array, "*star"]  # posterior chance that it is no outlier


class Correction(NamedTuple):
    """Weights of draws of psi, and what they came from."""

    log_weights: Float[np.ndarray, " draw"]  # smoothed, normalised
    raw: Float[np.ndarray, " draw"]  # before smoothing
    log_likelihood: Float[np.ndarray, " draw"]  # sampled, of all stars
    pareto_k: float
    noise: float  # sd of their error, from the halves of the draws; nats
    stars: Marginal  # mean over the draws of psi


def correct_draws(
    key: Key[Array, ""],
    density: SharedDensity,
    model: Model,
    psi: Float[np.ndarray, "draw psi"],
    n: int,
    advance=None,
) -> Correction:
    """Pareto-smoothed weights of draws of psi, from `n` draws of each star.

    Args:
        key: decides the draws of the stars.
        density: from which psi was drawn.
        model: forward model and prior.
        psi: draws of the shared latents.
        n: draws of the local latents of each star and psi.
        advance: called with the number of draws of psi of each call.
    """
    import arviz  # here, as it takes a second that other methods need not wait for

    parts = []
    for rows in range(0, len(psi), CHUNK):
        some = np.resize(psi[rows : rows + CHUNK], (CHUNK, psi.shape[1]))
        found = _on_all_devices(_marginals)(
            some.astype(np.float32), key, density, model, _Draws(max(n // N_HALVES, 1))
        )
        parts.append(jax.tree.map(lambda x: np.asarray(x, float), found))
        if advance:
            advance(min(CHUNK, len(psi) - rows))
    laplace, each = jax.tree.map(lambda *x: np.concatenate(x)[: len(psi)], *parts)
    is_star = density.counts > 0.0
    each = Marginal(*(x[..., is_star] for x in each))  # (draw, half, star)
    halves = each.log_likelihood.sum(axis=-1) - laplace[:, None]
    noise = float((halves[:, 0] - halves[:, 1]).std() / 2.0)
    both = np.logaddexp(*np.moveaxis(each.log_likelihood, 1, 0)) - np.log(2.0)
    total = both.sum(axis=-1)
    raw = total - laplace
    smooth, k = arviz.psislw(raw)
    mean = Marginal(*(x.mean(axis=(0, 1)) for x in each))
    mean = mean._replace(n_effective=N_HALVES * mean.n_effective)
    return Correction(np.asarray(smooth), raw, total, float(k), noise, mean)


class _Draws:
    """A number of draws, static for `jit`."""

    def __init__(self, n: int):
        self.n = n


jax.tree_util.register_static(_Draws)


def _marginals(psi, key, density: SharedDensity, model: Model, draws: _Draws):
    """Laplace sums (draw) and sampled marginal likelihoods (draw, half, star)."""
    n_stars = len(density.counts)
    keys = jax.random.split(key, (N_HALVES, n_stars))
    noise = jax.vmap(jax.vmap(lambda k: even_normals(k, draws.n)))(keys)
    noise = jnp.moveaxis(noise, 1, -1)  # (half, 4, draw, star)

    def at_one(psi: Array) -> tuple[Array, Marginal]:
        normal = normals(density.star, density.expansion, density.layout, psi)
        laplace = jnp.sum(density.counts * normal.log_likelihood)
        sampled = lax.map(lambda z: _sample(density, model, psi, normal, z), noise)
        return laplace + density.extra(psi), sampled

    return lax.map(at_one, psi)


def _sample(density: SharedDensity, model: Model, psi, normal, noise) -> Marginal:
    shared = unpack(psi, density.layout)
    local = normal.mode[:, None] + solve_upper(normal.root, WIDEN * noise)
    log_volume = sum(jnp.log(normal.root[i][i]) for i in range(N_LOCAL))
    log_density = norm.logpdf(noise).sum(axis=0) + log_volume
    log_density = log_density - N_LOCAL * jnp.log(WIDEN)

    def one(star: Star, local: Array, log_density: Array) -> Marginal:
        weights = log_weights(star, shared, model, local.T, log_density)
        inlier = logsumexp(weights) - jnp.log(len(weights))
        total = with_outliers(star, shared, inlier)
        chance = jnp.exp(inlier + jnp.log1p(-jnp.exp(shared.log_outliers)) - total)
        return Marginal(total, n_effective(weights), chance)

    return jax.vmap(one, in_axes=-1)(density.star, local, log_density)


# at the first call, as JAX starts with it
_on_all_devices = cache(spread)
