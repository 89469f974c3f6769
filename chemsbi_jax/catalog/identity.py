"""Which rows of a table are one star: its ids, its positions, its numbers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Bool, Int

from chemsbi_jax.catalog.apart import by_numbers, tell_apart
from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.copies import Numbers, same_numbers
from chemsbi_jax.catalog.distances import (
    ANOTHER,
    DIFFER,
    DIFFERENT,
    distance_of,
    why_apart,
)
from chemsbi_jax.catalog.id_columns import GROUPS, STAR_IDS, IdColumn, columns_of_ids
from chemsbi_jax.catalog.ids import IDS, repeated
from chemsbi_jax.catalog.meaning import is_flag, meaning_of
from chemsbi_jax.catalog.places import same_place
from chemsbi_jax.errors import CatalogError

FEW_DIGITS = 5  # an id with fewer digits may be a number within a list
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
    id_column: str | None,
    numbers: Numbers,
    rows: np.ndarray,
) -> Repeats:
    """Rows of stars that stand in an earlier row, by reason.

    Args:
        name: of the file.
        table: as read.
        columns: lower-case name -> name in the table.
        id_column: of the stars' ids; None: the table has none.
        numbers: abundances and their errors, of all rows.
        rows: numbers of the rows that count (those that no cut drops).

    Raises:
        CatalogError: all rows have one id.
    """
    found: dict[str, np.ndarray] = {}
    warnings: list[str] = []
    left = np.asarray(rows)
    id_columns = columns_of_ids(name, table, columns, id_column)
    for ids in id_columns:
        if not repeated(ids.labels[left]).any():
            continue
        labels, doubts = _one_label_per_star(
            table, columns, ids, left, numbers, id_columns
        )
        warnings += doubts
        reason = f"the same star as in an earlier row, by {ids.name}"
        if ids.name == id_column:
            reason = f"the id ({id_column}) stands in an earlier row"
            _refuse_one_id(name, ids, id_columns)
        left = _record_repeats(found, reason, left, repeated(labels))
    reason = "the same star as in an earlier row, by its position"
    labels, doubts = same_place(table, columns, left, numbers, id_columns)
    left = _record_repeats(found, reason, left, repeated(labels))
    reason = "all abundances and errors are those of an earlier row"
    labels, doubt = same_numbers(left, numbers)
    left = _record_repeats(found, reason, left, repeated(labels))
    warnings += [*doubts, *([doubt] if doubt else [])]
    warnings += _alike_by_other_columns(table, columns, id_column, left, numbers)
    return Repeats(_of_all_rows(found, len(table)), tuple(warnings))


def _refuse_one_id(name: str, ids: IdColumn, id_columns: Sequence[IdColumn]) -> None:
    """Raise for one id in all rows, unless another column has different numbers."""
    labels, rows = ids.labels, np.arange(len(ids.labels))
    if not (labels == labels[0]).all():
        return
    if not by_numbers(ids.name, labels, rows, id_columns)[1]:
        raise CatalogError(
            f"{name}, column {ids.name!r}: every row has the id {str(ids.text[0])!r}; "
            "expected one star a row. Name the column of the ids with --columns id=..."
        )


def _one_label_per_star(
    table: Table,
    columns: Mapping[str, str],
    ids: IdColumn,
    rows: np.ndarray,
    numbers: Numbers,
    id_columns: Sequence[IdColumn],
) -> tuple[np.ndarray, list[str]]:
    """Labels of a column for these rows, alike for one star only; and warnings."""
    labels, reasons = tell_apart(ids, rows, id_columns)
    n_before, again = int(repeated(ids.labels[rows]).sum()), repeated(labels)
    n, doubts = int(again.sum()), []
    if n < n_before:
        doubts.append(_not_same(n_before - n, ids.name, " and ".join(reasons)))
    difference = _why_different(table, columns, labels, rows, numbers) if n else ""
    if difference:
        labels = np.where(again, np.char.add("\x02", rows.astype(str)), labels)
        doubts.append(_not_same(n, ids.name, difference))
    return labels, doubts


def _not_same(n: int, column: str, difference: str) -> str:
    """The warning about rows of one label that are different stars."""
    return (
        f"{n} rows have the {column} of an earlier row, but {difference}, so they "
        "count as different stars. Name the column of the stars' ids with --columns "
        "id=..."
    )


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
        apart = distance_of(labels, numbers, rows)
        mixed = np.random.default_rng(0).permutation(labels)
        others = distance_of(mixed, numbers, rows)
        if 0.0 < apart < ALIKE and others > DIFFERENT * ALIKE:
            warnings.append(
                f"{int(again.sum())} rows have the {column} of an earlier row and the "
                "same abundances within the errors, but count as different stars. If "
                f"{column} names a star: --columns id={column}"
            )
    return warnings


def _record_repeats(
    found: dict[str, Int[np.ndarray, " repeat"]],
    reason: str,
    left: Int[np.ndarray, " row"],
    again: Bool[np.ndarray, " row"],
) -> Int[np.ndarray, " rest"]:
    """Enter repeated rows in `found`; returns the other rows."""
    if again.any():
        found[reason] = left[again]
    return left[~again]


def _of_all_rows(
    found: Mapping[str, Int[np.ndarray, " repeat"]], n: int
) -> dict[str, Rows]:
    return {reason: np.isin(np.arange(n), rows) for reason, rows in found.items()}


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
    distance = distance_of(labels, numbers, rows)
    if np.median(digits) >= FEW_DIGITS:  # an id, unless it is that of a field
        return DIFFER if distance > ANOTHER and again.sum() >= 5 else ""
    for key in GROUPS:
        if key in columns and column_of(table, columns[key]).ndim == 1:
            group = np.asarray(column_of(table, columns[key])).astype(str)[rows]
            both = np.char.add(np.char.add(group, " "), labels)
            if not repeated(both).any():
                return f"each has another {columns[key]}"
    return why_apart(labels, numbers, rows)
