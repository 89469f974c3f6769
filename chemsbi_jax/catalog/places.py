"""Rows of a table at one position on the sky."""

from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table
from jaxtyping import Bool, Int
from scipy.spatial import KDTree

from chemsbi_jax.catalog.apart import at_shared_position, by_numbers
from chemsbi_jax.catalog.copies import Numbers
from chemsbi_jax.catalog.distances import why_apart
from chemsbi_jax.catalog.id_columns import IdColumn, groups_of
from chemsbi_jax.catalog.ids import repeated
from chemsbi_jax.catalog.positions import Degrees, positions

SAME_PLACE = 1.5  # arcsec
NO_PLACE = (0.0, -1.0, -9.0, -99.0)  # of both coordinates: the position is unknown


def same_place(
    table: Table,
    columns: Mapping[str, str],
    rows: np.ndarray,
    numbers: Numbers,
    id_columns: Sequence[IdColumn],
) -> tuple[np.ndarray, list[str]]:
    """Labels of rows, alike for those within `SAME_PLACE`; and warnings."""
    alone = np.arange(len(rows))
    position = positions(table, columns)
    if position is None or len(rows) < 2:
        return alone, []
    ra, dec = (x[rows] for x in position)
    good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0)
    good &= ~((ra == dec) & np.isin(ra, NO_PLACE))
    # rounded to 0.001 degree or more, many stars are at one place
    if good.sum() < 2 or np.mean(np.abs(ra[good] * 1e3 % 1.0) < 1e-6) > 0.5:
        return alone, []
    labels = _near(ra, dec, good)
    if labels is None:
        text = "Many rows have one position; positions were not used to find repeats."
        return alone, [text]
    if not repeated(labels).any():
        return labels, []
    groups = [group[rows] for group in groups_of(table, columns, id_columns)]
    labels, doubts = _by_other_ids(ra + 1j * dec, labels, rows, id_columns, groups)
    difference = why_apart(labels, numbers, rows)
    if difference:
        doubts.append(_not_there(int(repeated(labels).sum()), difference))
        return alone, doubts
    return labels, doubts


def _near(
    ra: Degrees, dec: Degrees, good: Bool[np.ndarray, " row"]
) -> Int[np.ndarray, " row"] | None:
    """Labels of rows, alike within `SAME_PLACE`; None where too many rows are."""
    lon, lat = np.radians(ra[good]), np.radians(dec[good])
    across = np.cos(lat)
    points = np.stack([across * np.cos(lon), across * np.sin(lon), np.sin(lat)])
    tree, reach = KDTree(points.T), np.radians(SAME_PLACE / 3600.0)
    if tree.count_neighbors(tree, reach) > 20 * len(lon):
        return None
    labels, index = np.arange(len(ra)), np.flatnonzero(good)
    for one, two in sorted(tree.query_pairs(reach)):
        labels[index[two]] = min(labels[index[one]], labels[index[two]])
    return labels


def _by_other_ids(
    places: np.ndarray,
    labels: Int[np.ndarray, " row"],
    rows: np.ndarray,
    id_columns: Sequence[IdColumn],
    groups: Sequence[np.ndarray],
) -> tuple[Int[np.ndarray, " row"], list[str]]:
    """Labels that differ for the stars of a group at one place; and warnings."""
    doubts, n = [], int(repeated(labels).sum())
    text, reasons = by_numbers("", labels.astype(str), rows, id_columns)
    labels = np.unique(text, return_inverse=True)[1]
    n_left = int(repeated(labels).sum())
    if n_left < n:
        doubts.append(_not_there(n - n_left, " and ".join(reasons)))
    shared = np.isin(labels, labels[repeated(labels)])
    exact = np.unique(places, return_inverse=True)[1]
    # rows that are not at one place with others have a place of their own
    exact = np.where(shared, exact, len(rows) + np.arange(len(rows)))
    several = at_shared_position(exact, groups)
    if several.any():
        labels = np.where(several, len(rows) + np.arange(len(rows)), labels)
        n = n_left - int(repeated(labels).sum())
        doubts.append(_not_there(n, "it is the position of their group"))
    return labels, doubts


def _not_there(n: int, difference: str) -> str:
    """The warning about rows at one position that are different stars."""
    return (
        f"{n} rows lie within {SAME_PLACE} arcsec of an earlier row, but {difference}, "
        "so they count as different stars."
    )
