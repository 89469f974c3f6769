"""Yield tables as data: what the simulator needs to know of a stellar model set."""

from typing import NamedTuple

from jaxtyping import Array, Float


class SourceYields(NamedTuple):
    """Ejecta of one kind of star (core-collapse supernovae, or AGB stars).

    Every star between two mass edges ejects, per unit of its initial mass, the net
    yields of its bin plus the unprocessed share in the composition it was born with.
    """

    log10_metallicity: Float[Array, " z"]  # ascending; -10 stands for Z = 0
    mass_edges: Float[Array, " bin+1"]  # Msun, descending
    net: Float[Array, "z bin element"]  # newly made, per unit initial mass
    unprocessed: Float[Array, "z bin"]  # returned as it was born, same unit


class SNIaYields(NamedTuple):
    """Ejecta of one SN Ia."""

    ejecta: Float[Array, " element"]  # Msun of each traced element
    mass: Float[Array, ""]  # Msun, total over all species of the table


class Yields(NamedTuple):
    """A complete yield set; elements in the order of `constants.ELEMENTS`."""

    sn2: SourceYields
    agb: SourceYields
    sn_ia: SNIaYields
