"""Large numbers of a column: those that stand for "missing", and those that do not."""

import re

import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax.catalog.user_columns import flag
from chemsbi_jax.errors import raise_for_rows

LARGEST = 20.0
"""dex or Gyr; -9999, 99, 999, 1e20 and all else beyond it stand for "missing"."""
LARGEST_MYR = 2e4  # of an age; larger ones are in years

MAX_MARKS = 5
"""A column with more different values beyond `LARGEST` is in another unit."""

FEW = 0.2  # share of a column
TIME = "time"  # any time or its error, for `refuse_large`
NINES = re.compile(r"-?9+(\.9+)?")
"""A number that may mean "missing": 9.99, -9999, 99.9."""
LEAST_INTEGERS = (-(2.0**15), -(2.0**31), -(2.0**63))
"""What integer columns of 2, 4 and 8 bytes hold where a number is missing."""

Numbers = Float[np.ndarray, " star"]


def is_mark(values: np.ndarray, *, is_time: bool) -> Bool[np.ndarray, " star"]:
    """Numbers that stand for "missing" whatever the unit: -9999, 1e20; and 99, 999.

    Args:
        values: numbers as they stand.
        is_time: 99 and 999 may be times in Myr, and count only if negative; else 9.99
            is left to the check of the abundance's range.
    """
    unique, inverse = np.unique(values, return_inverse=True)
    nines = np.array([bool(NINES.fullmatch(f"{x:.7g}")) for x in unique], bool)
    nines &= (unique < -9.0) if is_time else (np.abs(unique) > LARGEST)
    found = nines | ~(np.abs(unique) < 1e19) & ~np.isnan(unique)
    found |= np.isin(unique, LEAST_INTEGERS)
    return found[inverse].reshape(values.shape)


def refuse_large(
    where: tuple[str, np.ndarray, str],
    values: Numbers,
    large: Bool[np.ndarray, " star"],
    key: str,
) -> None:
    """Raise for values that are large, and are not known to mean "missing".

    A negative value counts as "missing" if it repeats: -35.0 in one row is -0.35 with
    a lost decimal point.

    Args:
        where: the file, the ids of its rows and the column, for messages.
        values: dex or Gyr.
        large: rows of the values beyond `LARGEST`.
        key: `TIME`, or our name of the column: an abundance, or e_ with its name.
    """
    n_large, n = len(np.unique(values[large])), int(np.isfinite(values).sum())
    is_error = key.startswith("e_")
    if is_error and (n_large <= MAX_MARKS or large.sum() < FEW * n):
        return  # few errors so large are none
    other = large & ~is_mark(values, is_time=False)
    unlike, counts = np.unique(values[other], return_counts=True)
    other &= ~np.isin(values, unlike[(unlike < 0.0) & (counts > 1)])
    unlike, counts = np.unique(values[other], return_counts=True)
    few = key != TIME and len(unlike) <= MAX_MARKS and (counts > 1).all()
    if n_large <= MAX_MARKS and (few or not other.any()):
        return
    bad = other if other.any() else large
    first = float(values[np.argmax(bad)])
    size = "large" if first > 0.0 else "far below 0"
    remedy = "correct it, or leave the cell empty if it is missing"
    unit = "yr" if np.median(values[bad]) > LARGEST_MYR else "Myr"
    convert = f"convert the column or give its unit, with --age-unit {unit}"
    file, ids, column = where
    problem = (
        f"is too {size} for an abundance [dex]; {remedy}; if the column holds another "
        "quantity, such as a number of lines, leave the abundance out with --without"
    )
    if key == TIME:
        problem = f"is too {size} for a time [Gyr]; {convert if first > 0 else remedy}"
    elif is_error:
        problem = (
            "is too large for an error [dex]; if the column is in percent, convert it "
            f"with {flag(f'{key}={column}*0.00434')}"
        )
    raise_for_rows(file, ids, bad, column, f"{first:g} {problem}.")
