"""Medians of abundances that no galaxy has: ratios of numbers, or no logarithms."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from chemsbi_jax.catalog.user_columns import SUN, flag, label

ENOUGH = 5  # numbers that make a distribution
LEAST_MEDIAN = -3.5  # dex, of [X/H] of the stars of a galaxy
LOW, BELOW_IRON = -2.0, 1.5  # dex, of a median [X/H], and from the median [Fe/H] to it
MOST_MEDIAN = 0.8  # dex, of [X/Fe]
# galaxies of the model with alpha_imf = -1.4 and log10_n_ia = -3.5 have 0.99
MOST_OF_NEON = 1.1  # dex


def doubt_zero_point(
    key: str, original: str, values: Float[np.ndarray, " star"]
) -> tuple[str, ...]:
    """A median that no galaxy has: ratios of numbers, or no logarithms."""
    known = values[np.isfinite(values)]
    middle = float(np.median(known)) if len(known) >= ENOUGH else 0.0
    over, _, under = key.partition("_")
    if under == "h" and middle < LEAST_MEDIAN:
        remedy = flag(f"{key}={original}+{12.0 - SUN[over]:.2f}")
    elif under == "fe" and middle > (MOST_OF_NEON if over == "ne" else MOST_MEDIAN):
        shift = SUN[over] - SUN["fe"]
        remedy = flag(f"{key}={original}{-shift:+.2f}")
        remedy += f"; if it is no logarithm: {flag(f'{key}=log10({original})')}"
    else:
        return ()
    return (
        f"The median of {original} is {middle:.2f} dex, which few stars have as "
        f"{label(key)}. If it is log10 of the ratio of numbers: {remedy}.",
    )


def doubt_below_iron(
    columns: Mapping[str, str],
    present: Mapping[str, str],
    values: Float[np.ndarray, "star element"],
    abundances: Sequence[str],
) -> list[str]:
    """Warnings of [X/H] far below [Fe/H]: log10(n_X / n_H) of O is -3.3 for the Sun.

    Args:
        columns: our name -> column of the table.
        present: abundance -> our key that it was read from.
        values: [Fe/H] and [X/Fe] [dex].
        abundances: names of the columns of `values`.
    """
    if "fe_h" not in present:
        return []
    iron, warnings = values[:, abundances.index("fe_h")], []
    for name, key in present.items():
        over_h = values[:, abundances.index(name)] + iron
        known = over_h[np.isfinite(over_h)]
        if key == name or len(known) < ENOUGH:
            continue
        middle = float(np.median(known))
        below = float(np.median(iron[np.isfinite(over_h)])) - middle
        if LEAST_MEDIAN <= middle < LOW and below > BELOW_IRON:
            shift = 12.0 - SUN[key.split("_")[0]]
            remedy = flag(f"{key}={columns[key]}{shift:+.2f}")
            warnings.append(
                f"The median of {columns[key]} is {middle:.2f} dex, {below:.2f} dex "
                "below that of [Fe/H]. If it is log10 of the ratio of numbers, and "
                f"not {label(key)}: {remedy}."
            )
    return warnings
