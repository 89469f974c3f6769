"""Solar scales: what [X/Fe] = 0 means in a table, and the way to our own scale."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import CatalogError
from chemsbi_jax.yields.elements import SOLAR

OURS = "asplund2009"

# 12 + log10(n_X / n_H). Photosphere where a table has more than one column; noble gases
# are the authors' indirect values.
_ORDER = (
    "C", "N", "O", "Ne", "Mg", "Si", "Fe", "He", "Na", "Al", "S", "Ca", "Ti", "Mn", "Ni"
)  # fmt: skip
_OTHERS = {
    # Anders & Grevesse, GeCoA 53, 197; their meteoritic Fe is 7.51
    "anders1989": (8.56, 8.05, 8.93, 8.09, 7.58, 7.55, 7.67, 10.99,
        6.33, 6.47, 7.21, 6.36, 4.99, 5.39, 6.25),
    # Grevesse & Sauval, SSRv 85, 161
    "grevesse1998": (8.52, 7.92, 8.83, 8.08, 7.58, 7.55, 7.50, 10.93,
        6.33, 6.47, 7.33, 6.36, 5.02, 5.39, 6.25),
    # Lodders, ApJ 591, 1220, recommended for the photosphere
    "lodders2003": (8.39, 7.83, 8.69, 7.87, 7.55, 7.54, 7.47, 10.899,
        6.30, 6.46, 7.19, 6.34, 4.92, 5.50, 6.22),
    # Asplund, Grevesse & Sauval, ASPC 336, 25
    "asplund2005": (8.39, 7.78, 8.66, 7.84, 7.53, 7.51, 7.45, 10.93,
        6.17, 6.37, 7.14, 6.31, 4.90, 5.39, 6.23),
    # Grevesse, Asplund & Sauval, SSRv 130, 105
    "grevesse2007": (8.39, 7.78, 8.66, 7.84, 7.53, 7.51, 7.45, 10.93,
        6.17, 6.37, 7.14, 6.31, 4.90, 5.39, 6.23),
    # Asplund, Amarsi & Grevesse, A&A 653, A141
    "asplund2021": (8.46, 7.83, 8.69, 8.06, 7.55, 7.51, 7.46, 10.914,
        6.22, 6.43, 7.12, 6.30, 4.97, 5.42, 6.20),
}  # fmt: skip
SCALES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {OURS: SOLAR}
    | {
        name: MappingProxyType(dict(zip(_ORDER, values, strict=True)))
        for name, values in _OTHERS.items()
    }
)
"""Name -> element -> 12 + log10(n_X / n_H)."""


def solar_shift(
    name: str, abundances: Sequence[str] = ABUNDANCES
) -> Float[np.ndarray, " element"]:
    """What to add to [Fe/H] and [X/Fe] of the scale `name` to have them on ours [dex].

    [X/H] is A(X) of the star minus A(X) of the Sun, so [X/Fe] moves by
    (A_X - A_Fe) of the Sun there minus (A_X - A_Fe) here, and [Fe/H] by A_Fe there
    minus A_Fe here.

    Args:
        name: a key of `SCALES`.
        abundances: names in the order of the result.

    Raises:
        CatalogError: there is no scale of this name.

    >>> solar_shift("grevesse2007", ("fe_h",)).round(2).tolist()
    [-0.05]
    """
    if name not in SCALES:
        raise CatalogError(
            f"Expected a solar scale of {', '.join(SCALES)}; got {name!r}."
        )
    theirs, ours = SCALES[name], SCALES[OURS]
    fe = theirs["Fe"] - ours["Fe"]
    shifts = []
    for abundance in abundances:
        over = abundance.split("_")[0].capitalize()
        shifts.append(fe if abundance == "fe_h" else theirs[over] - ours[over] - fe)
    return np.array(shifts)
