"""The readings of every star, linearised at its local mode, at one psi.

The marginal likelihood of a star is then normal in its readings: the spread of the
population adds to the errors. Its gradient and its expected information in psi have
closed forms, and the mode of the local latents moves linearly with psi.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, find_mode, inputs_at
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.small import cholesky, solve_lower, solve_upper
from chemsbi_jax.galaxy.hierarchical.star import (
    LOG_2_PI,
    Model,
    Star,
    noise_variance,
    offsets,
    readings,
    residuals,
)
from chemsbi_jax.types import AnyArray


class Tangent(NamedTuple):
    """Each star at one psi, with its readings linear in psi and the local latents."""

    local: Float[AnyArray, "*star 4"]  # mode of the local latents
    shear: Float[AnyArray, "*star 4 psi"]  # change of the mode with psi
    root: Float[AnyArray, "*star 4 4"]  # lower Cholesky factor of its covariance
    log_likelihood: Float[AnyArray, "*star"]  # marginal, without outliers
    score: Float[AnyArray, "*star psi"]  # gradient of the log likelihood
    information: Float[AnyArray, "*star psi psi"]  # expected, of psi


def tangents(
    stars: Star,
    local: Float[AnyArray, "star 4"],
    model: Model,
    layout: Layout,
    psi: Float[AnyArray, " psi"],
) -> Tangent:
    """All stars at one psi.

    Args:
        stars: `make_stars`.
        local: first guesses of the modes.
        model: forward model and prior.
        layout: of psi.
        psi: latents of the shared parameters.
    """
    at = jnp.asarray(psi, jnp.float32)
    return in_blocks(_tangents, (stars, local), model, layout, at)


def star_modes(
    stars: Star,
    local: Float[AnyArray, "star 4"],
    model: Model,
    layout: Layout,
    psi: Float[AnyArray, " psi"],
) -> Float[np.ndarray, "star 4"]:
    """Modes of the local latents of all stars at one psi, from a first guess."""
    at = jnp.asarray(psi, jnp.float32)
    return in_blocks(_modes, (stars, local), model, layout, at)


def _modes(block, model: Model, layout: Layout, psi: Array) -> AnyArray:
    shared = unpack(psi, layout)
    return jax.vmap(lambda star, x: find_mode(star, model, shared, x))(*block)


def _tangents(block, model: Model, layout: Layout, psi: Array) -> Tangent:
    stars, local = block
    local = _modes(block, model, layout, psi)
    return jax.vmap(lambda s, x: tangent(s, x, model, layout, psi))(stars, local)


def tangent(
    star: Star,
    local: Float[AnyArray, " 4"],
    model: Model,
    layout: Layout,
    psi: Float[AnyArray, " psi"],
) -> Tangent:
    """One star, linearised at the local latents given."""
    shear, root = _local_normal(star, local, model, layout, psi)
    mean, slope, by_local = _linear(star, local, model, layout, psi)

    def covariance(psi: Array) -> Array:
        shared = unpack(psi, layout)
        noise = jnp.where(star.seen > 0.0, noise_variance(star, shared), 1.0)
        spread = by_local * jnp.exp(shared.log_width)
        return jnp.diag(noise) + spread @ spread.T

    total = covariance(jnp.asarray(psi))
    change = jax.jacfwd(covariance)(jnp.asarray(psi))
    factor = cholesky(total)
    inverse = solve_upper(factor, solve_lower(factor, jnp.eye(len(mean))))
    rest = star.seen * star.values - mean
    pull = inverse @ rest
    relative = jnp.einsum("ij,jkp->ikp", inverse, change)
    log_det = 2.0 * jnp.log(jnp.diag(factor)).sum()
    norm = log_det + LOG_2_PI * jnp.sum(star.seen)
    spread_score = jnp.einsum("i,ijp,j->p", pull, change, pull)
    spread_score = 0.5 * (spread_score - jnp.einsum("iip->p", relative))
    information = slope.T @ inverse @ slope
    information = information + 0.5 * jnp.einsum("ijp,jiq->pq", relative, relative)
    return Tangent(
        jnp.asarray(local),
        shear,
        root,
        -0.5 * (rest @ pull + norm),
        slope.T @ pull + spread_score,
        information,
    )


def _linear(star: Star, local, model: Model, layout: Layout, psi):
    """Mean readings in the population, and their slopes with psi and local latents."""

    def value(shared: Shared, local: Array) -> AnyArray:
        found, _ = readings(star, model, inputs_at(shared, local))
        return star.seen * (found + offsets(star, shared))

    at = jnp.asarray(local)
    by_local = jax.jacfwd(lambda x: value(unpack(psi, layout), x))(at)

    def mean(psi: Array) -> tuple[AnyArray, AnyArray]:
        shared = unpack(psi, layout)
        found = value(shared, at) + by_local @ (shared.mean - at)
        return found, found

    slope, found = jax.jacfwd(mean, has_aux=True)(jnp.asarray(psi))
    return found, slope, by_local


def _local_normal(star: Star, local, model: Model, layout: Layout, psi):
    """How the mode moves with psi, and the root of its covariance (Gauss-Newton)."""

    def rest(psi: Array, local: Array) -> AnyArray:
        shared = unpack(psi, layout)
        value, _ = readings(star, model, inputs_at(shared, local))
        return residuals(star, shared, value, local)

    at = jnp.asarray(psi), jnp.asarray(local)
    by_psi, by_local = jax.jacfwd(rest, argnums=(0, 1))(*at)
    factor = cholesky(by_local.T @ by_local)
    inverse = solve_upper(factor, solve_lower(factor, jnp.eye(N_LOCAL)))
    return -inverse @ (by_local.T @ by_psi), cholesky(inverse)
