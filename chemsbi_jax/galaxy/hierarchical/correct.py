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
from jaxtyping import Array, Float, Key

from chemsbi_jax.compute.devices import spread
from chemsbi_jax.galaxy.exact.importance import n_effective
from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.proposals import (
    N_LOCAL,
    draw_from,
    even_normals,
    find_anchor,
    find_chart,
    log_weights,
    normal_approximation,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout, unpack
from chemsbi_jax.galaxy.hierarchical.shared_density import SharedDensity, padded_length
from chemsbi_jax.galaxy.hierarchical.small import log_determinant
from chemsbi_jax.galaxy.hierarchical.star import Model, Star, with_outliers
from chemsbi_jax.galaxy.hierarchical.surrogate import Normal, normals, solve_upper
from chemsbi_jax.types import AnyArray

N_HALVES = 2  # independent sets of draws, whose difference is the error
CHUNK = 16  # draws of psi of a call


class Marginal(NamedTuple):
    """Importance sampling over the local latents of stars."""

    log_likelihood: Float[AnyArray, "*star"]  # normalised, with outliers
    n_effective: Float[AnyArray, "*star"]  # draws
    inlier: Float[AnyArray, "*star"]  # posterior chance that it is no outlier


class Correction(NamedTuple):
    """Weights of draws of psi, and what they came from."""

    log_weights: Float[np.ndarray, " draw"]  # smoothed, normalised
    raw: Float[np.ndarray, " draw"]  # before smoothing
    log_likelihood: Float[np.ndarray, " draw"]  # sampled, of all stars
    pareto_k: float
    noise: float  # sd of their error, from the halves of the draws; nats
    stars: Marginal  # mean over the draws of psi


class _Draws:
    """A number of draws, static for `jit`."""

    def __init__(self, n: int):
        self.n = n


jax.tree_util.register_static(_Draws)


class Warp(NamedTuple):
    """Fixed draws of each star, in units of its normal approximation at any psi."""

    units: Float[AnyArray, "half 4 draw star"]
    log_density: Float[AnyArray, "half draw star"]  # of the units


def make_warp(
    key: Key[Array, ""],
    stars: Star,
    local: Float[np.ndarray, "star 4"],
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, " psi"],
    n: int,
) -> Warp:
    """Draws from a chart of each star at one psi, in units of the normal there.

    The normal approximation of another psi carries them along: its mode moves them and
    its width stretches them. The same draws serve all psi, so that the sampled
    likelihood is one smooth function of psi.

    Args:
        key: determines the draws.
        stars: all stars.
        local: first guesses of their modes.
        model: forward model and prior.
        layout: of psi.
        psi: where the charts are fitted.
        n: draws of each star.
    """
    keys = jax.random.split(key, (len(stars.values), 1 + N_HALVES))
    at, draws = jnp.asarray(psi, jnp.float32), _Draws(max(n // N_HALVES, 1))
    found = in_blocks(_warp, (keys, stars, local), model, layout, at, draws)
    fill = np.arange(padded_length(len(local))) % len(local)
    return Warp(*(np.ascontiguousarray(np.moveaxis(x[fill], 0, -1)) for x in found))


def _warp(block, model: Model, layout: Layout, psi: AnyArray, draws: "_Draws") -> Warp:
    def one(keys: Array, star: Star, start: AnyArray) -> Warp:
        anchor = find_anchor(star, model, layout, psi, start)
        chart = find_chart(keys[0], star, model, layout, anchor)
        root, _ = normal_approximation(star, anchor, layout, psi)
        noise = jax.vmap(lambda key: even_normals(key, draws.n))(keys[1:])

        def half(noise: Array) -> tuple[Array, Array]:
            local, log_density = draw_from(chart, noise)
            units = root.T @ (local - anchor.mode[:, None])
            return units, log_density - log_determinant(root)

        return Warp(*jax.vmap(half)(noise))

    return jax.vmap(one)(*block)


def correct_draws(
    density: SharedDensity,
    model: Model,
    psi: Float[np.ndarray, "draw psi"],
    warp: Warp,
    advance=None,
) -> Correction:
    """Pareto-smoothed weights of draws of psi, from sampled marginal likelihoods.

    Args:
        density: from which psi was drawn.
        model: forward model and prior.
        psi: draws of the shared latents.
        warp: draws of each star.
        advance: called with the number of draws of psi of each call.
    """
    import arviz  # here, as it takes a second that other methods need not wait for

    parts = []
    for rows in range(0, len(psi), CHUNK):
        some = np.resize(psi[rows : rows + CHUNK], (CHUNK, psi.shape[1]))
        found = _on_all_devices(_marginals)(
            some.astype(np.float32), density, model, warp
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


def _marginals(psi, density: SharedDensity, model: Model, warp: Warp):
    """Laplace sums (draw) and sampled marginal likelihoods (draw, half, star)."""

    def at_one(psi: AnyArray) -> tuple[Array, Marginal]:
        normal = normals(density.star, density.expansion, density.layout, psi)
        laplace = jnp.sum(density.counts * normal.log_likelihood)
        sampled = lax.map(lambda part: _sample(density, model, psi, normal, part), warp)
        return laplace + density.extra(psi), sampled

    return lax.map(at_one, psi)


def _sample(density: SharedDensity, model: Model, psi, normal: Normal, warp: Warp):
    shared = unpack(psi, density.layout)
    local = normal.mode[:, None] + solve_upper(normal.root, warp.units)
    log_volume = sum(jnp.log(normal.root[i][i]) for i in range(N_LOCAL))
    log_density = warp.log_density + log_volume

    def one(star: Star, local: AnyArray, log_density: Array) -> Marginal:
        weights = log_weights(star, shared, model, local.T, log_density)
        inlier = logsumexp(weights) - jnp.log(len(weights))
        total = with_outliers(star, shared, inlier)
        chance = jnp.exp(inlier + jnp.log1p(-jnp.exp(shared.log_outliers)) - total)
        return Marginal(total, n_effective(weights), chance)

    return jax.vmap(one, in_axes=-1)(density.star, local, log_density)


# at the first call, as JAX starts with it
_on_all_devices = cache(spread)
