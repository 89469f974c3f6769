"""Columns beside a value: limits that are followed, and flags that are not."""

from collections.abc import Collection, Mapping

import numpy as np
from astropy.table import Table
from jaxtyping import Bool

from chemsbi_jax.catalog.cell_words import LIMITS
from chemsbi_jax.catalog.cells import column_of, data_of, mask_of
from chemsbi_jax.catalog.columns import StarTable
from chemsbi_jax.catalog.meaning import (
    COUNT,
    FLAG,
    LIMIT,
    LOWER,
    UPPER,
    Meaning,
    is_flag,
    is_further,
    meaning_of,
)

_NONE = (
    "",
    "0",
    "0.0",
    "f",
    "false",
    "n",
    "no",
    "--",
    "nan",
    "=",
    "-",
    "none",
    "masked",
)
_SOME = ("1", "1.0", "t", "true", "y", "yes", "u", "ul", "ll", "l", "limit", "upper",
         "lower")  # fmt: skip
MOST_KINDS = 4  # different values of a flag that are counted in a sentence


def find_limits(
    source: StarTable, key: str
) -> tuple[Bool[np.ndarray, " star"], tuple[str, ...]]:
    """Rows whose value is a limit by its column of marks; and notes.

    Marks are `<` and `>`, 1, true or yes; blank, 0, `=` and false are none. A column
    with any other cell is not followed, and one of flags only with `<` and `>`.
    """
    none = np.zeros(len(source.ids), bool)
    column = source.limits.get(key)
    if column is None:
        return none, ()
    words = _words(source.table, column)
    meaning = meaning_of(column)
    is_limit = meaning is not None and meaning.role == LIMIT
    # 1 in a column of limits is one; in a column of flags it may mean anything
    marked = np.isin(words, _SOME if is_limit else ())
    for mark in LIMITS:
        marked |= np.char.startswith(words, mark)
    is_known = marked | np.isin(words, _NONE)
    if not is_known.all() or not (is_limit or marked.any()):
        return none, ()
    return marked, (f"{column} was followed: it marks limits of {key}.",)


def not_followed(
    source: StarTable, names: Mapping[str, str], followed: Collection[str]
) -> tuple[str, ...]:
    """Columns of flags, limits and signal-to-noise ratios that had no effect.

    A column with one value in all rows is not listed. Each entry has the name, and the
    number of rows of each value if there are few values.
    """
    found = []
    for column in names.values():
        meaning = meaning_of(column)
        if meaning and is_further(column, source.abundances):
            meaning = None
        is_one = is_flag(column) or (
            meaning and _has_marks(source.table, column, meaning)
        )
        if not is_one or column in followed:
            continue
        if column_of(source.table, column).ndim != 1:
            continue
        kinds, counts = np.unique(_words(source.table, column), return_counts=True)
        if len(kinds) < 2:
            continue
        listed = ", ".join(
            f"{kind or 'blank'}: {n} rows"
            for kind, n in zip(kinds.tolist(), counts.tolist(), strict=True)
        )
        found.append(f"{column} ({listed})" if len(kinds) <= MOST_KINDS else column)
    return tuple(found)


def _has_marks(table: Table, column: str, meaning: Meaning) -> bool:
    """Whether a column beside a value marks limits or bad values, by name or content.

    `upper_mg_fe` with true and false is a mark; with numbers it is a percentile.
    """
    if meaning.role in (FLAG, LIMIT):
        return True
    cells = column_of(table, column)
    if meaning.role == COUNT:  # VizieR's n_ is a note
        return cells.ndim == 1 and cells.dtype.kind in "SUO"
    if meaning.role not in (LOWER, UPPER) or cells.ndim != 1:
        return False
    return bool(np.isin(_words(table, column), (*_NONE, *_SOME, *LIMITS)).all())


def _words(table: Table, column: str) -> np.ndarray:
    """Cells as text in lower case; blank where masked."""
    cells = column_of(table, column)
    data = data_of(cells)
    if data.dtype.kind == "S":
        data = np.char.decode(data, "utf-8", "replace")
    words = np.char.lower(np.char.strip(data.astype(str)))
    return np.where(mask_of(cells), "", words)
