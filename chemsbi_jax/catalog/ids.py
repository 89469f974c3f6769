"""Names of the rows of a table: what is an id, and what is none."""

import re
from typing import NamedTuple

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Bool

from chemsbi_jax.catalog.cells import column_of, data_of, mask_of
from chemsbi_jax.errors import CatalogError, counted

IDS = ("star_id", "id", "name", "star", "source_id", "object_id", "apogee_id",
       "sobject_id")  # fmt: skip
"""Columns of ids, the first one present."""

NO_ID = ("", "nan", "null", "none", "na", "n/a", "--", "-", "...", "unknown",
         "no match", "nomatch", "masked")  # fmt: skip
NO_NUMBER = re.compile(r"-\d+(\.0*)?|0(\.0*)?|9{3,}(\.0*)?")
ROUNDED = re.compile(r"[+-]?\d+([.,]\d+)?[eE]\+?\d+")
EXACT = 2.0**53  # larger integers are rounded in a float

Rows = Bool[np.ndarray, " star"]


class Ids(NamedTuple):
    """Names of the rows."""

    ids: np.ndarray  # (star,) strings
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_ids(name: str, table: Table, column: str | None) -> Ids:
    """Ids as strings; the row number (from 1) where there is none.

    Not taken as ids: blank and masked cells, words for "missing", repeated sentinels
    (-9999, -1, 0), and rounded numbers that are repeated (6.91E+18).

    Args:
        name: of the file.
        table: as read.
        column: of the ids; None: rows are counted.

    Raises:
        CatalogError: the column has several numbers a row.
    """
    rows = np.arange(1, len(table) + 1).astype(str)
    if column is None:
        return Ids(rows)
    cells = column_of(table, column)
    if cells.ndim != 1:
        raise CatalogError(f"{name}, column {column!r}: expected one id a row.")
    text, rounded = _id_text(cells)
    row_names = np.char.add("row ", rows)
    if (rounded & repeated(text)).any():
        example = text[np.argmax(rounded & repeated(text))]
        warning = (
            f"{column} has rounded numbers such as {example}, which are no ids, so "
            "each row counts as a star; keep the ids as text or 64-bit integers, to "
            "find stars that are in several rows."
        )
        return Ids(rows, (), (warning,))
    blank = np.isin(np.char.lower(text), NO_ID)
    counts = _count_of(text)
    unique, inverse, each = np.unique(text, return_inverse=True, return_counts=True)
    sentinel = np.array([bool(NO_NUMBER.fullmatch(x)) for x in unique])[inverse]
    usual = 1 if len(unique) == 1 else np.median(each)  # each star has as many rows
    often = np.where(np.char.startswith(text, "-"), counts > 1, counts > 2 * usual)
    marked = sentinel & often
    notes = []
    if marked.any():
        example = text[np.argmax(marked)]
        notes.append(
            f"{int(marked.sum())} rows have no id ({column} is {example}): each counts "
            "as a star."
        )
    if blank.any():
        notes.append(
            f"{counted(int(blank.sum()), 'row')} without an id in {column}: each "
            "counts as a star."
        )
    return Ids(np.where(blank | marked, row_names, text), tuple(notes))


def _id_text(cells: Column) -> tuple[np.ndarray, Rows]:
    """Cells as stripped text, and which are rounded numbers."""
    data, masked = data_of(cells), mask_of(cells)
    if data.dtype.kind == "f":
        whole = np.isfinite(data) & (data == np.round(data)) & (np.abs(data) < EXACT)
        integers = np.where(whole, data, 0).astype(np.int64).astype(str)
        text = np.where(whole, integers, data.astype(str))
        rounded = np.isfinite(data) & (np.abs(data) >= EXACT)
        text = np.where(np.isfinite(data), text, "")
    else:
        kind = data.dtype.kind
        data = np.char.decode(data, "utf-8", "replace") if kind == "S" else data
        text = np.char.strip(data.astype(str))
        is_text = kind in "SUO"
        rounded = np.array([is_text and bool(ROUNDED.fullmatch(x)) for x in text], bool)
        cut = np.array([len(x) > 16 and x.endswith("000") for x in text], bool)
        rounded |= cut & (cut.mean() > 0.5)  # 15 digits, as a spreadsheet keeps
    return np.where(masked, "", text), rounded & ~masked


def _count_of(text: np.ndarray) -> np.ndarray:
    """How often each entry stands in the array."""
    _, inverse, counts = np.unique(text, return_inverse=True, return_counts=True)
    return counts[inverse]


def repeated(ids: np.ndarray) -> Rows:
    """Which entries stand in an earlier row already."""
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order[1:]] == ids[order[:-1]]]
    bad = np.zeros(len(ids), bool)
    bad[again] = True
    return bad
