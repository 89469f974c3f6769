"""Medians of abundances that no galaxy has: ratios of numbers, or no logarithms."""

import numpy as np
from jaxtyping import Float

from chemsbi_jax.catalog.user_columns import SUN, flag, label

ENOUGH = 5  # numbers that make a distribution
LEAST_MEDIAN = -3.5  # dex, of [X/H] of the stars of a galaxy
MOST_MEDIAN = 0.8  # dex, of [X/Fe]


def doubt_zero_point(
    key: str, original: str, values: Float[np.ndarray, " star"]
) -> tuple[str, ...]:
    """A median that no galaxy has: ratios of numbers, or no logarithms."""
    known = values[np.isfinite(values)]
    middle = float(np.median(known)) if len(known) >= ENOUGH else 0.0
    over, _, under = key.partition("_")
    if under == "h" and middle < LEAST_MEDIAN:
        remedy = flag(f"{key}={original}+{12.0 - SUN[over]:.2f}")
    elif under == "fe" and middle > MOST_MEDIAN:
        shift = SUN[over] - SUN["fe"]
        remedy = flag(f"{key}={original}{-shift:+.2f}")
        remedy += f"; if it is no logarithm: {flag(f'{key}=log10({original})')}"
    else:
        return ()
    return (
        f"The median of {original} is {middle:.2f} dex, which few stars have as "
        f"{label(key)}. If it is log10 of the ratio of numbers: {remedy}.",
    )
