"""The elements that a yield set can trace: order, atomic weights, the Sun."""

from collections.abc import Iterable
from types import MappingProxyType

import jax

from chemsbi_jax import constants
from chemsbi_jax.errors import InputError


@jax.tree_util.register_static
class Elements(tuple):
    """Symbols of the traced elements; static under `jit`, a tuple in all else.

    Gas mass and metallicity are sums over those of the nine default ones that are
    traced; further elements are traced without weight.
    """


NINE = Elements(constants.ELEMENTS)
"""What the TNG set traces; the default everywhere."""

SIXTEEN = Elements((*NINE, *constants.FURTHER_ELEMENTS))
"""All elements with a solar value here; the first nine are the default ones."""

NEEDED = ("H", "He", "Fe")
"""Without hydrogen and helium there is no gas mass, without iron no [X/Fe]."""

# Asplund, Grevesse, Sauval & Scott 2009, Table 1 (photosphere): 12 + log10(n_X / n_H)
_OTHERS = {
    "Na": 6.24, "Al": 6.45, "S": 7.12, "Ca": 6.34, "Ti": 4.95, "Mn": 5.43, "Ni": 6.22,
}  # fmt: skip
_OTHER_WEIGHTS = {
    "Na": 22.98977, "Al": 26.98154, "S": 32.065, "Ca": 40.078, "Ti": 47.867,
    "Mn": 54.938044, "Ni": 58.6934,
}  # fmt: skip
SOLAR = MappingProxyType(dict(zip(NINE, constants.SOLAR, strict=True)) | _OTHERS)
"""Element -> 12 + log10(n_X / n_H) of the Sun (Asplund+ 2009)."""

ATOMIC_WEIGHT = MappingProxyType(
    dict(zip(NINE, constants.ATOMIC_WEIGHT, strict=True)) | _OTHER_WEIGHTS
)
"""Element -> standard atomic weight."""

SYMBOLS = tuple(
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn "
    "Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce "
    "Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi "
    "Po".split()
)
"""Chemical symbol of atomic number 1, 2, ..."""


def abundance_names(elements: Iterable[str]) -> tuple[str, ...]:
    """Names of the abundances [X/Fe] and [Fe/H] of these elements, hydrogen left out.

    For the nine default elements they are `constants.ABUNDANCES`.
    """
    return tuple(
        "fe_h" if e == "Fe" else f"{e.lower()}_fe" for e in elements if e != "H"
    )


def in_order(elements: Iterable[str]) -> Elements:
    """The elements in the order of `SIXTEEN`.

    Raises:
        InputError: H, He or Fe is missing, or an element has no solar value here.
    """
    given = set(elements)
    missing = [e for e in NEEDED if e not in given]
    unknown = sorted(given - set(SIXTEEN))
    if missing or unknown:
        got = f"no {missing[0]}" if missing else repr(unknown[0])
        raise InputError(
            f"Expected elements out of {', '.join(SIXTEEN)}, with H, He and Fe among "
            f"them; got {got}."
        )
    return Elements(e for e in SIXTEEN if e in given)
