"""What a generation of stars makes in all, averaged over the IMF."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from chemsbi_jax.simulator.imf import make_imf
from chemsbi_jax.simulator.physics import CLEAN, Physics
from chemsbi_jax.simulator.ssp import at_metallicity, mass_bins
from chemsbi_jax.yields import SourceYields


def new_mass(
    source: SourceYields,
    metallicity: float,
    alpha_imf: float = -2.3,
    physics: Physics = CLEAN,
) -> Float[Array, " element"]:
    """Newly made mass of each element per unit mass of stars formed, all stars dead.

    Args:
        source: core-collapse or AGB yields; their elements are those of the result.
        metallicity: mass fraction of metals of the stars.
        alpha_imf: slope of the IMF above 1 Msun.
        physics: static choices of the IMF.
    """
    net, _ = _averaged(source, metallicity, alpha_imf, physics)
    return net


def all_mass(
    source: SourceYields,
    metallicity: float,
    composition: Float[Array, " element"],
    alpha_imf: float = -2.3,
    physics: Physics = CLEAN,
) -> Float[Array, " element"]:
    """As `new_mass`, with what is returned as it was born, in this composition."""
    net, unprocessed = _averaged(source, metallicity, alpha_imf, physics)
    return net + unprocessed * composition


def _averaged(
    source: SourceYields, metallicity: float, alpha_imf: float, physics: Physics
) -> tuple[Array, Array]:
    share = mass_bins(source, make_imf(jnp.asarray(alpha_imf), physics), physics).inside
    net, unprocessed = at_metallicity(source, jnp.asarray(metallicity), physics)
    return share @ net, share @ unprocessed
