"""Yield tables as data: what the simulator reads of a stellar model set."""

from typing import NamedTuple

from jaxtyping import Array, Float

from chemsbi_jax.yields.elements import NINE, Elements, abundance_names


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
    """A complete yield set, with the elements that it traces."""

    sn2: SourceYields
    agb: SourceYields
    sn_ia: SNIaYields
    elements: Elements = NINE  # order of every element axis above

    @property
    def abundances(self) -> tuple[str, ...]:
        """Names of the last axis of `simulate`, [X/Fe] and [Fe/H] in dex."""
        return abundance_names(self.elements)
