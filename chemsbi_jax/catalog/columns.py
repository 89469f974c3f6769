"""Columns of a star table as checked float arrays; every complaint names its cell."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from astropy.table import Column, MaskedColumn, Table
from jaxtyping import Bool, Float

from chemsbi_jax.catalog.cell_words import (
    LIMIT_WORDS,
    LIMITS,
    decimal_flags,
    is_decimal,
    is_limit,
    is_missing,
    number_text,
    remedy_of,
    to_floats,
)
from chemsbi_jax.catalog.cells import column_of, data_of, mask_of
from chemsbi_jax.catalog.ids import IDS, read_ids, repeated
from chemsbi_jax.catalog.marks import LARGEST, TIME, is_mark, refuse_large
from chemsbi_jax.catalog.units import AUTO, DEX, TIMES, factor_of
from chemsbi_jax.errors import CatalogError, raise_for_rows
from chemsbi_jax.types import EIGHT

__all__ = [
    "AUTO",
    "DEX",
    "IDS",
    "LARGEST",
    "TIMES",
    "StarTable",
    "numbers",
    "open_columns",
]


TRUE, FALSE = ("true", "t"), ("false", "f")


class StarTable(NamedTuple):
    """A table with its name for messages and its columns in lower case."""

    name: str  # of the file
    table: Table
    columns: Mapping[str, str]  # lower-case or our name -> name in the table
    ids: np.ndarray  # (star,) strings
    id_column: str | None = None  # None: the table has no ids, and rows are counted
    # columns of the survey's rules: their marks of "missing" are known, not checked
    own: frozenset[str] = frozenset()
    is_strict: bool = False  # what is no plain number is refused
    limits: Mapping[str, str] = MappingProxyType({})  # our name -> column of limits
    notes: tuple[str, ...] = ()  # how the ids were read
    warnings: tuple[str, ...] = ()
    abundances: tuple[str, ...] = EIGHT  # to be read, in this order
    made: frozenset[str] = frozenset()  # our names of columns that were converted
    # our names of errors -> the columns that they were made from
    parts: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def has(self, name: str) -> bool:
        """Whether there is such a column, in any case."""
        return name in self.columns

    @property
    def is_survey(self) -> bool:
        """Whether it is read by the rules of a survey."""
        return bool(self.own)

    def is_own(self, column: str) -> bool:
        """Whether a column is one of its survey's rules, and not of the user."""
        return column in self.own


def open_columns(
    name: str, table: Table, columns: Mapping[str, str], id_column: str | None = None
) -> StarTable:
    """Read the ids of the stars of a table with at least one row.

    Args:
        name: of the file.
        table: as read.
        columns: lower-case or our name -> name in the table.
        id_column: of the ids; None: the first of `IDS` that there is, or else the
            rows are counted.
    """
    if len(table) == 0:
        raise CatalogError(
            f"{name}: the table has columns but no row; give at least one star."
        )
    usual = next((columns[c] for c in IDS if c in columns), None)
    id_column = id_column or usual
    read = read_ids(name, table, id_column)
    source = StarTable(name, table, columns, read.ids, id_column)
    return source._replace(notes=read.notes, warnings=read.warnings)


def lower_names(name: str, table: Table) -> dict[str, str]:
    """Lower-case name -> name in the table; two that differ in case are refused."""
    columns: dict[str, str] = {}
    for original in table.colnames:
        lower = original.strip("\ufeff \t#").lower()  # Excel's and TOPCAT's marks
        if lower in columns:
            raise CatalogError(
                f"{name}: columns {columns[lower]!r} and {original!r} differ only in "
                "case; rename or remove one."
            )
        columns[lower] = original
    return columns


def numbers(
    source: StarTable, column: str, units: Mapping[str, float]
) -> Float[np.ndarray, " star"]:
    """Values of a column in the unit that `units` gives, NaN where missing.

    Missing are NaN, infinity, masked and blank cells, `MISSING_WORDS`, and beyond
    `LARGEST` (in dex or Gyr) -9999 and its like and few values that repeat; of a
    survey's own columns all values beyond it.
    """
    values = _scaled(source, column, units)
    large = _is_large(values)
    if not source.is_own(source.columns[column]):
        key = TIME if "gyr" in units else column
        where = source.name, source.ids, source.columns[column]
        refuse_large(where, values, large, key)
    return np.where(large | ~np.isfinite(values), np.nan, values)


def count_large(source: StarTable, column: str, units: Mapping[str, float]) -> int:
    """How many values beyond `LARGEST` become gaps, other than -9999 and its like."""
    return int(_is_large(_scaled(source, column, units)).sum())


def count_marks(source: StarTable, column: str) -> int:
    """How many cells of an abundance hold a number for "missing", such as -9999."""
    values = plain_numbers(source, column)
    return int((is_mark(values, is_time=False) & np.isfinite(values)).sum())


def _is_large(values: Float[np.ndarray, " star"]) -> Bool[np.ndarray, " star"]:
    return np.isfinite(values) & (np.abs(values) > LARGEST)


def _scaled(
    source: StarTable, column: str, units: Mapping[str, float]
) -> Float[np.ndarray, " star"]:
    """Values in dex or Gyr, NaN where missing or -9999 and its like."""
    original = source.columns[column]
    raw = plain_numbers(source, column)
    unit = unit_of(source.table, original)
    of = column, source.columns.get(column.removeprefix("e_"), "")
    is_own = source.is_own(original)
    factor = factor_of(source.name, original, unit, units, is_own, of)
    return np.where(is_mark(raw, is_time="gyr" in units), np.nan, raw) * factor


def unit_of(table: Table, column: str) -> str:
    """The unit of a column as the table has it; "" if it has none."""
    unit = column_of(table, column).unit
    return "" if unit is None else str(unit).strip()


def limit_cells(source: StarTable, column: str) -> Bool[np.ndarray, " star"]:
    """Which cells of a column hold a limit, as <0.3, < or UL."""
    text = _text(source, source.columns[column])
    return np.zeros(len(source.ids), bool) if text is None else is_limit(text)


def bare_limits(source: StarTable, column: str) -> Bool[np.ndarray, " star"]:
    """Which cells of an error mark its value as a limit: they hold <, > or UL alone."""
    bare = np.zeros(len(source.ids), bool)
    for original in source.parts.get(column, (source.columns[column],)):
        text = _text(source, original)
        if text is not None:
            bare |= np.isin(np.char.lower(text), (*LIMITS, "<=", ">=", *LIMIT_WORDS))
    return bare


def _text(source: StarTable, original: str) -> np.ndarray | None:
    """Cells without blanks around them; None if they are no text."""
    data = data_of(column_of(source.table, original))
    is_text = data.dtype.kind in "SUO" and data.ndim == 1
    return np.char.strip(_strings(data)) if is_text else None


def plain_numbers(source: StarTable, column: str) -> Float[np.ndarray, " star"]:
    """Values of a column as they stand, of any size and unit; NaN where missing."""
    original = source.columns[column]
    cells = column_of(source.table, original)
    if cells.ndim != 1:
        raise CatalogError(
            f"{source.name}, column {original!r}: expected one number a row; got an "
            f"array of shape {cells.shape[1:]} in each."
        )
    return _floats(source, original, cells)


def flagged(source: StarTable, column: str, bits: int) -> Bool[np.ndarray, " star"]:
    """Rows in which a flag (number, or true and false) has one of `bits`.

    A missing flag counts as bad.
    """
    original = source.columns[column]
    cells = column_of(source.table, original)
    data = data_of(cells)
    if data.dtype.kind in "bui" and data.ndim == 1:
        return np.where(mask_of(cells), bits != 0, (data.astype(np.int64) & bits) != 0)
    if data.dtype.kind in "SUO":
        words = np.char.lower(np.char.strip(_strings(data)))
        data = np.where(np.isin(words, TRUE), "1", words)
        data = np.where(np.isin(words, FALSE), "0", data)
        data = decimal_flags(data)
        cells = MaskedColumn(data, mask=mask_of(cells))
    values = _floats(source, original, cells)
    known = np.isfinite(values)
    return ~known | ((np.where(known, values, 0).astype(np.int64) & bits) != 0)


def _floats(
    source: StarTable, original: str, cells: Column
) -> Float[np.ndarray, " star"]:
    masked, data = mask_of(cells), data_of(cells)
    if data.dtype.kind in "iuf":
        values = data.astype(np.float64)
    elif data.dtype.kind in "SUO":
        values = _parse(source, original, data, masked)
    else:
        raise CatalogError(
            f"{source.name}, column {original!r}: expected numbers; got {data.dtype}."
        )
    return np.where(masked, np.nan, values)


def _parse(
    source: StarTable, original: str, data: np.ndarray, masked: np.ndarray
) -> Float[np.ndarray, " star"]:
    text = number_text(_strings(data))
    missing = masked | is_missing(text)
    if not source.is_strict:
        missing |= is_limit(text)
    text = np.where(missing, "nan", text)
    try:
        return to_floats(text)
    except ValueError:
        bad = np.array([not is_decimal(cell) for cell in text])
        first = str(text[np.flatnonzero(bad)[0]])
        problem = f"{first!r} is not a number; {remedy_of(first, original)}."
        raise_for_rows(source.name, source.ids, bad, original, problem)
        raise


def _strings(data: np.ndarray) -> np.ndarray:
    if data.dtype.kind == "S":
        return np.char.decode(data, "utf-8", "replace")
    return data.astype(str)


def refuse_duplicates(source: StarTable) -> None:
    """Raise for the first star that is in the table twice."""
    ids, bad = source.ids, repeated(source.ids)
    if not bad.any():
        return
    first = int(np.flatnonzero(ids == ids[np.argmax(bad)])[0]) + 1
    raise_for_rows(
        source.name, ids, bad, str(source.id_column),
        f"the star is in row {first} already; each star counts once, so remove one, "
        "or give another id.",
    )  # fmt: skip
