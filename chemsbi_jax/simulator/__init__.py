"""One-zone chemical evolution in JAX: physics only, no network."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Real

from chemsbi_jax.constants import PARAMETERS
from chemsbi_jax.simulator.onezone import Track, evolve, observed
from chemsbi_jax.simulator.physics import CLEAN as CLEAN
from chemsbi_jax.simulator.physics import LEGACY as LEGACY
from chemsbi_jax.simulator.physics import Physics as Physics
from chemsbi_jax.types import AnyArray
from chemsbi_jax.yields import Yields as Yields
from chemsbi_jax.yields import load_yields as load_yields

BLOCK = 32  # stars at a time: their arrays stay in the cache of a core
Theta = Real[AnyArray, "*batch param"] | list
"""Parameters as any array or nested list of numbers."""


def simulate(
    theta: Real[AnyArray, "*batch param"] | list,
    yields: Yields,
    physics: Physics = CLEAN,
) -> Float[Array, "*batch element"]:
    """Abundances of stars of a one-zone galaxy (Rybizki+ 2017).

    Args:
        theta: parameters (..., 6) in the order of `PARAMETERS`; times in Gyr since
            the Big Bang.
        yields: a yield set (`load_yields`).
        physics: static choices, `CLEAN` or `LEGACY` or your own `Physics`.

    Returns:
        (..., n) [X/Fe] and [Fe/H] in dex (Asplund+ 2009), in the order of
        `yields.abundances` (`ABUNDANCES` for the default elements); NaN where the
        model has no such star.

    Raises:
        ValueError: the last axis of `theta` is not 6.
    """
    theta = _checked(theta)
    return _simulate(theta.reshape(-1, len(PARAMETERS)), yields, physics).reshape(
        *theta.shape[:-1], len(yields.abundances)
    )


def simulate_track(
    theta: Real[AnyArray, "*batch param"] | list,
    yields: Yields,
    physics: Physics = CLEAN,
) -> Track:
    """The galaxy over time until `birth_time`, with `theta` as for `simulate`."""
    theta = _checked(theta)
    track = _simulate_track(theta.reshape(-1, len(PARAMETERS)), yields, physics)
    return jax.tree.map(lambda x: x.reshape(*theta.shape[:-1], *x.shape[1:]), track)


def _checked(theta: AnyArray | list) -> Float[Array, "*batch param"]:
    theta = jnp.asarray(theta)
    if not jnp.issubdtype(theta.dtype, jnp.floating):
        theta = theta.astype(float)
    if theta.ndim == 0 or theta.shape[-1] != len(PARAMETERS):
        raise ValueError(
            f"Expected theta of shape (..., {len(PARAMETERS)}), in the order "
            f"{PARAMETERS}; got {theta.shape}."
        )
    return theta


@partial(jax.jit, static_argnames="physics")
def _simulate(theta: Array, yields: Yields, physics: Physics) -> Array:
    def one(star: Array) -> Array:
        return observed(evolve(star, yields, physics), physics)

    return lax.map(one, theta, batch_size=min(BLOCK, max(theta.shape[0], 1)))


@partial(jax.jit, static_argnames="physics")
def _simulate_track(theta: Array, yields: Yields, physics: Physics) -> Track:
    return jax.vmap(lambda star: evolve(star, yields, physics))(theta)
