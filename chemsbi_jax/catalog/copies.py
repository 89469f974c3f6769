"""Rows that repeat all numbers of an earlier row."""

import numpy as np
from jaxtyping import Float

Numbers = tuple[Float[np.ndarray, "star value"], Float[np.ndarray, "star value"]]
"""Abundances and their errors, of all rows."""

CHANCE = 1e-3  # expected pairs of alike rows by accident, below which they are one star
FAR_MORE = 3.0  # of these pairs and one; then there is a warning


def same_numbers(rows: np.ndarray, numbers: Numbers) -> tuple[np.ndarray, str]:
    """Labels of rows, alike where all numbers are; not where this may be chance.

    How often two different stars have the same number in a column is estimated from
    the rows with the same gaps, without their copies.
    """
    labels, content = np.arange(len(rows)), np.concatenate(numbers, axis=1)[rows]
    seen = np.isfinite(content)
    kind = np.unique(seen, axis=0, return_inverse=True)[1].reshape(-1)
    n_chance, expected = 0, 0.0
    for group in (np.flatnonzero(kind == k) for k in range(kind.max(initial=-1) + 1)):
        part = content[group][:, seen[group[0]]]
        if (np.ptp(part, axis=0) > 0.0).sum() < 2:  # one number of a star is no copy
            continue
        # quicker than sorting
        hashes = np.array([hash(row.tobytes()) for row in part])
        first, same = np.unique(hashes, return_index=True, return_inverse=True)[1:]
        chance = _chance_pairs(part[first], len(part))
        if chance <= CHANCE:
            labels[group] = group[first][same.reshape(-1)]
        else:
            n_chance, expected = n_chance + len(part) - len(first), expected + chance
    if n_chance < FAR_MORE * (expected + 1.0):
        return labels, ""
    return labels, (
        f"{n_chance} rows have the abundances and errors of an earlier row "
        f"({expected:.2g} expected by chance); they count as different stars. If they "
        "are copies, remove them, or add a column of ids."
    )


def _chance_pairs(distinct: Float[np.ndarray, "star value"], n: int) -> float:
    """Expected pairs of `n` different stars that have the same number in each column.

    Args:
        distinct: numbers of stars without copies.
        n: stars.
    """
    pairs = len(distinct) * (len(distinct) - 1) / 2.0
    chance = n * (n - 1) / 2.0
    for column in distinct.T:
        counts = np.unique(column, return_counts=True)[1].astype(float)
        chance *= ((counts * (counts - 1) / 2.0).sum() + 1.0) / (pairs + 1.0)
    return chance
