"""Columns of a star table as checked float arrays; every complaint names its cell."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Bool, Float

from chemsbi_jax.star_tables import CatalogError

IDS = ("star_id", "id", "name", "star", "source_id", "object_id", "apogee_id",
       "sobject_id")  # fmt: skip

LARGEST = 20.0
"""dex or Gyr; -9999, 99, 999, 1e20 and all else beyond it stand for "missing"."""

MAX_MARKS = 5
"""A column with more different values beyond `LARGEST` is in another unit."""

MISSING_WORDS = ("", "nan", "null", "none", "na", "n/a", "--", "-", "...")
DEX = {"": 1.0, "dex": 1.0, "[-]": 1.0, "-": 1.0, "dimensionless": 1.0}
TIMES = {"": 1.0, "gyr": 1.0, "ga": 1.0, "myr": 1e-3, "yr": 1e-9, "a": 1e-9}  # in Gyr


class StarTable(NamedTuple):
    """A table with its name for messages and its columns in lower case."""

    name: str  # of the file
    table: Table
    columns: Mapping[str, str]  # lower-case name -> name in the table
    ids: np.ndarray  # (star,) strings

    def has(self, name: str) -> bool:
        """Whether there is such a column, in any case."""
        return name in self.columns


def open_columns(name: str, table: Table) -> StarTable:
    """Check the names of the columns and the ids of the stars of a table."""
    columns: dict[str, str] = {}
    for original in table.colnames:
        lower = original.strip("\ufeff \t#").lower()  # Excel's and TOPCAT's marks
        if lower in columns:
            raise CatalogError(
                f"{name}: columns {columns[lower]!r} and {original!r} differ only in "
                "case; rename or remove one."
            )
        columns[lower] = original
    if len(table) == 0:
        raise CatalogError(
            f"{name}: the table has columns but no row; give at least one star."
        )
    return StarTable(name, table, columns, _ids(name, table, columns))


def numbers(
    source: StarTable, column: str, units: Mapping[str, float]
) -> Float[np.ndarray, " star"]:
    """Values of a column in the unit that `units` gives, NaN where missing.

    Missing are NaN, infinity, masked and blank cells, `MISSING_WORDS` and up to
    `MAX_MARKS` different values beyond `LARGEST` (in dex or Gyr).
    """
    original = source.columns[column]
    cells = source.table[original]
    if cells.ndim != 1:
        raise CatalogError(
            f"{source.name}, column {original!r}: expected one number a row; got an "
            f"array of shape {cells.shape[1:]} in each."
        )
    values = _floats(source, original, cells) * _factor(source, original, cells, units)
    large = np.isfinite(values) & (np.abs(values) > LARGEST)
    if len(np.unique(values[large])) > MAX_MARKS:
        complain(
            source.name, source.ids, large, original,
            f"{values[np.argmax(large)]:g} is too large for an abundance [dex] or a "
            "time [Gyr], and the column has too many such values for them to mean "
            "'missing'; convert the column or give its unit.",
        )  # fmt: skip
    return np.where(large | ~np.isfinite(values), np.nan, values)


def complain(
    name: str,
    ids: np.ndarray,
    bad: Bool[np.ndarray, " star"],
    column: str,
    problem: str,
) -> None:
    """Raise for the first bad row, if there is one.

    Args:
        name: of the file.
        ids: of the stars.
        bad: rows to complain about.
        column: name of the column.
        problem: what is wrong, and the remedy.
    """
    rows = np.flatnonzero(bad)
    if len(rows) == 0:
        return
    where = f"{name}, row {rows[0] + 1} (id {str(ids[rows[0]])!r}), column {column!r}"
    more = f" The same in {len(rows) - 1} more rows." if len(rows) > 1 else ""
    raise CatalogError(f"{where}: {problem}{more}")


def _factor(
    source: StarTable, original: str, cells: Column, units: Mapping[str, float]
) -> float:
    unit = "" if cells.unit is None else str(cells.unit).strip()
    factor = units.get(unit.lower().removesuffix("(1)"))  # astropy writes dex as dex(1)
    if factor is None:
        accepted = ", ".join(sorted(key for key in units if key.isalpha()))
        raise CatalogError(
            f"{source.name}, column {original!r}: the unit {unit!r} is not understood; "
            f"use one of {accepted}, or none."
        )
    return factor


def _floats(
    source: StarTable, original: str, cells: Column
) -> Float[np.ndarray, " star"]:
    masked = np.broadcast_to(getattr(cells, "mask", False), len(cells))
    data = np.asarray(getattr(cells, "data", cells))
    data = np.ma.getdata(data)
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
    text = np.char.strip(_strings(data))
    missing = masked | np.isin(np.char.lower(text), MISSING_WORDS)
    text = np.where(missing, "nan", text)
    try:
        return text.astype(np.float64)
    except ValueError:
        bad = np.array([not _is_number(cell) for cell in text])
        first = str(text[np.flatnonzero(bad)[0]])
        complain(
            source.name, source.ids, bad, original,
            f"{first!r} is not a number; give a number, or an empty cell if it is "
            "missing.",
        )  # fmt: skip
        raise


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _strings(data: np.ndarray) -> np.ndarray:
    if data.dtype.kind == "S":
        return np.char.decode(data, "utf-8", "replace")
    return data.astype(str)


def _ids(name: str, table: Table, columns: Mapping[str, str]) -> np.ndarray:
    """Ids as strings; the row number (from 1) where a table has none."""
    rows = np.arange(1, len(table) + 1).astype(str)
    found = next((columns[column] for column in IDS if column in columns), None)
    if found is None:
        return rows
    cells = table[found]
    masked = np.broadcast_to(getattr(cells, "mask", False), len(table))
    data = np.ma.getdata(np.asarray(getattr(cells, "data", cells)))
    if data.ndim != 1:
        raise CatalogError(f"{name}, column {found!r}: expected one id a row.")
    text = np.char.strip(_strings(data))
    blank = masked | (text == "")
    ids = np.where(blank, np.char.add("row ", rows), text)
    _refuse_duplicates(name, found, ids)
    return ids


def _refuse_duplicates(name: str, column: str, ids: np.ndarray) -> None:
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order[1:]] == ids[order[:-1]]]
    if len(again) == 0:
        return
    bad = np.zeros(len(ids), bool)
    bad[again] = True
    second = again.min()
    first = int(np.flatnonzero(ids == ids[second])[0]) + 1
    complain(
        name, ids, bad, column,
        f"the star is in row {first} already; each star counts once, so remove one, "
        "or give another id.",
    )  # fmt: skip
