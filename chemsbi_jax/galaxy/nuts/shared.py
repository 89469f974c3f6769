"""Gold standard of method `hierarchical`: numpyro's NUTS over psi and all stars."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.galaxy.hierarchical.chains import ChainSizes, run_chains
from chemsbi_jax.galaxy.hierarchical.joint_density import make_joint_density
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode
from chemsbi_jax.galaxy.hierarchical.place import look_at
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import Layout, make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.star import FactorForward, Model, Star, make_stars
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import Stars

FIRST_SPREAD = 1.0, 0.3  # widths of the first places: of psi, of the stars
N_FIRST = 100  # steps of the chains that find the place of the coordinates
FIRST_DEPTH = 6  # of their trees


class SharedNuts(NamedTuple):
    """Draws of the shared latents (standard normal in the prior) by NUTS."""

    names: tuple[str, ...]
    psi: Float[np.ndarray, "chain draw psi"]
    n_divergent: int


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
    key_mode, key_start, key_first, key_run = jax.random.split(key, 4)
    mode = find_shared_mode(key_mode, stars, model, layout, quiet=quiet)
    local = np.zeros((len(stars.values), N_LOCAL), np.float32)
    place = look_at(stars, local, model, layout, mode.psi)
    density = make_joint_density(stars, model, layout, place)
    n_psi = len(place.psi)
    shape = sizes.n_chains, n_psi + N_LOCAL * len(stars.values)
    spread = np.full(shape[1], FIRST_SPREAD[1], np.float32)
    spread[:n_psi] = FIRST_SPREAD[0]
    start = spread * np.asarray(jax.random.normal(key_start, shape))
    first = ChainSizes(sizes.n_chains, N_FIRST, N_FIRST // 2, FIRST_DEPTH)
    at, _ = run_chains(key_first, density, start, first, quiet)
    psi = density.whitening.psi_on_host(at[..., :n_psi])
    centre = psi.reshape(-1, n_psi).mean(axis=0)
    place = look_at(stars, place.stars.line.local, model, layout, centre)
    moved = make_joint_density(stars, model, layout, place)
    start = moved.coordinates(*density.values(at[:, -1]))
    at, n_divergent = run_chains(key_run, moved, start, sizes, quiet)
    return Chains(moved.whitening.psi_on_host(at[..., :n_psi]), n_divergent)
