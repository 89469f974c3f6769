"""Columns made from other columns: conversions, and errors from two columns."""

from collections.abc import Callable, Iterable

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Float

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.column_names import Choice
from chemsbi_jax.catalog.columns import AUTO, StarTable, unit_of
from chemsbi_jax.catalog.conversions import convert
from chemsbi_jax.catalog.meaning import meaning_of
from chemsbi_jax.catalog.pairs import pair_error, raw_numbers
from chemsbi_jax.errors import CatalogError

Numbers = Float[np.ndarray, " star"]


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
        if len({unit_of(table, x) for x in both}) > 1:  # refused as alike but for case
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
    meaning = meaning_of(name)
    quantity = meaning.quantity if meaning else ""
    return raw_numbers(StarTable("", table, {}, ids), name, quantity)


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
    parts: dict[str, tuple[str, ...]] = {**choice.pairs}
    for key, conversion in choice.conversions.items():
        partners = choice.errors_of.get(key)
        made = convert(source, key, conversion, partners, age_unit)
        columns[key] = _add(table, conversion.text, made.values, made.unit)
        parts[key] = conversion.columns
        if partners and made.errors is not None:
            parts[f"e_{key}"] = tuple(c for each in partners.values() for c in each)
            name = f"error of {conversion.text}"
            columns[f"e_{key}"] = _add(table, name, made.errors, made.unit)
        notes += made.notes
    for key, pair in choice.pairs.items():
        value = columns[key.removeprefix("e_")]
        sigma, unit, how = pair_error(source, key, value, pair, age_unit)
        columns[key] = _add(table, " and ".join(pair), sigma, unit or None)
        notes.append(f"{key} is {how} {' and '.join(pair)}.")
    converted = frozenset(choice.conversions)
    source = source._replace(columns=columns, table=table, made=converted, parts=parts)
    return source, notes


def _add(table: Table, name: str, values: Numbers, unit: str | None) -> str:
    table[name] = Column(values, unit=unit)
    return name
