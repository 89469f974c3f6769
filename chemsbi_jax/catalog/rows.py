"""Rows of a star table that are not used, and stars to be careful with."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax.catalog.column_names import LOGG
from chemsbi_jax.catalog.columns import StarTable, flagged, plain_numbers
from chemsbi_jax.catalog.identity import find_repeats
from chemsbi_jax.catalog.ids import repeated
from chemsbi_jax.catalog.report import Dropped
from chemsbi_jax.catalog.surveys import Survey
from chemsbi_jax.errors import counted
from chemsbi_jax.types import Stars

GIANT_LOGG = 3.5  # dex(cm/s2); stars below have begun to mix up CNO-cycled matter
MIXED = ("c_fe", "n_fe")  # what the first dredge-up changes

Rows = Bool[np.ndarray, " star"]


def find_cuts(
    source: StarTable, survey: Survey | None
) -> tuple[dict[str, Rows], list[str]]:
    """Rows that a survey advises against, by reason; and notes of cuts not made."""
    cuts: dict[str, Rows] = {}
    notes = []
    for cut in survey.cuts if survey else ():
        if not source.has(cut.column):
            notes.append(
                f'The table has no column {cut.column}; the cut "{cut.reason}" was '
                "not applied."
            )
        elif cut.above is not None:  # "not above" is true of NaN too
            cuts[cut.reason] = ~(plain_numbers(source, cut.column) > cut.above)
        else:
            cuts[cut.reason] = flagged(source, cut.column, cut.bits)
    return cuts, notes


def drop_rows(
    source: StarTable,
    cuts: Mapping[str, Rows],
    numbers: tuple[Float[np.ndarray, "star value"], Float[np.ndarray, "star value"]],
) -> tuple[dict[str, int], Dropped, tuple[str, ...]]:
    """Count and list the rows to drop, each with its first reason; and warnings.

    Of the rows of one star (`identity`) that no cut drops, the first one is kept.

    Args:
        source: the table.
        cuts: reason -> rows, in the order of their weight.
        numbers: abundances and their errors.

    Raises:
        CatalogError: all rows have one id.
    """
    ids, n = source.ids, len(source.ids)
    first_reason = np.full(n, -1)
    for code, bad in enumerate(cuts.values()):
        first_reason[bad & (first_reason < 0)] = code
    kept = np.flatnonzero(first_reason < 0)
    names = {key: column for key, column in source.columns.items() if column}
    repeats = find_repeats(
        source.name, source.table, names, source.id_column, numbers, kept
    )
    for code, bad in enumerate(repeats.reasons.values(), len(cuts)):
        first_reason[bad] = code
    texts = [*cuts, *repeats.reasons]
    rows = np.flatnonzero(first_reason >= 0)
    reasons = np.array(texts, dtype=object)[first_reason[rows]]
    counts = np.bincount(first_reason[rows], minlength=len(texts)).tolist()
    return (
        {text: count for text, count in zip(texts, counts, strict=True) if count},
        Dropped(rows + 1, ids[rows], reasons),
        repeats.warnings,
    )


def warn_of_giants(source: StarTable, stars: Stars, used: Rows) -> list[str]:
    """Sentence about giants with C or N, if the table has log g and giants.

    `used` are the rows of the table that `stars` has.
    """
    if not source.has(LOGG):
        return []
    mixed = stars.select(MIXED).observed.any(axis=1)
    n = int((mixed & (plain_numbers(source, LOGG)[used] < GIANT_LOGG)).sum())
    if n == 0:
        return []
    return [
        f"{counted(n, 'star')} with log g below {GIANT_LOGG}: dredge-up changes C and "
        "N in giants, so both differ from those of the gas that the star was born "
        f"from. Leave them out with --without {','.join(MIXED)}."
    ]


def unique_ids(ids: np.ndarray, used: Rows) -> np.ndarray:
    """Ids of the rows in use; one that comes again gets its row's number."""
    kept = ids[used]
    again = repeated(kept)
    if not again.any():
        return kept
    rows = np.char.add(" (row ", (np.flatnonzero(used) + 1).astype(str))
    return np.where(again, np.char.add(np.char.add(kept, rows), ")"), kept)
