"""Columns beside a value: limits that are applied, and flags that are not."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

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

_NONE = ("", "0", "0.0", "f", "false", "n", "no", "--", "nan", "=", "-", "none",
         "masked", "detection", "detected", "measured", "measurement")  # fmt: skip
_SOME = ("1", "1.0", "t", "true", "y", "yes", "u", "ul", "ll", "l", "limit", "upper",
         "lower", "uplim", "upper limit", "upperlimit", "upper_limit", "upper-limit",
         "lower limit", "lowerlimit", "lower_limit", "lower-limit")  # fmt: skip
_OF_LIMITS = ("upper limit", "lower limit", "upperlimit", "lowerlimit", "upper-limit",
              "lower-limit", "non-detection", "nondetection",
              "not detected")  # fmt: skip
"""What a remark about a value that was not measured has."""
MOST_KINDS = 4  # different values of a flag that are counted in a sentence


class Limits(NamedTuple):
    """Limits by a column of marks."""

    rows: Bool[np.ndarray, " star"]
    notes: tuple[str, ...] = ()  # empty if the column was not applied
    warnings: tuple[str, ...] = ()


def find_limits(source: StarTable, key: str) -> Limits:
    """Rows whose value is a limit by its column of marks.

    Marks are `<` and `>`, 1, true or yes; blank, 0, `=` and false are none. A column
    with any other cell is applied at `<` and `>` only, with a warning, and so is one
    of flags.
    """
    none = np.zeros(len(source.ids), bool)
    column = source.limits.get(key)
    if column is None:
        return Limits(none)
    words = _words(source.table, column)
    meaning = meaning_of(column)
    is_limit = meaning is not None and meaning.role == LIMIT
    signs = none.copy()
    for mark in LIMITS:
        signs |= np.char.startswith(words, mark)
    # 1 in a column of limits is one; in a column of flags it may mean anything
    marked = signs | np.isin(words, _SOME if is_limit else ())
    is_known = marked | np.isin(words, _NONE)
    if is_known.all() and (is_limit or marked.any()):
        return Limits(marked, (f"{column} was applied: it marks limits of {key}.",))
    if not signs.any():
        return Limits(none)
    rest = _count(words[~(signs | np.isin(words, _NONE))])
    note = f"{column} was applied where it has < or >: it marks limits of {key}."
    warning = f"{column} was applied at < and > only; not applied: {rest}."
    return Limits(signs, (note,), (warning,))


def _count(words: np.ndarray) -> str:
    """The different words and their numbers, or how many words there are."""
    kinds, counts = np.unique(words, return_counts=True)
    if len(kinds) > MOST_KINDS:
        return f"{len(kinds)} other marks in {len(words)} rows"
    pairs = zip(kinds.tolist(), counts.tolist(), strict=True)
    return ", ".join(f"{kind or 'blank'}: {n} rows" for kind, n in pairs)


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
            _has_marks(source.table, column, meaning)
            if meaning
            else _has_remarks(source, column)
        )
        if not is_one or column in followed:
            continue
        if column_of(source.table, column).ndim != 1:
            continue
        words = _words(source.table, column)
        kinds = np.unique(words)
        if len(kinds) < 2:
            continue
        is_short = len(kinds) <= MOST_KINDS
        found.append(f"{column} ({_count(words)})" if is_short else column)
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


def _has_remarks(source: StarTable, column: str) -> bool:
    """Whether a column of text says of some rows that a value is a limit."""
    cells = column_of(source.table, column)
    is_text = cells.ndim == 1 and cells.dtype.kind in "SUO"
    if not is_text or column == source.id_column:
        return False
    words = _words(source.table, column)
    return any(bool((np.char.find(words, text) >= 0).any()) for text in _OF_LIMITS)


def _words(table: Table, column: str) -> np.ndarray:
    """Cells as text in lower case; blank where masked."""
    cells = column_of(table, column)
    data = data_of(cells)
    if data.dtype.kind == "S":
        data = np.char.decode(data, "utf-8", "replace")
    words = np.char.lower(np.char.strip(data.astype(str)))
    return np.where(mask_of(cells), "", words)
