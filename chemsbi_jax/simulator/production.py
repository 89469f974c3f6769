"""What a generation of stars makes in all, averaged over the IMF."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.constants import METALS, PRIMORDIAL_HE
from chemsbi_jax.simulator.imf import make_imf
from chemsbi_jax.simulator.onezone import to_abundances
from chemsbi_jax.simulator.physics import CLEAN, Physics
from chemsbi_jax.simulator.ssp import at_metallicity, mass_bins
from chemsbi_jax.types import AnyArray
from chemsbi_jax.yields import SourceYields, Yields
from chemsbi_jax.yields.elements import ATOMIC_WEIGHT, SOLAR, Elements


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
    composition: Float[AnyArray, " element"],
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


def net_curves(
    yields: Yields, metallicity: float
) -> tuple[tuple[np.ndarray, dict[str, np.ndarray]], ...]:
    """Net yields over mass, of core collapse and of AGB stars.

    Returns:
        For each of the two the edges of its mass bins [Msun], ascending, and by element
        the newly made mass in each bin per unit initial mass.
    """
    curves = []
    for source in (yields.sn2, yields.agb):
        net, _ = at_metallicity(source, jnp.asarray(metallicity), CLEAN)
        made = np.asarray(net)[::-1].T
        edges = np.asarray(source.mass_edges)[::-1]
        curves.append((edges, dict(zip(yields.elements, made, strict=True))))
    return tuple(curves)


def ejecta_ratios(
    yields: Yields, channel: str, metallicity: float, alpha_imf: float = -2.3
) -> dict[str, float]:
    """[X/Fe] in dex of all that a channel returns, averaged over the IMF.

    The stars are born with solar ratios of the metals; SNe Ia are all new.

    Args:
        yields: the yield set.
        channel: "sn2", "agb" or "sn_ia".
        metallicity: mass fraction of metals of the stars.
        alpha_imf: slope of the IMF above 1 Msun.
    """
    elements = yields.elements
    if channel == "sn_ia":
        mass = yields.sn_ia.ejecta
    else:
        born = _solar_ratios(elements, metallicity)
        mass = all_mass(getattr(yields, channel), metallicity, born, alpha_imf)
    table = to_abundances(mass.at[elements.index("H")].set(1.0), elements)
    return {
        name.split("_")[0].capitalize(): float(x)
        for name, x in zip(yields.abundances, table, strict=True)
        if name not in ("fe_h", "he_fe")
    }


def _solar_ratios(elements: Elements, metallicity: float) -> Float[Array, " element"]:
    """Mass fractions: solar ratios of the metals, primordial helium."""
    sun = np.array([10.0 ** SOLAR[e] * ATOMIC_WEIGHT[e] for e in elements])
    metals = sum(x for e, x in zip(elements, sun, strict=True) if e in METALS)
    light = {"H": 1.0 - PRIMORDIAL_HE - metallicity, "He": PRIMORDIAL_HE}
    return jnp.array(
        [
            light.get(e, metallicity * x / metals)
            for e, x in zip(elements, sun, strict=True)
        ]
    )
