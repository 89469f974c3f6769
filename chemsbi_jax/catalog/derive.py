"""Columns made from other columns: conversions, and errors from two columns."""

import re
from collections.abc import Callable, Iterable

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Float

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.column_names import Choice
from chemsbi_jax.catalog.columns import AUTO, StarTable, is_mark, plain_numbers
from chemsbi_jax.catalog.error_columns import Source
from chemsbi_jax.catalog.expressions import Expression
from chemsbi_jax.catalog.plausible import is_null
from chemsbi_jax.errors import CatalogError

COSMIC_TIME = re.compile(r"cosmic_time\([^()]*\)")  # alone: it gives Gyr

Numbers = Float[np.ndarray, " star"]
# magnitudes of an age by its unit; the ranges do not overlap
UNITS_OF_AGES = ((20.0, 2e4, "Myr"), (2e7, 2e10, "yr"))


def merge_case_pairs(table: Table) -> list[str]:
    """VizieR's pairs that differ in case, as one column of errors in place; notes.

    E_x and e_x are the upper and lower error, B_x and b_x the bounds of a value.
    """
    return [
        *_merge(table, "E_", lambda upper, lower: 0.5 * (abs(upper) + abs(lower)),
                "Upper and lower errors ({}): their mean was taken."),
        *_merge(table, "B_", lambda upper, lower: 0.5 * abs(upper - lower),
                "Bounds ({}): half their distance was taken as the error."),
    ]  # fmt: skip


def _merge(
    table: Table, mark: str, to_error: Callable[[Numbers, Numbers], Numbers], text: str
) -> list[str]:
    names = [
        name[2:] for name in table.colnames
        if name.startswith(mark) and f"{mark.lower()}{name[2:]}" in table.colnames
    ]  # fmt: skip
    listed = []
    for name in names:
        both = f"{mark}{name}", f"{mark.lower()}{name}"
        if not _has_numbers(table, both) or _is_taken(table, mark, name):
            continue
        upper, lower = (_numbers(table, x) for x in both)
        unit = column_of(table, both[0]).unit
        table.replace_column(both[1], Column(to_error(upper, lower), unit=unit))
        table.remove_column(both[0])
        if mark == "B_":
            table.rename_column(both[1], f"e_{name}")
        listed.append(", ".join(both))
    return [text.format(", ".join(listed))] if listed else []


def _is_taken(table: Table, mark: str, name: str) -> bool:
    """Whether bounds have no value, or the value has an error already."""
    is_plain = name in table.colnames and f"e_{name}" not in table.colnames
    return mark == "B_" and not is_plain


def _has_numbers(table: Table, names: Iterable[str]) -> bool:
    for name in names:
        try:
            _numbers(table, name)
        except CatalogError:  # words: another kind of column
            return False
    return True


def _numbers(table: Table, name: str) -> Numbers:
    """Numbers of a column as they stand, NaN where they mean "missing"."""
    ids = np.arange(len(table)).astype(str)
    values = plain_numbers(StarTable("", table, {"": name}, ids), "")
    return np.where(is_mark(values, is_time=False), np.nan, values)


def derive(
    source: StarTable, choice: Choice, age_unit: str = AUTO
) -> tuple[StarTable, list[str]]:
    """The table with all columns that must be made; and notes.

    Args:
        source: the table as it was read.
        choice: its columns, conversions and error pairs.
        age_unit: of ages and birth times; "auto" is inferred from the size of a power
            of ten. Results of `cosmic_time` are in Gyr.
    """
    columns, table, notes = dict(source.columns), source.table.copy(False), []
    for key, conversion in choice.conversions.items():
        values = {c: _raw(source, c, key) for c in conversion.columns}
        result = conversion.evaluate(values) + np.zeros(len(source.ids))
        unit, note = age_unit, ""
        if COSMIC_TIME.fullmatch(conversion.text):
            unit = "Gyr"  # that of the function, whatever --age-unit is
        elif age_unit == AUTO or key not in ("age", "birth_time"):
            unit, note = _unit_of_time(key, conversion, result)
        notes += [note] if note else []
        columns[key] = _add(table, conversion.text, result, unit)
        partners = choice.errors_of.get(key)
        if partners:
            errors = {c: _error(source, c, partners[c], key)[0] for c in partners}
            name = f"error of {conversion.text}"
            sigma = conversion.error(values, errors)
            columns[f"e_{key}"] = _add(table, name, sigma, unit)
            listed = ", ".join(" and ".join(p) for p in partners.values())
            notes.append(f"e_{key} was propagated from {listed}.")
    for key, pair in choice.pairs.items():
        value = columns.get(key.removeprefix("e_"))
        sigma, how = _error(source, value, pair, key)
        columns[key] = _add(table, " and ".join(pair), sigma, None)
        notes.append(f"{key} is {how} {' and '.join(pair)}.")
    made = frozenset(choice.conversions)
    return source._replace(columns=columns, table=table, made=made), notes


def _add(table: Table, name: str, values: Numbers, unit: str | None) -> str:
    table[name] = Column(values, unit=unit)
    return name


def _raw(source: StarTable, column: str, key: str) -> Numbers:
    """Numbers of a column as they stand, NaN where they mean "missing"."""
    found = StarTable(source.name, source.table, {"": column}, source.ids)
    values = plain_numbers(found, "")
    if not key.endswith(("age", "time")):  # A(O) = 9.99 would be [O/H] = 1.3
        values = np.where(is_null(values), np.nan, values)
    return np.where(
        is_mark(values, is_time=key.endswith(("age", "time"))), np.nan, values
    )


def _error(
    source: StarTable, column: str | None, partner: Source, key: str
) -> tuple[Numbers, str]:
    """1 sigma from one column, or from a lower and an upper one; and how."""
    if len(partner) == 1:
        return _raw(source, partner[0], key), ""
    low, high = (_raw(source, c, key) for c in partner)
    mean = 0.5 * (np.abs(low) + np.abs(high))
    if column is None:
        return mean, "the mean of"
    value = _raw(source, column, key)
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(value)
    brackets = (low <= value + 1e-6) & (value <= high + 1e-6)
    if known.any() and brackets[known].mean() > 0.9:  # percentiles
        return 0.5 * (high - low), "half the distance of"
    return mean, "the mean of"


def _unit_of_time(
    key: str, conversion: Expression, values: Numbers
) -> tuple[str | None, str]:
    """Unit of a power of ten, inferred from its size."""
    if key not in ("age", "birth_time") or "10**" not in conversion.text:
        return None, ""
    known = values[np.isfinite(values)]
    middle = float(np.median(known)) if len(known) else 0.0
    unit = next((u for low, high, u in UNITS_OF_AGES if low <= middle <= high), "Gyr")
    return unit, f"{conversion.text} was taken in {unit}, inferred from its size."
