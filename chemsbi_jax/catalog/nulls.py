"""Numbers of a column of abundances that stand for "missing"."""

import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax.catalog.marks import NINES

LEAST_NINES = 9.5  # dex
ENOUGH_VALUES = 10  # different ones, that show where the others lie
Rows = Bool[np.ndarray, " star"]


def is_nines(values: Float[np.ndarray, " star"], rows: Rows) -> Rows:
    """Which of these rows hold 9.99, -9.9 or the like."""
    found = np.zeros(len(values), bool)
    found[rows] = [bool(NINES.fullmatch(f"{x:.7g}")) for x in values[rows]]
    return found


def is_null(values: Float[np.ndarray, " star"]) -> Rows:
    """Which values are 9.99 or its like, and stand in at least three rows."""
    nines = is_nines(values, np.abs(np.nan_to_num(values)) >= 9.0)
    return nines & is_repeated(values, nines)


def is_absolute_null(values: Float[np.ndarray, " star"]) -> Rows:
    """Which A(X) are 9.9, 9.99 or their like; no element but H and He has so much."""
    return is_nines(values, np.abs(np.nan_to_num(values)) > LEAST_NINES)


def is_repeated(values: Float[np.ndarray, " star"], rows: Rows) -> Rows:
    """Rows whose value stands in at least three of these rows."""
    same = np.zeros(len(values), bool)
    for value, n in zip(*np.unique(values[rows], return_counts=True), strict=True):
        if n >= 3:
            same |= rows & (values == value)
    return same


def is_apart(values: Float[np.ndarray, " star"], distance: float) -> Rows:
    """Rows with one value that stands in at least three, far from all other values."""
    unique, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(unique) < ENOUGH_VALUES:
        return np.zeros(len(values), bool)
    to_next = np.diff(unique, prepend=-np.inf, append=np.inf)
    nearest = np.minimum(to_next[:-1], to_next[1:])
    return np.isin(values, unique[(counts >= 3) & (nearest > distance)])
