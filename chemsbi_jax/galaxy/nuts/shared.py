"""Gold standard of method `hierarchical`: numpyro's NUTS over psi and all stars."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpyro.infer import MCMC, NUTS

from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.galaxy.hierarchical.joint_density import (
    JointDensity,
    make_joint_density,
)
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode, look_at
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.star import FactorForward, Model, make_stars
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import AnyArray, Stars

FIRST_SPREAD = 1.0, 0.3  # widths of the first places: of psi, of the stars
N_FIRST = 100  # steps of the chains that find the place of the coordinates
FIRST_DEPTH = 6  # of their trees
ACCEPTANCE = 0.75


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
    key_start, key_first, key_run = jax.random.split(key, 3)
    layout, model = make_layout(settings, factors), Model(forward, prior)
    rows = make_stars(stars, settings, prior)
    place = find_shared_mode(rows, model, layout, quiet=quiet)
    density = make_joint_density(rows, model, layout, place)
    n_psi = len(place.psi)
    shape = sizes.n_chains, n_psi + N_LOCAL * len(rows.values)
    spread = np.full(shape[1], FIRST_SPREAD[1], np.float32)
    spread[:n_psi] = FIRST_SPREAD[0]
    start = spread * jax.random.normal(key_start, shape)
    first = ChainSizes(sizes.n_chains, N_FIRST, N_FIRST // 2, FIRST_DEPTH)
    at = _run(key_first, density, start, first, quiet).get_samples(True)
    psi = density.psi(np.asarray(at, float)[..., :n_psi])
    centre = np.asarray(psi).reshape(-1, n_psi).mean(axis=0)
    place = look_at(rows, place.stars.local, model, layout, centre)
    moved = make_joint_density(rows, model, layout, place)
    start = moved.coordinates(*density.values(np.asarray(at)[:, -1]))
    found = _run(key_run, moved, start, sizes, quiet)
    psi = moved.psi(np.asarray(found.get_samples(True), float)[..., :n_psi])
    n_divergent = int(np.asarray(found.get_extra_fields()["diverging"]).sum())
    return SharedNuts(psi_names(factors), np.asarray(psi), n_divergent)


def _run(
    key: Key[Array, ""],
    density: JointDensity,
    start: Float[AnyArray, "chain all"],
    sizes: ChainSizes,
    quiet: bool,
) -> MCMC:
    def potential(at: AnyArray) -> AnyArray:
        return -density.value(at)

    sampler = MCMC(
        NUTS(
            potential_fn=potential,
            max_tree_depth=sizes.max_tree_depth,
            target_accept_prob=ACCEPTANCE,
            step_size=0.1,
        ),
        num_warmup=sizes.n_warmup,
        num_samples=sizes.n_draws,
        num_chains=sizes.n_chains,
        chain_method="vectorized",
        progress_bar=not quiet,
    )
    first = jnp.asarray(start, jnp.float32)
    sampler.run(key, init_params=first, extra_fields=("diverging",))
    return sampler
