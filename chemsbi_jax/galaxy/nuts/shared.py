"""Gold standard of method `hierarchical`: numpyro's NUTS over psi and all stars."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.hierarchical.chains import ChainSizes, run_chains
from chemsbi_jax.galaxy.hierarchical.joint_density import (
    JointDensity,
    make_joint_density,
)
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode
from chemsbi_jax.galaxy.hierarchical.place import look_at
from chemsbi_jax.galaxy.hierarchical.runs import PsiChains
from chemsbi_jax.galaxy.hierarchical.sampling import sample_psi
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import Layout, make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.star import FactorForward, Model, Star, make_stars
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import Stars

FIRST_SPREAD = 0.7  # widths of the first places of the stars
DRAWS_A_LATENT = 2.0  # effective ones, where chains and information weigh the same
# of the chains with the stars integrated out, which find the coordinates
SHORT = ChainSizes(4, 75, 150, 5, acceptance=0.8, first_step=0.3)


class SharedNuts(NamedTuple):
    """Draws of the shared latents (standard normal in the prior) by NUTS."""

    names: tuple[str, ...]
    psi: Float[np.ndarray, "chain draw psi"]
    n_divergent: int


USUAL = ChainSizes()


@in_float32
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

    Short chains with the stars integrated out (`sample_psi`) give the mean and the
    covariance of psi, and the stars are linearised at the mean. This sets the
    coordinates, a bijection that does not change the result. The chains start at the
    last draws of the short ones.

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

    Raises:
        RuntimeError: the short chains fail, so that there are no coordinates.
    """
    key_mode, key_place, key_start, key_run = jax.random.split(key, 4)
    of_psi = stars, model, layout
    mode = find_shared_mode(key_mode, *of_psi, quiet=quiet)
    near = SHORT._replace(n_chains=sizes.n_chains)
    found = sample_psi(key_place, *of_psi, mode, sizes=near, quiet=quiet)
    psi = found.psi
    if not np.isfinite(psi).all():
        raise RuntimeError(
            "Expected finite draws of the short chains of the shared parameters; got "
            "NaN or infinity. Check the errors of the stars, or take other priors."
        )
    density = _density_around(*of_psi, found)
    shape = sizes.n_chains, N_LOCAL * len(stars.values)
    noise = FIRST_SPREAD * np.asarray(jax.random.normal(key_start, shape))
    start = np.concatenate([density.whitening.coordinates(psi[:, -1]), noise], axis=1)
    run = key_run, density, start, sizes, quiet
    at, n_divergent = run_chains(*run, name="nuts, all stars")
    at = at[..., : psi.shape[-1]]
    return Chains(density.whitening.psi_on_host(at), n_divergent)


def _density_around(
    stars: Star, model: Model, layout: Layout, found: PsiChains
) -> JointDensity:
    """The joint density in coordinates of the mean and the covariance of chains.

    A covariance from few effective draws is inaccurate in so many dimensions. The rest
    of its weight has the information of the linearised stars.
    """
    psi = found.psi.reshape(-1, found.psi.shape[-1])
    local = np.zeros((len(stars.values), N_LOCAL), np.float32)
    place = look_at(stars, local, model, layout, psi.mean(axis=0))
    # of the galaxy's parameters, which mix slowly; chains that stand still have none
    n_effective = np.nan_to_num(found.n_effective)
    weight = n_effective / (n_effective + DRAWS_A_LATENT * psi.shape[1])
    covariance = weight * np.cov(psi, rowvar=False)
    covariance += (1.0 - weight) * place.covariance
    place = place._replace(covariance=covariance)
    return make_joint_density(stars, model, layout, place)
