"""Solar scales: what [X/Fe] = 0 means in a table, and the way to our own scale."""

from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from chemsbi_jax.constants import ABUNDANCES, ELEMENTS, SOLAR
from chemsbi_jax.errors import CatalogError

OURS = "asplund2009"

# 12 + log10(n_X / n_H). Photosphere where a table has more than one column; noble gases
# are the authors' indirect values.
_ORDER = ("C", "N", "O", "Ne", "Mg", "Si", "Fe", "He")
_OTHERS = {
    # Anders & Grevesse, GeCoA 53, 197; their meteoritic Fe is 7.51
    "anders1989": (8.56, 8.05, 8.93, 8.09, 7.58, 7.55, 7.67, 10.99),
    # Grevesse & Sauval, SSRv 85, 161
    "grevesse1998": (8.52, 7.92, 8.83, 8.08, 7.58, 7.55, 7.50, 10.93),
    # Lodders, ApJ 591, 1220, recommended for the photosphere
    "lodders2003": (8.39, 7.83, 8.69, 7.87, 7.55, 7.54, 7.47, 10.899),
    # Asplund, Grevesse & Sauval, ASPC 336, 25
    "asplund2005": (8.39, 7.78, 8.66, 7.84, 7.53, 7.51, 7.45, 10.93),
    # Grevesse, Asplund & Sauval, SSRv 130, 105
    "grevesse2007": (8.39, 7.78, 8.66, 7.84, 7.53, 7.51, 7.45, 10.93),
    # Asplund, Amarsi & Grevesse, A&A 653, A141
    "asplund2021": (8.46, 7.83, 8.69, 8.06, 7.55, 7.51, 7.46, 10.914),
}
SCALES = MappingProxyType(
    {OURS: MappingProxyType(dict(zip(ELEMENTS, SOLAR, strict=True)))}
    | {
        name: MappingProxyType(dict(zip(_ORDER, values, strict=True)))
        for name, values in _OTHERS.items()
    }
)
"""Name -> element -> 12 + log10(n_X / n_H)."""


def solar_shift(name: str) -> Float[np.ndarray, " element"]:
    """What to add to [Fe/H] and [X/Fe] of the scale `name` to have them on ours [dex].

    [X/H] is A(X) of the star minus A(X) of the Sun, so [X/Fe] moves by
    (A_X - A_Fe) of the Sun there minus (A_X - A_Fe) here, and [Fe/H] by A_Fe there
    minus A_Fe here. In the order of `ABUNDANCES`.

    Raises:
        CatalogError: there is no scale of this name.
    """
    if name not in SCALES:
        raise CatalogError(
            f"Expected a solar scale of {', '.join(SCALES)}; got {name!r}."
        )
    theirs, ours = SCALES[name], SCALES[OURS]
    fe = theirs["Fe"] - ours["Fe"]
    shifts = []
    for abundance in ABUNDANCES:
        over = abundance.split("_")[0].capitalize()
        shifts.append(fe if abundance == "fe_h" else theirs[over] - ours[over] - fe)
    return np.array(shifts)
