"""Hamiltonian Monte Carlo of psi: several short chains side by side."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from chemsbi_jax.compute.devices import spread
from chemsbi_jax.galaxy.hierarchical.shared_density import SharedDensity

CHUNK = 5  # steps of a call
FULL, LONGEST = 4.0, 32  # length of a path in widths, and its steps at most
GOAL = 0.8  # share of accepted steps


class Walk(NamedTuple):
    """What chains passed through."""

    at: Float[np.ndarray, "chain psi"]  # the last ones
    shared: Float[np.ndarray, "chain draw psi"]
    accepted: Float[np.ndarray, "chain draw"]  # probability


def walk(
    key: Key[Array, ""],
    density: SharedDensity,
    at: Array | np.ndarray,
    step: float,
    n: int,
    advance=None,
) -> Walk:
    """The next `n` draws of each chain, rounded up to whole chunks.

    Args:
        key: determines them.
        density: of the coordinates.
        at: where the chains are.
        step: of the leapfrog.
        n: draws of each chain.
        advance: called with the number of draws of each chunk, for a progress bar.
    """
    parts = []
    n_chunks = -(-n // CHUNK)
    step, n_steps = jnp.asarray(step, jnp.float32), _path_steps(step)
    for keys in jax.random.split(key, (n_chunks, len(at))):
        found = _on_all_devices(_walk)((keys, at), density, step, n_steps)
        found = jax.tree.map(np.asarray, found)
        at = found.at
        parts.append(found)
        if advance:
            advance(CHUNK)
    joined = (
        np.concatenate([getattr(p, name) for p in parts], axis=1)
        for name in ("shared", "accepted")
    )
    return Walk(at, *joined)


def _path_steps(step: float) -> Array:
    return jnp.asarray(min(max(round(FULL / step), 1), LONGEST))


_on_all_devices = cache(spread)


def _walk(chains: tuple, density: SharedDensity, step: Array, n_steps: Array) -> Walk:
    keys, at = chains
    value = density.value_and_slope

    def one(key: Array, at: Array) -> Walk:
        def go_on(state: tuple, key: Array) -> tuple:
            state, chance = _hamiltonian(key, value, state, step, n_steps)
            return state, (state[0], chance)

        first = (at, *value(at))
        last, (shared, chance) = lax.scan(go_on, first, jax.random.split(key, CHUNK))
        return Walk(last[0], shared, chance)

    return jax.vmap(one)(keys, at)


def _hamiltonian(key: Array, value, state: tuple, step: Array, n_steps: Array):
    """One step: a path of random length from a random momentum, and its acceptance."""
    key_momentum, key_length, key_accept = jax.random.split(key, 3)
    at, start, slope = state
    momentum = jax.random.normal(key_momentum, at.shape)
    # of random size, so that no direction comes back to where it was
    size = step * jax.random.uniform(key_length, minval=0.7, maxval=1.1)

    def leap(_, path: tuple) -> tuple:
        at, _, slope, momentum = path
        momentum = momentum + 0.5 * size * slope
        at = at + size * momentum
        now, slope = value(at)
        return at, now, slope, momentum + 0.5 * size * slope

    path = (at, start, slope, momentum)
    end, now, other, last = lax.fori_loop(0, n_steps, leap, path)
    gain = now - start - 0.5 * (jnp.sum(last**2) - jnp.sum(momentum**2))
    chance = jnp.where(jnp.isfinite(gain), jnp.exp(jnp.minimum(gain, 0.0)), 0.0)
    is_taken = jax.random.uniform(key_accept) < chance
    new = (end, now, other)
    state = jax.tree.map(lambda x, y: jnp.where(is_taken, x, y), new, state)
    return state, chance
