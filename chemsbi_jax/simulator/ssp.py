"""What one generation of stars (a simple stellar population) returns over time."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from chemsbi_jax.constants import AGB_M_MIN
from chemsbi_jax.simulator.imf import Imf, fraction_above
from chemsbi_jax.simulator.lifetimes import log10_metallicity, log10_turnoff_mass
from chemsbi_jax.simulator.physics import Physics
from chemsbi_jax.yields.types import SourceYields, Yields

LOG10_Z_ZERO = -10.0  # a table for Z = 0 stands here


class MassBins(NamedTuple):
    """IMF mass fractions of the bins of a yield table, for one IMF."""

    above: Float[Array, " bin"]  # in stars heavier than the bin
    inside: Float[Array, " bin"]  # in the bin itself


def mass_bins(source: SourceYields, imf: Imf, physics: Physics) -> MassBins:
    """Mass fractions of the bins of one source."""
    above = fraction_above(jnp.log10(source.mass_edges), imf, physics)
    return MassBins(above[:-1], jnp.diff(above))


def ssp_ejecta(
    log10_age: Float[Array, " age"],
    metallicity: Float[Array, ""],
    composition: Float[Array, " element"],
    imf: Imf,
    bins: tuple[MassBins, MassBins],
    yields: Yields,
    physics: Physics,
) -> Float[Array, "age element"]:
    """Ejecta of SNe II and AGB stars up to each age, per unit mass of stars formed.

    Args:
        log10_age: ages [log10 Gyr], ascending.
        metallicity: metal mass fraction of the stars.
        composition: mass fractions of the unprocessed ejecta.
        imf: the galaxy's IMF.
        bins: mass fractions of the SN II and AGB bins (`mass_bins`).
        yields: the yield set.
        physics: static choices.
    """
    log10_mass = log10_turnoff_mass(log10_age, metallicity, physics)
    alive = jnp.maximum(log10_mass, math.log10(AGB_M_MIN))
    dead = fraction_above(alive, imf, physics)
    dead_agb = dead
    if physics.dropped_last_agb:
        whole_steps = jnp.where(log10_mass >= math.log10(AGB_M_MIN), dead, 0.0)
        dead_agb = lax.cummax(whole_steps)
    died = jnp.concatenate([_died(dead, bins[0]), _died(dead_agb, bins[1])], axis=-1)
    tables = [at_metallicity(s, metallicity, physics) for s in (yields.sn2, yields.agb)]
    net, unprocessed = (jnp.concatenate(parts) for parts in zip(*tables, strict=True))
    return died @ (net + unprocessed[:, None] * composition)


def _died(dead: Array, bins: MassBins) -> Array:
    """Mass fraction (age, bin) of stars that have died, from that heavier than them."""
    return jnp.clip(dead[:, None] - bins.above, 0.0, bins.inside)


def at_metallicity(
    source: SourceYields, metallicity: Array, physics: Physics
) -> tuple[Array, Array]:
    """Yields interpolated in log10 Z: net (bin, element) and unprocessed (bin,)."""
    weights = _interpolation_weights(source.log10_metallicity, metallicity, physics)
    net = jnp.tensordot(weights, source.net, axes=1)
    return net, weights @ source.unprocessed


def _interpolation_weights(nodes: Array, metallicity: Array, physics: Physics) -> Array:
    """Linear weights of the tables; outside their range the nearest one has all."""
    zeta = log10_metallicity(metallicity, physics)
    lower = jnp.zeros_like(nodes[:-1])
    if physics.unfloored_metallicity:  # extrapolates below a Z = 0 table, not at Z = 0
        is_gas_pristine = metallicity <= 0.0
        zeta = jnp.where(is_gas_pristine, LOG10_Z_ZERO, zeta)
        is_trace = (nodes[:-1] == LOG10_Z_ZERO) & ~is_gas_pristine
        lower = jnp.where(is_trace, -jnp.inf, 0.0)
    position = (zeta - nodes[:-1]) / jnp.diff(nodes)
    share = jnp.clip(position, lower, 1.0)
    one, zero = jnp.ones_like(nodes[:1]), jnp.zeros_like(nodes[:1])
    return jnp.concatenate([one, share]) - jnp.concatenate([share, zero])
