"""Readings of every star to second order around its mode, at any shared parameters.

A posterior of the shared parameters takes ten thousands of values and gradients of all
stars' likelihoods. The networks cost too much for that; a second-order
expansion does not, as the products of the shared inputs (galaxy, yield factors) are the
same for all stars: one matrix product serves all of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, inputs_at
from chemsbi_jax.galaxy.hierarchical.shared import Layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import Model, Star, readings
from chemsbi_jax.types import AnyArray


class Expansion(NamedTuple):
    """Readings of all stars (last axis) by products of whitened shared inputs.

    With z the whitened inputs and v the local latents less their modes at z = 0, a
    reading is value(z) + slope(z) v + v curve v / 2.
    """

    centre: Float[AnyArray, " input"]  # latents of galaxy and factors
    whiten: Float[AnyArray, "input input"]  # z = whiten (latents - centre)
    local: Float[AnyArray, "4 star"]  # modes at the centre
    value: Float[AnyArray, "square reading star"]  # by products up to second order
    slope: Float[AnyArray, "line reading 4 star"]  # by those up to first order
    curve: Float[AnyArray, "reading 4 4 star"]


class Local(NamedTuple):
    """The readings of all stars at one psi, around a place of the local latents."""

    value: Float[AnyArray, "reading star"]
    slope: Float[AnyArray, "reading 4 star"]
    curve: Float[AnyArray, "reading 4 4 star"]


def n_shared(layout: Layout) -> int:
    """Number of the shared inputs: the first latents of psi."""
    return N_GLOBAL + layout.sizes[0]


def inputs_from(
    expansion: Expansion, psi: Float[AnyArray, " psi"]
) -> Float[AnyArray, " input"]:
    """Whitened shared inputs z at one psi."""
    return expansion.whiten @ (psi[: len(expansion.centre)] - expansion.centre)


def at_shared(expansion: Expansion, psi: Float[AnyArray, " psi"]) -> Local:
    """The expansion in the local latents at one psi."""
    z = inputs_from(expansion, psi)
    first, second = np.triu_indices(len(z))
    line = jnp.concatenate([jnp.ones(1), z])
    squares = jnp.concatenate([line, z[first] * z[second]])
    return Local(
        jnp.tensordot(squares, expansion.value, 1),
        jnp.tensordot(line, expansion.slope, 1),
        expansion.curve,
    )


def principal(
    covariance: Float[np.ndarray, "input input"],
) -> tuple[Float[np.ndarray, "input input"], Float[np.ndarray, "input input"]]:
    """Whitening matrix and its inverse; the widest directions come first."""
    values, axes = np.linalg.eigh(covariance)
    values, axes = values[::-1], axes[:, ::-1]
    width = np.sqrt(np.maximum(values, 1e-12))
    return (axes / width).T, axes * width


def expand(
    stars: Star,
    local: Float[np.ndarray, "star 4"],
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, " psi"],
    covariance: Float[np.ndarray, "psi psi"],
) -> Expansion:
    """Second-order expansion around the modes `local` of the stars at one psi.

    Args:
        stars: all stars.
        local: their modes at psi.
        model: forward model and prior.
        layout: of psi.
        psi: the centre.
        covariance: of psi; whitens the shared inputs.
    """
    n = n_shared(layout)
    whiten, widen = principal(np.asarray(covariance, float)[:n, :n])
    at, out = jnp.asarray(psi, jnp.float32), jnp.asarray(widen, jnp.float32)
    parts = in_blocks(_derivatives, (stars, local), model, layout, at, out)
    value, slope, curve = (np.moveaxis(x, 0, -1) for x in parts)
    first, second = np.triu_indices(n)
    half = np.where(first == second, 0.5, 1.0)[:, None, None]
    squares = curve[:, first, second].transpose(1, 0, 2) * half
    found = Expansion(
        psi[:n],
        whiten,
        local.T,
        np.concatenate([value[None], np.moveaxis(slope[:, :n], 1, 0), squares]),
        np.concatenate([slope[None, :, n:], curve[:, :n, n:].transpose(1, 0, 2, 3)]),
        curve[:, n:, n:],
    )
    return Expansion(*(np.ascontiguousarray(x, np.float32) for x in found))


def predict(
    star: Star,
    model: Model,
    layout: Layout,
    psi: AnyArray,
    local: Float[AnyArray, " 4"],
) -> Float[AnyArray, " reading"]:
    """Readings of one star by the forward model; 0 where it has no star."""
    return readings(star, model, inputs_at(unpack(psi, layout), local))[0]


def _derivatives(block, model: Model, layout: Layout, psi: AnyArray, widen: Array):
    n = len(widen)

    def one(star: Star, local: AnyArray):
        def value(x: Array) -> AnyArray:
            at = jnp.asarray(psi).at[:n].add(widen @ x[:n])
            return predict(star, model, layout, at, local + x[n:])

        zero = jnp.zeros(n + N_LOCAL)
        slope = jax.jacrev(value)
        return value(zero), slope(zero), jax.jacfwd(slope)(zero)

    return jax.vmap(one)(*block)
