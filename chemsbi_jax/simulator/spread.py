"""How far the published yields are apart: prior scales of corrections to a set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chemsbi_jax.simulator.production import new_mass
from chemsbi_jax.yields import PARTS, Yields, load_part, load_yields
from chemsbi_jax.yields.elements import SIXTEEN, in_order
from chemsbi_jax.yields.parts import to_sn_ia, to_source, traceable
from chemsbi_jax.yields.types import SNIaYields, SourceYields

# Sets of one family share their stellar models; each family has the same weight.
FAMILIES = {
    "sn2": (
        ("tng",), ("nkt13", "nkt13hn50"),
        *((f"lc18{s}_v0", f"lc18{s}_v150", f"lc18{s}_v300") for s in "rimf"),
        ("s16n20", "s16w18"), ("s16w18f",),
    ),
    "agb": (("tng",), ("alternative",), ("k10",), ("c15",), ("v13",)),
    "sn_ia": (
        ("tng", "w7", "w70"), ("wdd1", "wdd2", "wdd3", "cdd1", "cdd2"),
        ("n40", "n100", "n150"), ("m10_05_1", "m10_10_1"),
    ),
}  # fmt: skip
"""Channel -> families of sets; SNe Ia of normal brightness alone."""

METALS = {
    "sn2": tuple(e for e in SIXTEEN if e not in ("H", "He")),
    "agb": ("C", "N"),
    "sn_ia": ("Si", "S", "Ca", "Ti", "Mn", "Fe", "Ni"),
}
"""Channel -> elements that it makes a good share of."""


class Spread(NamedTuple):
    """Scatter of one element of one channel over the published sets."""

    channel: str
    element: str
    sd: float  # dex, over the families with equal weights
    mean: float  # dex above the reference set; NaN where that lacks the element
    sets: Mapping[str, float]  # log10 of the newly made mass
    left_out: tuple[str, ...]  # sets whose net yield is not positive


def production(
    name: str,
    channel: str,
    metallicity: float,
    alpha_imf: float = -2.3,
    vice: Path | None = None,
) -> dict[str, float]:
    """Element -> newly made mass, of a part by its name or of a complete set.

    Per unit mass of stars formed; of a SN Ia in Msun per explosion.
    """
    if name in PARTS:
        part = load_part(name, channel, vice)
        elements = in_order(traceable(part, SIXTEEN))
        if channel == "sn_ia":
            source = to_sn_ia(part, elements)
        else:
            source = to_source(part, elements)
    else:
        yields: Yields = load_yields(name)
        elements = yields.elements
        source: SourceYields | SNIaYields = getattr(yields, channel)
    if isinstance(source, SNIaYields):
        made = source.ejecta
    else:
        made = new_mass(source, metallicity, alpha_imf)
    return dict(zip(elements, np.asarray(made, float).tolist(), strict=True))


def spread(
    metallicity: float = 0.01,
    alpha_imf: float = -2.3,
    reference: str = "tng",
    families: Mapping[str, Sequence[Sequence[str]]] = FAMILIES,
    vice: Path | None = None,
) -> list[Spread]:
    """Standard deviation of log10 of the newly made mass over the published sets.

    Args:
        metallicity: mass fraction of metals of the stars.
        alpha_imf: slope of the IMF above 1 Msun.
        reference: the set that `mean` is relative to.
        families: channel -> families of sets that share their stellar models.
        vice: archive or folder of VICE's source; by default that in `CHEMSBI_VICE`.

    Raises:
        InputError: the tables of one of the sets are not on this machine.
    """
    found = []
    for channel, groups in families.items():
        names = [name for group in groups for name in group]
        made = {n: production(n, channel, metallicity, alpha_imf, vice) for n in names}
        base = production(reference, channel, metallicity, alpha_imf)
        for element in METALS[channel]:
            found.append(_spread_of(channel, element, groups, made, base))
    return found


def _spread_of(
    channel: str, element: str, groups: Sequence, made: Mapping, base: Mapping
) -> Spread:
    has = {n: table[element] for n, table in made.items() if element in table}
    logs = {n: float(np.log10(mass)) for n, mass in has.items() if mass > 0.0}
    weights = {}
    for group in groups:
        members = [name for name in group if name in logs]
        weights |= {name: 1.0 / len(members) for name in members}
    values = np.array([logs[name] for name in weights])
    weight = np.array([*weights.values()])
    mean = np.average(values, weights=weight)
    # over the number of families minus one, as a standard deviation of so few should
    families = weight.sum()
    variance = np.average((values - mean) ** 2, weights=weight)
    sd = np.sqrt(variance * families / (families - 1.0))
    zero = base.get(element, np.nan)
    offset = mean - np.log10(zero) if zero > 0.0 else np.nan
    left_out = tuple(n for n in has if n not in logs)
    return Spread(channel, element, float(sd), float(offset), logs, left_out)
