"""The readings of every star, linearised at its local mode, at one psi.

The marginal likelihood of a star is then normal in its readings: the spread of the
population adds to the errors. Its gradient and its expected information in psi have
closed forms, and so has the normal of the local latents at any psi (`local_normal`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, find_modes, inputs_at
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.star import (
    LOG_2_PI,
    Model,
    Star,
    noise_variance,
    offsets,
    readings,
)
from chemsbi_jax.galaxy.small import cholesky, solve_lower, solve_upper
from chemsbi_jax.types import AnyArray


class Line(NamedTuple):
    """Readings of each star, linear in psi and in its local latents, with offsets."""

    local: Float[AnyArray, "*star 4"]  # mode of the local latents, the centre
    value: Float[AnyArray, "*star reading"]  # at the centre
    by_psi: Float[AnyArray, "*star reading psi"]
    by_local: Float[AnyArray, "*star reading 4"]


class Tangent(NamedTuple):
    """Each star at one psi, linearised there."""

    line: Line
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


def _modes(block, model: Model, layout: Layout, psi: Array) -> AnyArray:
    stars, local = block
    return find_modes(stars, model, unpack(psi, layout), local).local


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
    line = _linear(star, local, model, layout, psi)
    by_local, by_mean = line.by_local, _by_mean(line, layout)
    shared = unpack(jnp.asarray(psi), layout)
    mean = line.value + by_local @ (shared.mean - line.local)
    slope = line.by_psi + by_mean

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
        line,
        -0.5 * (rest @ pull + norm),
        slope.T @ pull + spread_score,
        information,
    )


def _linear(star: Star, local, model: Model, layout: Layout, psi) -> Line:
    """Readings at one psi and local latents, and their slopes."""

    def value(psi: Array, local: Array) -> tuple[AnyArray, AnyArray]:
        shared = unpack(psi, layout)
        found, _ = readings(star, model, inputs_at(shared, local))
        found = star.seen * (found + offsets(star, shared))
        return found, found

    at = jnp.asarray(psi), jnp.asarray(local)
    slopes, found = jax.jacfwd(value, argnums=(0, 1), has_aux=True)(*at)
    return Line(at[1], found, *slopes)


def _by_mean(line: Line, layout: Layout) -> Float[AnyArray, "reading psi"]:
    """Slopes of the mean readings with the mean of the population."""
    first = layout.slices()["population"].start
    rows = np.arange(N_LOCAL) + first
    slope = jnp.zeros_like(line.by_psi)
    return slope.at[:, rows].set(line.by_local * layout.scale[rows])


def local_normal(
    star: Star, line: Line, shared: Shared, away: Float[AnyArray, " psi"]
) -> tuple[Float[AnyArray, " 4"], Float[AnyArray, "4 4"]]:
    """Mean of the local latents of a linear star, and a root of their covariance.

    Exact for a star whose readings are linear, whatever the scatter and the population.

    Args:
        star: one.
        line: its readings.
        shared: shared parameters.
        away: the same, as latents less those of the centre.
    """
    variance = jnp.where(star.seen > 0.0, noise_variance(star, shared), 1.0)
    weighted = line.by_local / variance[:, None]
    rest = star.seen * star.values - line.value - line.by_psi @ away
    prior = jnp.exp(-2.0 * shared.log_width)
    factor = cholesky(weighted.T @ line.by_local + jnp.diag(prior))
    pull = rest @ weighted + prior * (shared.mean - line.local)
    root = solve_lower(factor, jnp.eye(N_LOCAL))  # upper: its rows are solutions
    return line.local + root @ (root.T @ pull), root
