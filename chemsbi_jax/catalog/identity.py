"""Which rows of a table are one star: its ids, its positions, its numbers."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from chemsbi_jax.errors import CatalogError

IDS = ("star_id", "id", "name", "star", "source_id", "object_id", "apogee_id",
       "sobject_id")  # fmt: skip
"""Columns of ids, the first one present."""

STAR_IDS = (
    *IDS[:-1], "gaia_id", "gaia", "gaia_source_id", "gaiadr3_source_id",
    "gaiadr2_source_id", "dr3_source_id", "dr2_source_id", "gaia_dr3_source_id",
    "gaia_dr2_source_id", "gaiaedr3_source_id", "gaia_dr3_id", "gaiaedr3", "gaiadr3",
    "gaiadr2", "gaia_designation", "designation", "tmass_id", "tmass", "2mass",
    "_2mass", "twomass", "2mass_id", "sdss_id", "sdss4_apogee_id", "catalogid",
    "cname", "starname", "star_name", "hip", "hd", "tic", "tic_id", "kic", "epic",
    "kepid", "main_id", "simbad_name", "uid", "lmj", "objid", "obj_id", "target_id",
)  # fmt: skip
"""Columns that name a star, not one of its spectra."""

GROUPS = ("cluster", "field", "galaxy", "host", "region", "system", "stream", "dwarf",
          "halo", "sim", "simulation", "run", "subhalo", "gc", "oc")  # fmt: skip
"""Columns within which stars may be numbered from 1."""

NO_ID = ("", "nan", "null", "none", "na", "n/a", "--", "-", "...", "unknown",
         "no match", "nomatch", "masked")  # fmt: skip
NO_NUMBER = re.compile(r"-\d+(\.0*)?|0(\.0*)?|9{3,}(\.0*)?")
ROUNDED = re.compile(r"[+-]?\d+([.,]\d+)?[eE]\+?\d+")
EXACT = 2.0**53  # larger integers are rounded in a float
POSITIONS = (("ra", "dec"), ("raj2000", "dej2000"), ("_ra", "_de"), ("radeg", "dedeg"),
             ("ra_icrs", "de_icrs"), ("ra_deg", "dec_deg"), ("_raj2000", "_dej2000"),
             ("ra_gaia", "dec_gaia"), ("gaia_ra", "gaia_dec"), ("raj", "decj"),
             ("ra_j2000", "dec_j2000"), ("ra_obj", "dec_obj"))  # fmt: skip
SAME_PLACE = 1.5  # arcsec
FEW_DIGITS = 5  # an id with fewer digits may be a number within a list
DIFFERENT = 3.0  # mean squared difference of two rows in units of their errors
CHANCE = 1e-3  # expected pairs of alike rows by accident, below which they are one star

Rows = Bool[np.ndarray, " star"]


class Ids(NamedTuple):
    """Names of the rows."""

    ids: np.ndarray  # (star,) strings
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Repeats(NamedTuple):
    """Rows of stars that stand in an earlier row."""

    reasons: dict[str, Rows]
    warnings: tuple[str, ...]


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
    cells = table[column]
    if cells.ndim != 1:
        raise CatalogError(f"{name}, column {column!r}: expected one id a row.")
    text, rounded = _id_text(cells)
    row_names = np.char.add("row ", rows)
    if (rounded & repeated(text)).any():
        example = text[np.argmax(rounded & repeated(text))]
        warning = (
            f"{column} has rounded numbers as {example}, which are no ids, so each row "
            "counts as a star; keep the ids as text or 64-bit integers, to find stars "
            "that stand in several rows."
        )
        return Ids(rows, (), (warning,))
    blank = np.isin(np.char.lower(text), NO_ID)
    counts = _count_of(text)
    unique, inverse = np.unique(text, return_inverse=True)
    sentinel = np.array([bool(NO_NUMBER.fullmatch(x)) for x in unique])[inverse]
    usual = 1 if len(unique) == 1 else np.median(counts)  # each star has as many rows
    often = np.where(np.char.startswith(text, "-"), counts > 1, counts > 2 * usual)
    marked = sentinel & often
    notes = []
    if marked.any():
        example = text[np.argmax(marked)]
        notes.append(
            f"{int(marked.sum())} rows have no id ({column} is {example}): each counts "
            "as a star."
        )
    return Ids(np.where(blank | marked, row_names, text), tuple(notes))


def _id_text(cells) -> tuple[np.ndarray, Rows]:
    """Cells as stripped text, and which are rounded numbers."""
    data = np.ma.getdata(np.asarray(getattr(cells, "data", cells)))
    masked = np.broadcast_to(getattr(cells, "mask", False), len(data))
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


def find_repeats(
    name: str,
    table: Table,
    columns: Mapping[str, str],
    ids: np.ndarray,
    id_column: str | None,
    numbers: tuple[Float[np.ndarray, "star value"], Float[np.ndarray, "star value"]],
    rows: np.ndarray,
) -> Repeats:
    """Rows of stars that stand in an earlier row, by reason.

    Args:
        name: of the file.
        table: as read.
        columns: lower-case name -> name in the table.
        ids: of all rows.
        id_column: where they come from.
        numbers: abundances and their errors, of all rows.
        rows: numbers of the rows that count (those that no cut drops).
    """
    found: dict[str, Rows] = {}
    warnings: list[str] = []
    left = np.asarray(rows)
    for column, text in _columns_of_ids(name, table, columns, ids, id_column):
        again = repeated(text[left])
        if not again.any():
            continue
        labels, is_chosen = text[left], column == id_column
        verdict = _judge(table, columns, labels, left, numbers)
        if verdict:
            warnings.append(
                f"{int(again.sum())} rows have a {column} of an earlier row, but "
                f"{verdict}, so they count as different stars. Name the column of the "
                "stars' ids with --columns id=..."
            )
            continue
        reason = (
            f"the id ({column}) stands in an earlier row"
            if is_chosen
            else f"the same star as in an earlier row, by {column}"
        )
        left = _put(found, reason, left, again, len(ids))
    for reason, find in (("position", _same_place), ("numbers", _same_numbers)):
        labels, warning = find(table, columns, left, numbers)
        warnings += [warning] if warning else []
        again = repeated(labels)
        if again.any():
            reason = f"the same star as in an earlier row, by its {reason}"
            left = _put(found, reason, left, again, len(ids))
    return Repeats(found, tuple(warnings))


def _put(found, reason: str, left: np.ndarray, again: Rows, n: int) -> np.ndarray:
    bad = np.zeros(n, bool)
    bad[left[again]] = True
    found[reason] = bad
    return left[~again]


def _columns_of_ids(name, table, columns, ids, id_column):
    """Columns that may name stars, with the ids in them; the chosen one first."""
    if id_column is not None:
        yield id_column, ids
    for key in STAR_IDS:
        column = columns.get(key)
        if column is None or column == id_column or table[column].ndim != 1:
            continue
        yield column, read_ids(name, table, column).ids


def _judge(table, columns, labels: np.ndarray, rows: np.ndarray, numbers) -> str:
    """Why rows with one label are different stars; nothing if they are one star."""
    digits = np.array([sum(c.isdigit() for c in str(x)) for x in labels])
    if np.median(digits[repeated(labels)]) >= FEW_DIGITS:
        return ""
    for key in GROUPS:
        if key in columns and table[columns[key]].ndim == 1:
            group = np.asarray(table[columns[key]]).astype(str)[rows]
            both = np.char.add(np.char.add(group, " "), labels)
            if not repeated(both).any():
                return f"each has another {columns[key]}"
    distance = _distance(labels, tuple(x[rows] for x in numbers))
    if distance > DIFFERENT:
        return "their abundances differ by far more than the errors"
    return ""


def _distance(labels: np.ndarray, numbers) -> float:
    """Mean squared difference of rows with one label, in units of the errors."""
    values, errors = numbers
    order = np.argsort(labels, kind="stable")
    same = labels[order[1:]] == labels[order[:-1]]
    one, two = order[:-1][same], order[1:][same]
    square = (values[one] - values[two]) ** 2 / (errors[one] ** 2 + errors[two] ** 2)
    square = square[np.isfinite(square)]
    return float(np.mean(square)) if len(square) else 0.0


def _same_place(table, columns, rows: np.ndarray, numbers) -> tuple[np.ndarray, str]:
    """Labels of rows, alike for those within `SAME_PLACE`; a warning, or nothing."""
    alone = np.arange(len(rows))
    position = _positions(table, columns)
    if position is None or len(rows) < 2:
        return alone, ""
    ra, dec = (x[rows] for x in position)
    good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0)
    # rounded to 0.001 degree or more, many stars are at one place
    if good.sum() < 2 or np.mean(np.abs(ra[good] * 1e3 % 1.0) < 1e-6) > 0.5:
        return alone, ""
    ra, dec = np.radians(ra[good]), np.radians(dec[good])
    points = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    tree, reach = cKDTree(points.T), np.radians(SAME_PLACE / 3600.0)
    if tree.count_neighbors(tree, reach) > 20 * len(ra):
        return alone, "Many rows have one position, so it was not used to tell stars."
    labels, index = alone.copy(), np.flatnonzero(good)
    for one, two in sorted(tree.query_pairs(reach)):
        labels[index[two]] = min(labels[index[one]], labels[index[two]])
    distance = _distance(labels, tuple(x[rows] for x in numbers))
    if distance > DIFFERENT:
        n = int(repeated(labels).sum())
        return alone, (
            f"{n} rows lie within {SAME_PLACE} arcsec of an earlier row, but their "
            "abundances differ by far more than the errors, so they count as different "
            "stars."
        )
    return labels, ""


def _positions(table, columns) -> tuple[np.ndarray, np.ndarray] | None:
    for pair in POSITIONS:
        if all(key in columns for key in pair):
            both = [table[columns[key]] for key in pair]
            if all(x.ndim == 1 and x.dtype.kind in "fi" for x in both):
                return tuple(
                    np.ma.filled(np.ma.asarray(x, float), np.nan) for x in both
                )
    return None


def _same_numbers(
    _table, _columns, rows: np.ndarray, numbers
) -> tuple[np.ndarray, str]:
    """Labels of rows, alike where all numbers are; not where this may be chance."""
    alone = np.arange(len(rows))
    content = np.nan_to_num(np.concatenate(numbers, axis=1)[rows], nan=99.0)
    n = len(rows)
    chance = n * (n - 1) / 2.0
    for column in content.T:
        share = np.unique(column, return_counts=True)[1] / max(n, 1)
        chance *= float((share**2).sum())
    if n < 2 or chance > CHANCE:
        return alone, ""
    return np.unique(content, axis=0, return_inverse=True)[1].reshape(-1), ""
