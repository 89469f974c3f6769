"""Rows with one label or position that other ids show to be different stars."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from chemsbi_jax.catalog.id_columns import IdColumn, is_cluster
from chemsbi_jax.catalog.ids import repeated

SHARED = 3  # rows at one position, from which on it may be that of a cluster
Labels = np.ndarray
RowNumbers = Int[np.ndarray, " row"]


def tell_apart(
    column: IdColumn, rows: RowNumbers, id_columns: Sequence[IdColumn]
) -> tuple[Labels, tuple[str, ...]]:
    """Labels that differ for different stars, and why rows with one label do.

    Rows with one label are different stars where a column has other numbers of a
    catalogue for them, or where the label is the name of a cluster.

    Args:
        column: of the labels.
        rows: numbers of the rows in question in the table.
        id_columns: all columns that may name stars.
    """
    apart, reasons = by_numbers(column.name, column.labels[rows], rows, id_columns)
    again = repeated(apart)
    shared = np.isin(apart, np.unique(apart[again]))
    groups = shared.copy()
    groups[shared] = is_cluster(apart[shared])
    if not groups.any():
        return apart, reasons
    example = column.text[rows[np.argmax(groups)]]
    reason = f"{example} is the name of a group of stars"
    return np.where(groups, _own_labels(rows), apart), (*reasons, reason)


def by_numbers(
    column: str, labels: Labels, rows: RowNumbers, id_columns: Sequence[IdColumn]
) -> tuple[Labels, tuple[str, ...]]:
    """Labels that differ where columns have different numbers of a catalogue.

    A row without such a number is a star of its own if the others of its label have
    several.

    Args:
        column: name of the column of the labels.
        labels: of the rows in question, in one spelling.
        rows: numbers of these rows in the table.
        id_columns: all columns that may name stars.
    """
    reasons = []
    for other in id_columns:
        unique, inverse, counts = np.unique(
            labels, return_inverse=True, return_counts=True
        )
        shared = np.flatnonzero(counts[inverse] > 1)
        if other.name == column or len(shared) == 0:
            continue
        known = shared[other.has_star_number(rows[shared])]
        of_star = other.star_numbers(rows)
        numbers = np.unique(of_star[known], return_inverse=True)[1]
        pairs = np.unique(np.stack([inverse[known], numbers]), axis=1)
        n_numbers = np.bincount(pairs[0], minlength=len(unique))
        differ = n_numbers[inverse] > 1
        if not differ.any():
            continue
        is_known = differ & np.isin(np.arange(len(rows)), known)
        own = np.where(differ, _own_labels(rows), labels)
        labels = np.where(is_known, _joined(labels, of_star), own)
        reasons.append(f"another {other.name}")
    return labels, tuple(f"they have {reason}" for reason in reasons)


def at_shared_position(
    places: Int[np.ndarray, " row"], groups: Sequence[Labels]
) -> Bool[np.ndarray, " row"]:
    """Rows whose exact position is that of their group, as a cluster's centre.

    These are all rows of a group, and at least `SHARED`.

    Args:
        places: of the rows in question, alike where the coordinates are equal.
        groups: labels of these rows in columns of groups.
    """
    found = np.zeros(len(places), bool)
    for labels in groups:
        inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
        pairs = np.unique(np.stack([inverse, places]), axis=1)
        n_places = np.bincount(pairs[0], minlength=len(counts))
        found |= ((n_places == 1) & (counts >= SHARED))[inverse]
    return found


def _own_labels(rows: RowNumbers) -> Labels:
    """A label for each row that no other row has."""
    return np.char.add("\x02row ", rows.astype(str))


def _joined(first: Labels, second: Labels) -> Labels:
    return np.char.add(np.char.add(first, "\x02"), second)
