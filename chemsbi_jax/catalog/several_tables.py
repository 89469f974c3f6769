"""Which table of a file with several ones is read."""

from collections.abc import Mapping, Sequence

from chemsbi_jax.catalog.meaning import is_abundance

HDU_NOTE = "hdu_note"
"""Key of a table's meta: which of several tables of the file it is."""


def choose(rows: Mapping[int, int], names: Mapping[int, Sequence[str]]) -> int:
    """The first table with abundances and rows, else with rows, else the first.

    Args:
        rows: number of the table -> number of its rows; at least one table.
        names: number of the table -> names of its columns.
    """
    filled = [i for i, n in rows.items() if n > 0]
    abundant = [i for i in filled if any(map(is_abundance, names[i]))]
    return next(iter([*abundant, *filled, *rows]))
