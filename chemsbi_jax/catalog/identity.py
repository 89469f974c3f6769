"""Which rows of a table are one star: its ids, its positions, its numbers."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Bool, Int
from scipy.spatial import KDTree

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.copies import Numbers, same_numbers
from chemsbi_jax.catalog.ids import IDS, read_ids, repeated
from chemsbi_jax.catalog.meaning import is_flag, meaning_of
from chemsbi_jax.catalog.positions import positions

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
OTHER_IDS = re.compile(
    r"(gaia|tmass|2mass|twomass|tic|hip|hipparcos|hd|kic|epic|tyc|tycho2?)(e?dr\d)?"
    r"(star|source|main|object)?(id|ids|name|no|num|number|designation)?"
    r"|(allwise|wise|sdss\d?|simbad|apogee|ucac\d?)(star|source|main|object)?"
    r"(id|name|designation)|(gaia)?e?dr\d(source)?id|sourcename|starid|starname|(target|catalog|catalogue)id"
)
"""Other spellings of these, without what is no letter or digit."""

GROUPS = ("cluster", "field", "galaxy", "host", "region", "system", "stream", "dwarf",
          "halo", "sim", "simulation", "run", "subhalo", "gc", "oc")  # fmt: skip
"""Columns within which stars may be numbered from 1."""

SAME_PLACE = 1.5  # arcsec
FEW_DIGITS = 5  # an id with fewer digits may be a number within a list
# mean squared differences of two rows in units of their errors: for a small number and
# for an id with many digits, whose errors may be too small
DIFFERENT, ANOTHER = 3.0, 8.0
DIFFER = "their abundances differ by far more than the errors"
NOT_CLOSER = "their abundances differ as much as those of other rows"
FEW_PAIRS = 5  # repeated rows, from which on their distance says something
# of the distance of rows with different labels: rows of one star have 0.5 of it where
# the stars scatter as much as their errors, and less where they scatter more
LEAST_CLOSER = 0.7
ALIKE = 1.5  # the same measure, for rows of one star
SHARE_REPEATED, MOST_ROWS = 0.2, 50  # of the rows; rows of one star

Rows = Bool[np.ndarray, " star"]


class Repeats(NamedTuple):
    """Rows of stars that stand in an earlier row."""

    reasons: dict[str, Rows]
    warnings: tuple[str, ...]


def find_repeats(
    name: str,
    table: Table,
    columns: Mapping[str, str],
    ids: np.ndarray,
    id_column: str | None,
    numbers: Numbers,
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
        difference = _why_different(table, columns, labels, left, numbers)
        if difference:
            warnings.append(
                f"{int(again.sum())} rows have the {column} of an earlier row, but "
                f"{difference}, so they count as different stars. Name the column of "
                "the stars' ids with --columns id=..."
            )
            continue
        reason = (
            f"the id ({column}) stands in an earlier row"
            if is_chosen
            else f"the same star as in an earlier row, by {column}"
        )
        left = _record_repeats(found, reason, left, again, len(ids))
    for reason, find in (("position", _same_place), ("numbers", same_numbers)):
        labels, warning = find(table, columns, left, numbers)
        warnings += [warning] if warning else []
        again = repeated(labels)
        if again.any():
            reason = f"the same star as in an earlier row, by its {reason}"
            left = _record_repeats(found, reason, left, again, len(ids))
    warnings += _alike_by_other_columns(table, columns, id_column, left, numbers)
    return Repeats(found, tuple(warnings))


def _alike_by_other_columns(
    table: Table,
    columns: Mapping[str, str],
    id_column: str | None,
    rows: np.ndarray,
    numbers: Numbers,
) -> list[str]:
    """Warnings of columns of unknown names whose rows of one label look like one star.

    Their abundances agree within the errors, and those of other rows do not.
    """
    known = {*STAR_IDS, *GROUPS, *IDS}
    warnings: list[str] = []
    for key, column in columns.items():
        cells = column_of(table, column)
        is_id = cells.ndim == 1 and cells.dtype.kind in "SUOiu" and column != id_column
        if key in known or is_flag(column) or meaning_of(column) or not is_id:
            continue
        labels = np.asarray(cells).astype(str)[rows]
        again, n_labels = repeated(labels), len(np.unique(labels))
        if again.mean() < SHARE_REPEATED or n_labels < max(5, len(rows) // MOST_ROWS):
            continue
        apart = _distance(labels, numbers, rows)
        mixed = np.random.default_rng(0).permutation(labels)
        others = _distance(mixed, numbers, rows)
        if 0.0 < apart < ALIKE and others > DIFFERENT * ALIKE:
            warnings.append(
                f"{int(again.sum())} rows have the {column} of an earlier row and the "
                "same abundances within the errors, but count as different stars. If "
                f"{column} names a star: --columns id={column}"
            )
    return warnings


def _record_repeats(
    found: dict[str, Rows],
    reason: str,
    left: Int[np.ndarray, " row"],
    again: Bool[np.ndarray, " row"],
    n: int,
) -> Int[np.ndarray, " rest"]:
    """Enter repeated rows in `found`; returns the other rows."""
    bad = np.zeros(n, bool)
    bad[left[again]] = True
    found[reason] = bad
    return left[~again]


def _columns_of_ids(
    name: str,
    table: Table,
    columns: Mapping[str, str],
    ids: np.ndarray,
    id_column: str | None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Columns that may name stars, with the ids in them; the chosen one first."""
    if id_column is not None:
        yield id_column, ids
    like = [k for k in columns if OTHER_IDS.fullmatch(re.sub(r"[^a-z0-9]", "", k))]
    for key in dict.fromkeys((*STAR_IDS, *like)):
        column = columns.get(key)
        if column is None or column == id_column or column_of(table, column).ndim != 1:
            continue
        yield column, read_ids(name, table, column).ids


def _why_different(
    table: Table,
    columns: Mapping[str, str],
    labels: np.ndarray,
    rows: np.ndarray,
    numbers: Numbers,
) -> str:
    """Why rows with one label are different stars; nothing if they are one star."""
    again = repeated(labels)
    digits = np.array([sum(c.isdigit() for c in str(x)) for x in labels[again]])
    distance = _distance(labels, numbers, rows)
    if np.median(digits) >= FEW_DIGITS:  # an id, unless it is that of a field
        return DIFFER if distance > ANOTHER and again.sum() >= 5 else ""
    for key in GROUPS:
        if key in columns and column_of(table, columns[key]).ndim == 1:
            group = np.asarray(column_of(table, columns[key])).astype(str)[rows]
            both = np.char.add(np.char.add(group, " "), labels)
            if not repeated(both).any():
                return f"each has another {columns[key]}"
    return _why_apart(labels, numbers, rows)


def _why_apart(labels: np.ndarray, numbers: Numbers, rows: np.ndarray) -> str:
    """Why the abundances of rows with one label are not those of one star, or ""."""
    distance = _distance(labels, numbers, rows)
    if distance > DIFFERENT:
        return DIFFER
    mixed = np.random.default_rng(0).permutation(labels)
    others = _distance(mixed, numbers, rows)  # of rows with different labels
    is_clear = repeated(labels).sum() >= FEW_PAIRS and distance > LEAST_CLOSER * others
    return NOT_CLOSER if is_clear else ""


def _distance(labels: np.ndarray, numbers: Numbers, rows: np.ndarray) -> float:
    """Mean squared difference of rows with one label, in units of the errors."""
    values, errors = numbers[0][rows], numbers[1][rows]
    order = np.argsort(labels, kind="stable")
    same = labels[order[1:]] == labels[order[:-1]]
    one, two = order[:-1][same], order[1:][same]
    square = (values[one] - values[two]) ** 2 / (errors[one] ** 2 + errors[two] ** 2)
    square = square[np.isfinite(square)]
    return float(np.mean(square)) if len(square) else 0.0


def _same_place(
    table: Table, columns: Mapping[str, str], rows: np.ndarray, numbers: Numbers
) -> tuple[np.ndarray, str]:
    """Labels of rows, alike for those within `SAME_PLACE`; a warning, or nothing."""
    alone = np.arange(len(rows))
    position = positions(table, columns)
    if position is None or len(rows) < 2:
        return alone, ""
    ra, dec = (x[rows] for x in position)
    good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0)
    # rounded to 0.001 degree or more, many stars are at one place
    if good.sum() < 2 or np.mean(np.abs(ra[good] * 1e3 % 1.0) < 1e-6) > 0.5:
        return alone, ""
    ra, dec = np.radians(ra[good]), np.radians(dec[good])
    points = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    tree, reach = KDTree(points.T), np.radians(SAME_PLACE / 3600.0)
    if tree.count_neighbors(tree, reach) > 20 * len(ra):
        return (
            alone,
            "Many rows have one position; positions were not used to find repeats.",
        )
    labels, index = alone.copy(), np.flatnonzero(good)
    for one, two in sorted(tree.query_pairs(reach)):
        labels[index[two]] = min(labels[index[one]], labels[index[two]])
    difference = _why_apart(labels, numbers, rows)
    if difference:
        n = int(repeated(labels).sum())
        return alone, (
            f"{n} rows lie within {SAME_PLACE} arcsec of an earlier row, but "
            f"{difference}, so they count as different stars."
        )
    return labels, ""
