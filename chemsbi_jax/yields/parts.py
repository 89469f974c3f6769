"""One channel of one study: gross and net yields, and what is made of them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from chemsbi_jax.constants import AGB_M_MIN, IMF_M_MAX, SN2_M_MIN
from chemsbi_jax.yields.elements import Elements
from chemsbi_jax.yields.errors import YieldsError
from chemsbi_jax.yields.mass_bins import StellarModels, bin_models
from chemsbi_jax.yields.types import SNIaYields, SourceYields

CHANNELS = {"sn2": "core-collapse", "agb": "AGB", "sn_ia": "SN Ia"}
"""Field of `Yields` -> its name in a sentence, in the order of a set's name."""

MASS_RANGE = {"sn2": (SN2_M_MIN, IMF_M_MAX), "agb": (AGB_M_MIN, SN2_M_MIN)}
"""Channel -> lightest and heaviest star [Msun]."""

UNTOUCHED_BY_AGB = ("S", "Ca", "Ti", "Mn", "Fe", "Ni")
"""AGB stars return these nearly as they were born with them; where a table does not
have one of them, its net yield is 0. In FRUITY, the largest network, the net yields
are at most 4 % of what is ejected from Z = 0.002 up, and 10 % (Ti, Ni) at Z = 1e-4.
"""


class Models(NamedTuple):
    """Stars of one metallicity, or one SN Ia; NaN where the study has no number."""

    metallicity: float  # mass fraction of metals
    masses: Float[np.ndarray, " mass"]  # Msun, initial
    initial: Float[np.ndarray, " element"]  # X0, mass fraction at birth
    gross: Float[np.ndarray, "mass element"]  # Msun, all that is ejected
    net: Float[np.ndarray, "mass element"]  # Msun, newly made minus destroyed
    ejected: Float[np.ndarray, " mass"]  # Msun, over all elements


class Part(NamedTuple):
    """One channel of one study, with all elements of its tables."""

    name: str
    channel: str  # a key of `CHANNELS`
    paper: str
    source: str  # package, version and table
    elements: tuple[str, ...]  # order of the element axes of `models`
    models: tuple[Models, ...]  # one a metallicity; a SN Ia has one, without X0


def from_gross(
    metallicity: float,
    masses: Float[np.ndarray, " mass"],
    initial: Float[np.ndarray, " element"],
    gross: Float[np.ndarray, "mass element"],
) -> Models:
    """Models whose table has all that is ejected, of every element."""
    ejected = gross.sum(axis=1)
    net = gross - initial * ejected[:, None]
    return Models(metallicity, masses, initial, gross, net, ejected)


def from_net(
    metallicity: float,
    masses: Float[np.ndarray, " mass"],
    initial: Float[np.ndarray, " element"],
    net: Float[np.ndarray, "mass element"],
    ejected: Float[np.ndarray, " mass"],
) -> Models:
    """Models whose table has the net yields, and the total mass ejected."""
    gross = net + initial * ejected[:, None]
    return Models(metallicity, masses, initial, gross, net, ejected)


def explosion(ejecta: Float[np.ndarray, " element"]) -> tuple[Models]:
    """The models of a SN Ia, all of whose ejecta are new."""
    total = ejecta.sum(keepdims=True)
    initial = np.zeros_like(ejecta)
    return (Models(np.nan, total, initial, ejecta[None], ejecta[None], total),)


def to_source(part: Part, elements: Elements) -> SourceYields:
    """Core-collapse or AGB models as the mass bins of the simulator.

    Raises:
        YieldsError: the part lacks one of the elements.
    """
    return bin_models(
        [
            StellarModels(
                m.metallicity,
                m.masses,
                _net(part, m, elements) / m.masses[:, None],
                m.ejected / m.masses,
            )
            for m in part.models
        ],
        *MASS_RANGE[part.channel],
    )


def to_sn_ia(part: Part, elements: Elements) -> SNIaYields:
    """The ejecta of one SN Ia; species that are not traced count in its mass alone.

    Raises:
        YieldsError: the part lacks one of the elements.
    """
    (model,) = part.models
    ejecta = _net(part, model, elements)[0]
    return SNIaYields(jnp.asarray(ejecta), jnp.asarray(model.ejected[0]))


def traceable(part: Part, elements: Sequence[str]) -> tuple[str, ...]:
    """Those of the elements that the part has a net yield of."""
    has = set(part.elements)
    has |= {"agb": set(UNTOUCHED_BY_AGB), "sn_ia": {"H", "He"}}.get(part.channel, set())
    return tuple(e for e in elements if e in has)


def _net(
    part: Part, models: Models, elements: Elements
) -> Float[np.ndarray, "mass element"]:
    missing = sorted(set(elements) - set(traceable(part, elements)))
    if missing:
        raise YieldsError(
            f"{part.name}: this {CHANNELS[part.channel]} table ({part.paper}) has no "
            f"{', '.join(missing)}; leave it out of the elements, or take another part "
            "(cs.list_yields())."
        )
    nothing = np.zeros(len(models.masses))
    columns = dict(zip(part.elements, models.net.T, strict=True))
    return np.stack([columns.get(e, nothing) for e in elements], axis=1)
