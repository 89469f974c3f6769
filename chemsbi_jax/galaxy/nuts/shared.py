"""Gold standard of method `hierarchical`: numpyro's NUTS over psi and all stars."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from numpyro.infer import MCMC, NUTS

from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.galaxy.hierarchical.joint_density import JointDensity
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.shared_density import (
    last_axis,
    make_density,
    to_psi,
)
from chemsbi_jax.galaxy.hierarchical.star import FactorForward, Model, make_stars
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import AnyArray, Stars

SPREAD = 0.5  # posterior widths of the first places of chains


class SharedNuts(NamedTuple):
    """Draws of the shared latents (standard normal in the prior) by NUTS."""

    names: tuple[str, ...]
    psi: Float[np.ndarray, "chain draw psi"]
    n_divergent: int


def run_shared_nuts(
    key: Key[Array, ""],
    forward: FactorForward,
    prior: Prior,
    stars: Stars,
    settings: SharedErrors,
    *,
    factors: Sequence[str] = SHARED_FACTORS,
    n_chains: int = 4,
    n_warmup: int = 500,
    n_draws: int = 500,
    max_tree_depth: int = 8,
    quiet: bool = True,
) -> SharedNuts:
    """Joint posterior of psi and of all local parameters, with adapted steps.

    Coordinates are those of the hierarchical mode; a bijection, so that they do not
    change the result. Step size and the variances of all coordinates are adapted.

    Args:
        key: determines all random numbers.
        forward: (theta, log10 yield factors) -> abundances [dex].
        prior: of the galaxy and of the local parameters.
        stars: any errors, gaps and birth times.
        settings: prior scales and held blocks.
        factors: names of the yield factors.
        n_chains: side by side.
        n_warmup: steps that are not kept, per chain.
        n_draws: kept steps, per chain.
        max_tree_depth: at most 2 to this power of gradients a step.
        quiet: no progress bar.
    """
    key_start, key_run = jax.random.split(key)
    layout, model = make_layout(settings, factors), Model(forward, prior)
    rows = make_stars(stars, settings, prior)
    mode = find_shared_mode(rows, model, layout, quiet=quiet)
    place = mode.psi, mode.covariance, len(rows.values)
    density = make_density(last_axis(rows), mode.expansion, layout, *place)
    joint = JointDensity(density, model)
    sampler = MCMC(
        NUTS(potential_fn=_potential(joint), max_tree_depth=max_tree_depth),
        num_warmup=n_warmup,
        num_samples=n_draws,
        num_chains=n_chains,
        chain_method="vectorized",
        progress_bar=not quiet,
    )
    n_psi, n_rows = len(mode.psi), density.star.values.shape[-1]
    shape = n_chains, n_psi + N_LOCAL * n_rows
    start = SPREAD * jax.random.normal(key_start, shape)
    sampler.run(key_run, init_params=start, extra_fields=("diverging",))
    at = np.asarray(sampler.get_samples(group_by_chain=True), float)
    psi = to_psi(density, at[..., :n_psi])
    n_divergent = int(np.asarray(sampler.get_extra_fields()["diverging"]).sum())
    return SharedNuts(psi_names(factors), psi, n_divergent)


def _potential(density: JointDensity):
    def potential(at: AnyArray) -> AnyArray:
        return -density.value(at)

    return potential
