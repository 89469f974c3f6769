"""Chains of numpyro's NUTS over a density in coordinates that are nearly normal."""

from functools import cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpyro.infer.hmc import HMCState, hmc
from tqdm import tqdm

from chemsbi_jax.compute.devices import spread
from chemsbi_jax.types import AnyArray

BLOCK = 25  # steps of one call


@runtime_checkable
class Density(Protocol):
    """A PyTree with a log density."""

    def value(self, at: Float[AnyArray, " all"]) -> Float[AnyArray, ""]:
        """Log density of one place."""
        ...


class ChainSizes(NamedTuple):
    """Lengths of the chains."""

    n_chains: int = 4  # side by side
    n_warmup: int = 500  # steps that are not kept, per chain
    n_draws: int = 500  # kept steps, per chain
    max_tree_depth: int = 8  # at most 2 to this power of gradients a step
    acceptance: float = 0.8  # mean probability that the adapted steps aim at
    first_step: float = 0.1


def run_chains(
    key: Key[Array, ""],
    density: Density,
    start: Float[np.ndarray, "chain all"],
    sizes: ChainSizes,
    quiet: bool,
    own: Any = None,
    name: str = "nuts",
) -> tuple[Float[np.ndarray, "chain draw all"], int]:
    """Kept coordinates, in float64, and the number of divergent steps.

    Args:
        key: determines all random numbers.
        density: a PyTree; one compilation for all of the same shapes.
        start: first coordinates of each chain.
        sizes: lengths of the chains.
        quiet: no progress bar.
        own: field of the density -> values that differ between the chains, with a
            leading axis of chains.
        name: of the progress bar.
    """
    keys, at = jax.random.split(key, len(start)), jnp.asarray(start, jnp.float32)
    own = own or {}
    state = _on_all_devices(_start)((keys, at, own), density, sizes)
    total = sizes.n_warmup + sizes.n_draws
    parts, n_divergent = [], 0
    with tqdm(total=total, desc=name, unit="step", disable=quiet) as bar:
        for done in range(0, total, BLOCK):
            state, places, diverged = _on_all_devices(_steps)(
                (state, at, own), density, sizes
            )
            kept = slice(max(0, sizes.n_warmup - done), min(BLOCK, total - done))
            parts.append(np.asarray(places, float)[:, kept])
            n_divergent += int(np.asarray(diverged)[:, kept].sum())
            bar.update(min(BLOCK, total - done))
    return np.concatenate(parts, axis=1), n_divergent


# at the first call, as JAX starts with it
_on_all_devices = cache(spread)


def _start(chains: tuple, density: Density, sizes: ChainSizes) -> HMCState:
    def one(key: Array, at: Array, own: dict) -> HMCState:
        return _kernel(key, _with(density, own), at, sizes)[0]

    return jax.vmap(one)(*chains)


def _steps(
    chains: tuple, density: Density, sizes: ChainSizes
) -> tuple[HMCState, Array, Array]:
    """`BLOCK` steps of all chains."""

    def one(state: HMCState, at: Array, own: dict):
        # key reuse: numpyro's kernel needs a first state, which is not used
        _, step = _kernel(state.rng_key, _with(density, own), at, sizes)

        def body(state: HMCState, _):
            state = step(state)
            return state, (state.z, state.diverging)

        state, (places, diverged) = jax.lax.scan(body, state, length=BLOCK)
        return state, places, diverged

    return jax.vmap(one)(*chains)


def _with(density: Any, own: dict) -> Any:
    return density._replace(**own) if own else density


def _kernel(key: Key[Array, ""], density: Density, at: Array, sizes: ChainSizes):
    """First state of a chain, and its step: numpyro's kernel as pure functions."""
    first, step = hmc(potential_fn_gen=_potential, algo="NUTS")
    state = first(
        at,
        sizes.n_warmup,
        step_size=sizes.first_step,
        target_accept_prob=sizes.acceptance,
        max_tree_depth=sizes.max_tree_depth,
        model_args=(density,),
        rng_key=key,
    )
    return state, lambda state: step(state, (density,))


def _potential(density: Density):
    def potential(at: AnyArray) -> AnyArray:
        return -density.value(at)

    return potential
