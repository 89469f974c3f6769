"""Gold standard of method `hierarchical`: numpyro's NUTS over psi and all stars."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpyro.infer.hmc import HMCState, hmc
from tqdm import tqdm

from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.galaxy.hierarchical.joint_density import (
    JointDensity,
    make_joint_density,
)
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode
from chemsbi_jax.galaxy.hierarchical.place import look_at
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import Layout, make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.star import FactorForward, Model, Star, make_stars
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import AnyArray, Stars

FIRST_SPREAD = 1.0, 0.3  # widths of the first places: of psi, of the stars
N_FIRST = 100  # steps of the chains that find the place of the coordinates
FIRST_DEPTH = 6  # of their trees
ACCEPTANCE, FIRST_STEP = 0.75, 0.1
BLOCK = 25  # steps of one call


class SharedNuts(NamedTuple):
    """Draws of the shared latents (standard normal in the prior) by NUTS."""

    names: tuple[str, ...]
    psi: Float[np.ndarray, "chain draw psi"]
    n_divergent: int


class ChainSizes(NamedTuple):
    """Lengths of the chains."""

    n_chains: int = 4  # side by side
    n_warmup: int = 500  # steps that are not kept, per chain
    n_draws: int = 500  # kept steps, per chain
    max_tree_depth: int = 8  # at most 2 to this power of gradients a step


USUAL = ChainSizes()


def run_shared_nuts(
    key: Key[Array, ""],
    forward: FactorForward,
    prior: Prior,
    stars: Stars,
    settings: SharedErrors,
    *,
    factors: Sequence[str] = SHARED_FACTORS,
    sizes: ChainSizes = USUAL,
    quiet: bool = True,
) -> SharedNuts:
    """Joint posterior of psi and of all local parameters, with adapted steps.

    Short chains that start around the mode of psi find the mean of psi. There the stars
    are linearised anew, which gives the coordinates of the chains that count. These are
    a bijection, so that they do not change the result.

    Args:
        key: determines all random numbers.
        forward: (theta, log10 yield factors) -> abundances [dex].
        prior: of the galaxy and of the local parameters.
        stars: any errors, gaps and birth times.
        settings: prior scales and held blocks.
        factors: names of the yield factors.
        sizes: lengths of the chains.
        quiet: no progress bar.
    """
    layout, model = make_layout(settings, factors), Model(forward, prior)
    rows = make_stars(stars, settings, prior)
    chains = sample_shared(key, rows, model, layout, sizes, quiet=quiet)
    return SharedNuts(psi_names(factors), *chains)


class Chains(NamedTuple):
    """Kept steps of all chains."""

    psi: Float[np.ndarray, "chain draw psi"]
    n_divergent: int


def sample_shared(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    sizes: ChainSizes = USUAL,
    *,
    quiet: bool = True,
) -> Chains:
    """Chains of `run_shared_nuts`; one compilation for all galaxies of one size.

    Args:
        key: determines all random numbers.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        sizes: lengths of the chains.
        quiet: no progress bar.
    """
    key_start, key_first, key_run = jax.random.split(key, 3)
    mode = find_shared_mode(stars, model, layout, quiet=quiet)
    place = look_at(stars, mode.local, model, layout, mode.psi)
    density = make_joint_density(stars, model, layout, place)
    n_psi = len(place.psi)
    shape = sizes.n_chains, n_psi + N_LOCAL * len(stars.values)
    spread = np.full(shape[1], FIRST_SPREAD[1], np.float32)
    spread[:n_psi] = FIRST_SPREAD[0]
    start = spread * np.asarray(jax.random.normal(key_start, shape))
    first = ChainSizes(sizes.n_chains, N_FIRST, N_FIRST // 2, FIRST_DEPTH)
    at, _ = _run(key_first, density, start, first, quiet)
    centre = np.asarray(density.psi(at[..., :n_psi])).reshape(-1, n_psi).mean(axis=0)
    place = look_at(stars, place.stars.local, model, layout, centre)
    moved = make_joint_density(stars, model, layout, place)
    start = moved.coordinates(*density.values(at[:, -1]))
    at, n_divergent = _run(key_run, moved, start, sizes, quiet)
    return Chains(np.asarray(moved.psi(at[..., :n_psi])), n_divergent)


def _run(
    key: Key[Array, ""],
    density: JointDensity,
    start: Float[np.ndarray, "chain all"],
    sizes: ChainSizes,
    quiet: bool,
) -> tuple[Float[np.ndarray, "chain draw all"], int]:
    """Kept coordinates, in float64, and the number of divergent steps."""
    keys, at = jax.random.split(key, len(start)), jnp.asarray(start, jnp.float32)
    state = _start(keys, density, at, sizes)
    total = sizes.n_warmup + sizes.n_draws
    parts, n_divergent = [], 0
    with tqdm(total=total, desc="nuts", unit="step", disable=quiet) as bar:
        for done in range(0, total, BLOCK):
            state, (places, diverged) = _steps(state, density, at, sizes)
            kept = slice(max(0, sizes.n_warmup - done), min(BLOCK, total - done))
            parts.append(np.asarray(places, float)[:, kept])
            n_divergent += int(np.asarray(diverged)[:, kept].sum())
            bar.update(min(BLOCK, total - done))
    return np.concatenate(parts, axis=1), n_divergent


@partial(jax.jit, static_argnames="sizes")
def _start(keys: Key[Array, " chain"], density: JointDensity, at: Array, sizes):
    return jax.vmap(lambda k, x: _kernel(k, density, x, sizes)[0])(keys, at)


@partial(jax.jit, static_argnames="sizes")
def _steps(state: HMCState, density: JointDensity, at: Array, sizes):
    """`BLOCK` steps of all chains."""

    def one(state: HMCState, x: Array):
        # key reuse: numpyro's kernel needs a first state, which is not used
        _, step = _kernel(state.rng_key, density, x, sizes)

        def body(state: HMCState, _):
            state = step(state)
            return state, (state.z, state.diverging)

        return jax.lax.scan(body, state, length=BLOCK)

    return jax.vmap(one)(state, at)


def _kernel(key: Key[Array, ""], density: JointDensity, at: Array, sizes: ChainSizes):
    """First state of a chain, and its step: numpyro's kernel as pure functions."""
    first, step = hmc(potential_fn_gen=_potential, algo="NUTS")
    state = first(
        at,
        sizes.n_warmup,
        step_size=FIRST_STEP,
        target_accept_prob=ACCEPTANCE,
        max_tree_depth=sizes.max_tree_depth,
        model_args=(density,),
        rng_key=key,
    )
    return state, lambda state: step(state, (density,))


def _potential(density: JointDensity):
    def potential(at: AnyArray) -> AnyArray:
        return -density.value(at)

    return potential
