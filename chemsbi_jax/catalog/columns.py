"""Columns of a star table as checked float arrays; every complaint names its cell."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from astropy.table import Column, MaskedColumn, Table
from jaxtyping import Bool, Float

from chemsbi_jax.catalog.cell_words import (
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

LARGEST = 20.0
"""dex or Gyr; -9999, 99, 999, 1e20 and all else beyond it stand for "missing"."""
LARGEST_MYR = 2e4  # of an age; larger ones are in years

MAX_MARKS = 5
"""A column with more different values beyond `LARGEST` is in another unit."""

FEW = 0.2  # share of a column
NINES = re.compile(r"-?9+(\.9+)?")
"""A number that may mean "missing": 9.99, -9999, 99.9."""

TRUE, FALSE = ("true", "t"), ("false", "f")


class StarTable(NamedTuple):
    """A table with its name for messages and its columns in lower case."""

    name: str  # of the file
    table: Table
    columns: Mapping[str, str]  # lower-case or our name -> name in the table
    ids: np.ndarray  # (star,) strings
    id_column: str | None = None  # None: the table has no ids, and rows are counted
    is_survey: bool = False  # units and marks of "missing" are known, not checked
    is_strict: bool = False  # what is no plain number is refused
    limits: Mapping[str, str] = MappingProxyType({})  # our name -> column of limits
    notes: tuple[str, ...] = ()  # how the ids were read
    warnings: tuple[str, ...] = ()
    abundances: tuple[str, ...] = EIGHT  # to be read, in this order
    made: frozenset[str] = frozenset()  # our names of columns that were converted

    def has(self, name: str) -> bool:
        """Whether there is such a column, in any case."""
        return name in self.columns


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
    ids, notes, warnings = read_ids(name, table, id_column)
    return StarTable(
        name, table, columns, ids, id_column, notes=notes, warnings=warnings
    )


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

    Missing are NaN, infinity, masked and blank cells, `MISSING_WORDS` and up to
    `MAX_MARKS` different values beyond `LARGEST` (in dex or Gyr); of a survey's table
    all values beyond it.
    """
    original = source.columns[column]
    raw = plain_numbers(source, column)
    cells = column_of(source.table, original)
    unit = "" if cells.unit is None else str(cells.unit).strip()
    factor = factor_of(source.name, original, unit, units, source.is_survey)
    is_time = "gyr" in units
    values = np.where(is_mark(raw, is_time=is_time), np.nan, raw) * factor
    large = np.isfinite(values) & (np.abs(values) > LARGEST)
    if not source.is_survey:
        kind = "time" if is_time else column[:2]
        _refuse_large(source, original, values, large, kind)
    return np.where(large | ~np.isfinite(values), np.nan, values)


def _refuse_large(
    source: StarTable,
    original: str,
    values: Float[np.ndarray, " star"],
    large: Bool[np.ndarray, " star"],
    kind: str,
) -> None:
    """Values that are large, and are not known to mean "missing"."""
    n_large, n = len(np.unique(values[large])), int(np.isfinite(values).sum())
    if kind == "e_" and (n_large <= MAX_MARKS or large.sum() < FEW * n):
        return  # few errors so large are none
    marks = large & (is_mark(values, is_time=False) | (values < 0))
    other = large & ~marks
    unlike, counts = np.unique(values[other], return_counts=True)
    few = kind != "time" and len(unlike) <= MAX_MARKS and (counts > 1).all()
    if len(np.unique(values[large])) <= MAX_MARKS and (few or not other.any()):
        return
    bad = other if other.any() else large
    unit = "yr" if np.median(values[bad]) > LARGEST_MYR else "Myr"
    problem = {
        "time": "is too large for a time [Gyr]; convert the column or give its unit, "
        f"with --age-unit {unit}",
        "e_": "is too large for an error [dex]; if the column is in percent or another "
        "unit, convert it with --columns e_fe_h=NAME*0.00434",
    }.get(kind, "is too large for an abundance [dex]; correct it, or leave the cell "
          "empty if it is missing; columns of another quantity, such as numbers of "
          "lines, are left out with --without")  # fmt: skip
    raise_for_rows(
        source.name, source.ids, bad, original,
        f"{values[np.argmax(bad)]:g} {problem}.",
    )  # fmt: skip


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
    return found[inverse].reshape(values.shape)


def limit_cells(source: StarTable, column: str) -> Bool[np.ndarray, " star"]:
    """Which cells of a column hold a limit, as <0.3."""
    cells = column_of(source.table, source.columns[column])
    data = data_of(cells)
    if data.dtype.kind not in "SUO":
        return np.zeros(len(cells), bool)
    return is_limit(np.char.strip(_strings(data)))


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
