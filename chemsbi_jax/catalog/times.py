"""When the stars were born, from birth times or ages."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.columns import AUTO, TIMES, StarTable, numbers
from chemsbi_jax.catalog.error_words import refuse_by_name
from chemsbi_jax.catalog.meaning import ERROR, meaning_of
from chemsbi_jax.catalog.time_checks import check_times
from chemsbi_jax.catalog.time_names import unit_in_name
from chemsbi_jax.catalog.values import refuse_not_positive
from chemsbi_jax.constants import T_END
from chemsbi_jax.errors import raise_for_rows

MAX_SIGMA = 5.0  # of a time from the range in which a star can be born


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
    name = next((name for name in ("birth_time", "age") if source.has(name)), None)
    unknown = np.full(len(source.ids), np.nan)
    if name is None:
        return Times(unknown, unknown, (), ())
    column, notes = source.columns[name], []
    unit, said = _unit_of(source, name, age_unit)
    notes += said
    times, sigma = numbers(source, name, _units(unit)), unknown
    if source.has(f"e_{name}"):
        refuse_by_name(source, name, column)
        unit, said = _unit_of(source, f"e_{name}", age_unit, unit)
        notes += said
        sigma = numbers(source, f"e_{name}", _units(unit))
        if source.is_survey:
            sigma = np.where(sigma > 0, sigma, np.nan)
        e_column = source.columns[f"e_{name}"]
        refuse_not_positive(source, e_column, sigma, np.isfinite(times))
    beyond = np.maximum(-times, times - T_END)  # Gyr out of the range
    bad = np.isfinite(times) & (beyond > MAX_SIGMA * np.nan_to_num(sigma))
    if source.is_survey and bad.any():
        notes.append(
            f"{column}: {bad.sum()} values are beyond 0 to {T_END:.1f} Gyr, and taken "
            "as not known."
        )
        times = np.where(bad, np.nan, times)
    elif bad.any():
        raise_for_rows(
            source.name, source.ids, bad, column,
            f"{times[np.argmax(bad)]:g} Gyr is no {name.replace('_', ' ')} between 0 "
            f"and {T_END:.1f} Gyr; correct it, or leave the cell empty if it is not "
            "known.",
        )  # fmt: skip
    sigma = np.where(np.isfinite(times), sigma, np.nan)
    warnings = check_times(source, name, times, sigma) + _warn_unused(
        source, name, times, sigma
    )
    if name == "birth_time":
        return Times(times, sigma, tuple(notes), warnings)
    n = int(np.isfinite(times).sum())
    notes.append(f"Birth times are {T_END:.2f} Gyr - {column} ({n} stars).")
    return Times(T_END - times, sigma, tuple(notes), warnings)


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
    like = [
        column
        for column in source.table.colnames
        if (meaning := meaning_of(column))
        and (meaning.quantity, meaning.role) == (name, ERROR)
        and column != source.columns.get(f"e_{name}")
    ]
    hint = f" ({', '.join(like)} looks like it)" if like else ""
    return (
        f"{unused} values of {source.columns[name]} have no error, and are not used: "
        f"name the column of the errors{hint} with --columns e_{name}=...",
    )
