"""Errors from two columns: a lower and an upper error, or the bounds of the value."""

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax.catalog.columns import (
    AUTO,
    DEX,
    TIMES,
    StarTable,
    plain_numbers,
    unit_of,
)
from chemsbi_jax.catalog.marks import is_mark
from chemsbi_jax.catalog.meaning import ABSOLUTE, meaning_of
from chemsbi_jax.catalog.nulls import is_absolute_null, is_null
from chemsbi_jax.catalog.time_names import unit_in_name
from chemsbi_jax.catalog.units import factor_of
from chemsbi_jax.catalog.user_columns import flag
from chemsbi_jax.errors import CatalogError

Numbers = Float[np.ndarray, " star"]
PERCENTILES = re.compile(r"(?<![\d.])(16|84)(th)?(?![\d.])")  # X_16, X_p84, X_q16
ERROR_WORDS = re.compile(r"err|sigma|unc|std|(^|[^a-z])(e|em|ep|plus|minus)([^a-z]|$)")
BOUNDS, ERRORS = "bounds", "errors"
MOST_INSIDE = 0.9  # share of values between their bounds that settles the question
INSIDE = 0.5
NEAR, RATHER_NEAR = 0.25, 0.5  # median distance from the middle over the median |value|
NARROW = 0.7  # scatter of that distance over the scatter of the values
MOST_OFF = 2.5  # widths of the bounds, of the value from their middle, in the median
TOLERANCE = 1e-6  # dex or a unit of time, of rounded numbers
LEAST_ABSOLUTE = 3.0  # dex, of the median of A(X)


class PairError(NamedTuple):
    """1 sigma of a value from two columns."""

    sigma: Numbers
    unit: str  # as the table has it; "" if it has none
    how: str  # "the mean of", or "half the distance of"


def is_time(key: str) -> bool:
    """Whether our name is one of an age or birth time, or of its error."""
    return key.endswith(("age", "time"))


def raw_numbers(source: StarTable, column: str, key: str) -> Numbers:
    """Numbers of a column as they stand, NaN where they mean "missing"."""
    values = plain_numbers(source._replace(columns={"": column}), "")
    missing = is_mark(values, is_time=is_time(key)) | null_rows(values, column, key)
    return np.where(missing, np.nan, values)


def null_rows(values: Numbers, column: str, key: str) -> Bool[np.ndarray, " star"]:
    """Rows of 9.99 and its like, which a conversion would turn into an abundance.

    A(O) = 9.99 would be [O/H] = 1.3, so in a column of A(X) one row is enough.
    """
    if is_time(key):
        return np.zeros(len(values), bool)
    meaning, known = meaning_of(column), values[np.isfinite(values)]
    is_named = meaning is not None and meaning.quantity.startswith(f"{ABSOLUTE}_")
    is_high = len(known) > 0 and float(np.median(known)) > LEAST_ABSOLUTE
    if is_named or (key.endswith("_h") and is_high):
        return is_absolute_null(values)
    return is_null(values)


def pair_error(
    source: StarTable, key: str, value: str, pair: tuple[str, str], age_unit: str
) -> PairError:
    """The error of a value from a lower and an upper column, in the unit of these.

    Args:
        source: the table as it was read.
        key: our name of the error.
        value: column of the value.
        pair: lower and upper column.
        age_unit: of times without a unit.

    Raises:
        CatalogError: units that differ or are not understood; or numbers that are
            neither errors nor bounds of the value.
    """
    units = [unit_of(source.table, column) for column in pair]
    low_factor, high_factor, factor = (
        _factor(source, column, key, value, age_unit) for column in (*pair, value)
    )
    if low_factor != high_factor and not all(units):
        raise CatalogError(
            f"{source.name}: of columns {pair[0]!r} and {pair[1]!r}, one has the unit "
            f"{units[0] or units[1]} and the other none; give both their unit."
        )
    low, high, middle = (raw_numbers(source, c, key) for c in (*pair, value))
    high, middle = high * (high_factor / low_factor), middle * (factor / low_factor)
    sigma, how = half_width(source.name, key, value, pair, (low, middle, high))
    return PairError(sigma, units[0] or units[1], how)


def _factor(
    source: StarTable, column: str, key: str, value: str, age_unit: str
) -> float:
    """From the numbers of a column to dex or Gyr."""
    units = DEX
    if is_time(key):
        named = unit_in_name(column) or unit_in_name(value) or "Gyr"
        units = TIMES | {"": TIMES[(named if age_unit == AUTO else age_unit).lower()]}
    unit = unit_of(source.table, column)
    of = (key.removeprefix("e_"), "") if column == value else (key, value)
    return factor_of(source.name, column, unit, units, source.is_own(column), of)


def half_width(
    file: str,
    key: str,
    value: str,
    pair: tuple[str, str],
    numbers: tuple[Numbers, Numbers, Numbers],
) -> tuple[Numbers, str]:
    """1 sigma from lower and upper numbers: half their distance, or their mean.

    Args:
        file: its name, for messages.
        key: our name of the error.
        value: column of the value.
        pair: lower and upper column.
        numbers: of the lower column, of the value, and of the upper column.

    Raises:
        CatalogError: the numbers fit neither bounds nor errors.
    """
    low, middle, high = numbers
    known = np.isfinite(low) & np.isfinite(middle) & np.isfinite(high)
    distance, mean = 0.5 * (high - low), 0.5 * (np.abs(low) + np.abs(high))
    if not known.any():
        return mean, "the mean of"
    found = _kind_of(low[known], middle[known], high[known], _name_of(pair))
    if found == BOUNDS:
        return distance, "half the distance of"
    if found == ERRORS:
        return mean, "the mean of"
    remedy = (
        "Rename the columns, to end in _16 and _84 for bounds, or in _err_low and "
        "_err_up for errors."
    )
    if key.startswith("e_"):
        remedy = flags_of_pair(key, pair)
    raise CatalogError(
        f"{file}: the numbers in {pair[0]!r} and {pair[1]!r} fit neither bounds of "
        f"{value!r} nor its lower and upper errors: in {_outside(low, middle, high)} "
        f"the value is not between them. {remedy}"
    )


def flags_of_pair(key: str, pair: tuple[str, str]) -> str:
    """The flags that read two columns as bounds or as errors, in a sentence."""
    as_bounds = flag(f"{key}=0.5*({pair[1]}-{pair[0]})")
    as_errors = flag(f"{key}=0.5*({pair[0]}+{pair[1]})")
    return f"If they are bounds: {as_bounds}; if positive errors: {as_errors}."


def _outside(low: Numbers, middle: Numbers, high: Numbers) -> str:
    """How many rows have the value outside of its bounds, of how many."""
    known = np.isfinite(low) & np.isfinite(middle) & np.isfinite(high)
    inside = _is_inside(low, middle, high)
    return f"{int((known & ~inside).sum())} of {int(known.sum())} rows"


def _name_of(pair: tuple[str, str]) -> str:
    """What a pair is by its names: `BOUNDS`, `ERRORS`, or "" (either)."""
    names = [column.strip().lower() for column in pair]
    if any(ERROR_WORDS.search(name) for name in names):
        return ERRORS
    return BOUNDS if all(PERCENTILES.search(name) for name in names) else ""


def _is_inside(low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (low <= middle + TOLERANCE) & (middle <= high + TOLERANCE)


def _kind_of(low: np.ndarray, middle: np.ndarray, high: np.ndarray, name: str) -> str:
    """`BOUNDS`, `ERRORS` or "" (neither), of rows in which all three are known.

    A value may lie outside of its percentiles, if it is a mode or of a best fit.
    """
    inside = float(_is_inside(low, middle, high).mean())
    middle_off = middle - 0.5 * (low + high)
    off, width = (float(np.median(np.abs(x))) for x in (middle_off, high - low))
    are_bounds = bool((low <= high + TOLERANCE).all()) and off <= MOST_OFF * width
    if name == BOUNDS:
        return BOUNDS if are_bounds else ""
    has_one_sign = all((x >= 0.0).all() or (x <= 0.0).all() for x in (low, high))
    if has_one_sign and (low <= 0.0).all() and (high >= 0.0).all():
        return ERRORS  # bounds around 0 have the same half width
    if are_bounds and inside > MOST_INSIDE:
        return BOUNDS
    if has_one_sign and name == ERRORS:
        return ERRORS
    size, spread = float(np.median(np.abs(middle))), float(np.std(middle))
    is_near = off < NEAR * size
    is_near |= off < RATHER_NEAR * size and np.std(middle_off) < NARROW * spread
    if are_bounds and is_near:
        return BOUNDS if inside > 0.0 else ""
    if has_one_sign:
        return ERRORS if inside < INSIDE else ""
    return BOUNDS if are_bounds and inside >= INSIDE else ""
