"""Yield sets that differ from a published one by a factor per channel and element."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from chemsbi_jax.constants import PARAMETERS, YIELD_FACTORS
from chemsbi_jax.simulator.onezone import evolve, observed
from chemsbi_jax.simulator.physics import CLEAN, Physics
from chemsbi_jax.yields import Yields

FACTORS = YIELD_FACTORS
"""Names and order of the factors: channel, underscore, element."""
BLOCK = 32  # stars at a time: their arrays stay in the cache of a core


def scale_yields(yields: Yields, factors: Float[ArrayLike, " factor"]) -> Yields:
    r"""The yield set with the newly made mass of some elements multiplied.

    A star that makes :math:`m_X > 0` of element X makes :math:`10^{\phi} m_X`, and
    its hydrogen changes by :math:`(1 - 10^{\phi}) m_X`, so the ejected mass stays.
    Where a star destroys the element (:math:`m_X < 0`) nothing changes: a star can't
    destroy more than it was born with, and that loss does not depend on the rate at
    which others make the element. A SN Ia makes all of its ejecta.

    Args:
        yields: a yield set (`load_yields`).
        factors: log10 factors (11,) in the order of `FACTORS`; zeros give `yields` to
            the bit. "snia_fe" is the iron of one SN Ia, at a given number of them.

    Raises:
        ValueError: `factors` has another shape.
    """
    factors = jnp.asarray(factors, yields.sn2.net.dtype)
    if factors.shape != (len(FACTORS),):
        raise ValueError(
            f"Expected factors of shape ({len(FACTORS)},), in the order {FACTORS}; "
            f"got {factors.shape}."
        )
    sn_ia, elements = yields.sn_ia, yields.elements
    ejecta = _scaled(sn_ia.ejecta, elements, _of_channel("snia", factors, elements))
    return yields._replace(
        sn2=yields.sn2._replace(
            net=_scaled(yields.sn2.net, elements, _of_channel("sn2", factors, elements))
        ),
        agb=yields.agb._replace(
            net=_scaled(yields.agb.net, elements, _of_channel("agb", factors, elements))
        ),
        sn_ia=sn_ia._replace(ejecta=ejecta),
    )


def _of_channel(channel: str, factors: Array, elements: tuple[str, ...]) -> Array:
    """log10 factors (element,) of one channel; zero where there is none."""
    symbols = [name.split("_") for name in FACTORS]
    result = jnp.zeros(len(elements), factors.dtype)
    for i, (source, symbol) in enumerate(symbols):
        if source == channel and symbol.capitalize() in elements:
            result = result.at[elements.index(symbol.capitalize())].set(factors[i])
    return result


def _scaled(net: Array, elements: tuple[str, ...], log10_factors: Array) -> Array:
    # exp rather than a power: exactly 1 at 0, and smooth there
    gain = jnp.expm1(jnp.log(10.0).astype(net.dtype) * log10_factors)
    more = gain * jnp.maximum(net, 0.0)
    return (net + more).at[..., elements.index("H")].add(-jnp.sum(more, axis=-1))


def simulate_factors(
    theta: Float[ArrayLike, "*#batch param"],
    factors: Float[ArrayLike, "*#batch factor"],
    yields: Yields,
    physics: Physics = CLEAN,
) -> Float[Array, "*batch element"]:
    """Abundances [dex] as `simulate` gives them, each star with its own yield factors.

    Args:
        theta: parameters (..., 6) in the order of `PARAMETERS`.
        factors: log10 factors (..., 11) in the order of `FACTORS`; leading axes
            broadcast with those of `theta`.
        yields: the yield set at factors of zero.
        physics: static choices.

    Returns:
        (..., n) in the order of `yields.abundances` [dex]; NaN where the model has no
        such star.

    Raises:
        ValueError: the last axis of `theta` is not 6, or that of `factors` not 11.
    """
    theta, factors = jnp.asarray(theta, float), jnp.asarray(factors, float)
    if theta.shape[-1:] != (len(PARAMETERS),) or factors.shape[-1:] != (len(FACTORS),):
        raise ValueError(
            f"Expected theta (..., {len(PARAMETERS)}) in the order {PARAMETERS} and "
            f"factors (..., {len(FACTORS)}) in the order {FACTORS}; got {theta.shape} "
            f"and {factors.shape}."
        )
    batch = jnp.broadcast_shapes(theta.shape[:-1], factors.shape[:-1])
    rows = (
        jnp.broadcast_to(x, (*batch, x.shape[-1])).reshape(-1, x.shape[-1])
        for x in (theta, factors)
    )
    out = _simulate_factors(*rows, yields, physics)
    return out.reshape(*batch, out.shape[-1])


@partial(jax.jit, static_argnames="physics")
def _simulate_factors(
    theta: Array, factors: Array, yields: Yields, physics: Physics
) -> Array:
    def one(star: tuple[Array, Array]) -> Array:
        track = evolve(star[0], scale_yields(yields, star[1]), physics)
        return observed(track, physics)

    size = min(BLOCK, max(theta.shape[0], 1))
    return lax.map(one, (theta, factors), batch_size=size)
