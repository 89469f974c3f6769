"""When the stars were born, from birth times or ages."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.columns import (
    AUTO,
    TIMES,
    StarTable,
    count_large,
    limit_cells,
    numbers,
)
from chemsbi_jax.catalog.error_words import refuse_by_name
from chemsbi_jax.catalog.meaning import ERROR, LOWER, UPPER, meaning_of
from chemsbi_jax.catalog.nulls import is_repeated
from chemsbi_jax.catalog.pairs import flags_of_pair
from chemsbi_jax.catalog.time_checks import beyond_range, check_times
from chemsbi_jax.catalog.time_names import unit_in_name
from chemsbi_jax.catalog.user_columns import flag
from chemsbi_jax.catalog.value_errors import refuse_not_positive
from chemsbi_jax.constants import T_END
from chemsbi_jax.errors import counted, raise_for_rows

MAX_SIGMA = 5.0  # of a time from the range in which a star can be born
_LEAST, _MOST = ("min", "minimum"), ("max", "maximum")  # words of a range
MOST_APART = 0.5  # Gyr, of the sum of age and birth time from the present
Numbers = Float[np.ndarray, " star"]


class Times(NamedTuple):
    """When the stars were born."""

    birth_time: Float[np.ndarray, " star"]  # Gyr since the Big Bang; NaN if unknown
    e_birth_time: Float[np.ndarray, " star"]  # Gyr, 1 sigma; NaN if unknown
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def read_birth_times(source: StarTable, age_unit: str = AUTO) -> Times:
    """Birth times and errors; from ages if need be.

    Args:
        source: table with its columns.
        age_unit: of columns without a unit: Gyr, Myr or yr; "auto" is Gyr.

    Raises:
        CatalogError: a time that no star has; a survey's is taken as not known.
    """
    unknown = np.full(len(source.ids), np.nan)
    there = [name for name in ("birth_time", "age") if source.has(name)]
    if not there:
        return Times(unknown, unknown, (), ())
    name, doubts = there[0], ()
    if len(there) == 2:
        # a birth time without an error would not be used
        has_errors = source.has("e_birth_time") or not source.has("e_age")
        name = "birth_time" if has_errors else "age"
        doubts = _compare(source, name, age_unit)
    column = source.columns[name]
    times, sigma, notes = _read(source, name, age_unit)
    sigma = np.where(np.isfinite(times), sigma, np.nan)
    found = source, name, times, sigma
    warnings = (*doubts, *check_times(*found), *_warn_unused(*found))
    if not source.is_own(column):
        note, doubt = beyond_range(*found)
        notes, warnings = [*notes, *note], (*warnings, *doubt)
    if name == "birth_time":
        return Times(times, sigma, tuple(notes), warnings)
    n = int(np.isfinite(sigma).sum())
    if n:
        text = f"Birth times are {T_END:.2f} Gyr - {column} ({n} rows with an error)."
        notes.append(text)
    return Times(T_END - times, sigma, tuple(notes), warnings)


def _read(
    source: StarTable, name: str, age_unit: str
) -> tuple[Numbers, Numbers, list[str]]:
    """Times and errors [Gyr] of a column, without those that no star has; notes."""
    column = source.columns[name]
    unit, notes = _unit_of(source, name, age_unit)
    times, sigma = numbers(source, name, _units(unit)), np.full(len(source.ids), np.nan)
    times, said = _without_marks(source, name, times)
    notes += said
    n_large = count_large(source, name, _units(unit))
    if n_large:
        large = counted(n_large, "value")
        notes.append(f"{column}: {large} beyond 20 Gyr taken as not known.")
    if source.has(f"e_{name}"):
        refuse_by_name(source, name, column)
        unit, said = _unit_of(source, f"e_{name}", age_unit, unit)
        notes += said
        sigma = numbers(source, f"e_{name}", _units(unit))
        e_column = source.columns[f"e_{name}"]
        if source.is_own(e_column):
            sigma = np.where(sigma > 0, sigma, np.nan)
        empty = f"{column} or {e_column}"
        refuse_not_positive(source, e_column, sigma, np.isfinite(times), empty)
    beyond = np.maximum(-times, times - T_END)  # Gyr out of the range
    bad = np.isfinite(times) & (beyond > MAX_SIGMA * np.nan_to_num(sigma))
    if source.is_own(column) and bad.any():
        outside = f"{counted(int(bad.sum()), 'value')} outside 0 to {T_END:.1f} Gyr"
        notes.append(f"{column}: {outside} taken as missing.")
        times = np.where(bad, np.nan, times)
    elif bad.any():
        raise_for_rows(
            source.name, source.ids, bad, column,
            f"{times[np.argmax(bad)]:g} Gyr is no {name.replace('_', ' ')} between 0 "
            f"and {T_END:.1f} Gyr; correct it, or leave the cell empty if it is not "
            "known.",
        )  # fmt: skip
    return times, sigma, notes


def _without_marks(
    source: StarTable, name: str, times: Numbers
) -> tuple[Numbers, list[str]]:
    """Times without repeated negative values, and notes of these and of limits."""
    column, notes = source.columns[name], []
    n_limits = int(limit_cells(source, name).sum())
    if n_limits:
        notes.append(f"{column}: {counted(n_limits, 'limit')} taken as not known.")
    nulls = is_repeated(times, times < 0.0) & (not source.is_own(column))
    if nulls.any():
        notes.append(
            f"{column}: {nulls.sum()} negative values that repeat were taken as "
            "missing."
        )
    return np.where(nulls, np.nan, times), notes


def _compare(source: StarTable, name: str, age_unit: str) -> tuple[str, ...]:
    """A warning where a table's birth times and ages do not add up to the present."""
    of_birth, ages = (_read(source, key, age_unit)[0] for key in ("birth_time", "age"))
    both = np.isfinite(of_birth) & np.isfinite(ages)
    birth_time, age = source.columns["birth_time"], source.columns["age"]
    middle = float(np.median((of_birth + ages)[both])) if both.any() else T_END
    if abs(middle - T_END) < MOST_APART:
        return ()
    key = "age" if name == "birth_time" else "birth_time"
    return (
        f"{birth_time} and {age} contradict each other: their sum is {middle:.2f} Gyr "
        f"in the median, and not {T_END:.2f} Gyr. {source.columns[name]} was read; for "
        f"the other column: {flag(f'{key}={source.columns[key]}')}.",
    )


def _units(unit: str) -> dict[str, float]:
    """`TIMES`, with the unit of columns that have none."""
    return TIMES | {"": TIMES[unit.lower()]}


def _unit_of(
    source: StarTable, key: str, asked: str, of_value: str = "Gyr"
) -> tuple[str, list[str]]:
    """Unit of a column that has none: as asked, by its name, or that of its value."""
    column = source.columns[key]
    if asked != AUTO:
        return asked, []
    unit = "" if key in source.made else unit_in_name(column)
    if not unit:
        return of_value, []
    has_own = column_of(source.table, column).unit not in (None, "")
    is_new = unit != "Gyr" and not has_own
    return unit, [f"{column} was taken in {unit}, by its name."] if is_new else []


def _warn_unused(
    source: StarTable,
    name: str,
    times: Float[np.ndarray, " star"],
    sigma: Float[np.ndarray, " star"],
) -> tuple[str, ...]:
    unused = int((np.isfinite(times) & ~np.isfinite(sigma)).sum())
    if not unused:
        return ()
    column = source.columns[name]
    have, are = ("has", "is") if unused == 1 else ("have", "are")
    of = f"{counted(unused, 'value')} of {column}"
    text = f"{of} {have} no error, and {are} not used: "
    if source.has(f"e_{name}"):
        row = int(np.argmax(np.isfinite(times) & ~np.isfinite(sigma)))
        where = f"row {row + 1} (id {str(source.ids[row])!r}) is the first"
        return (f"{text}fill {source.columns[f'e_{name}']} there ({where}).",)
    return (text + _how_to_name_errors(source.table.colnames, name),)


def _how_to_name_errors(columns: Sequence[str], name: str) -> str:
    """What to do about a time without errors, with the columns that look like these."""
    meanings = {column: meaning_of(column) for column in columns}
    known = {c: m for c, m in meanings.items() if m and m.quantity == name}
    low = [c for c, m in known.items() if m.role == LOWER or m.qualifier in _LEAST]
    high = [c for c, m in known.items() if m.role == UPPER or m.qualifier in _MOST]
    if len(low) == len(high) == 1:
        remedy = flags_of_pair(f"e_{name}", (low[0], high[0]))
        return f"{low[0]} and {high[0]} may hold the errors. {remedy}"
    like = [*(c for c, m in known.items() if m.role == ERROR), *low, *high]
    hint = f" ({', '.join(like)} may hold them)" if like else ""
    return f"name the column of the errors{hint} with --columns e_{name}=..."
