"""Names of the rows of a table: what is an id, and what is none."""

import re
from typing import NamedTuple

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Bool

from chemsbi_jax.catalog.cells import column_of, data_of, mask_of
from chemsbi_jax.errors import CatalogError, counted

IDS = ("star_id", "id", "name", "star", "source_id", "object_id", "apogee_id",
       "sobject_id")  # fmt: skip
"""Columns of ids, the first one present."""

NO_ID = ("", "nan", "null", "none", "na", "n/a", "unknown", "no match", "nomatch",
         "masked", "n.a.", "n.d.", "n.n.", "nd", "indef", "nodata", "\\nodata",
         "no data", "missing", "#n/a", "#ref!", "#value!", "#name?", "#null!",
         "#div/0!", "\\n", "<na>", "nat", "anonymous", "anon", "unnamed",
         "unidentified", "undefined", "no name", "noname", "no id", "noid", "not found",
         "not available", "tbd", "tba", "xx", "xxx", "xxxx")  # fmt: skip
"""Words in a column of ids that are none; so is a cell without letter or digit."""
CATALOGUE = r"(gaia(e?dr\d)?|2mass|hip|hd|tic|kic|epic|apogee)?"
NO_NUMBER = re.compile(
    rf"(?<![^\x01])(-\d+(\.0*)?|{CATALOGUE}0+(\.0*)?|9{{3,}}(\.0*)?)(?![^\x01])",
    re.IGNORECASE,
)
SHORTER = 4  # digits by which a mark of "no id" is shorter than the ids
ROUNDED = re.compile(r"[+-]?\d+([.,]\d+)?[eE]\+?\d+")
EXACT = {4: 2.0**24, 8: 2.0**53}  # bytes of a float -> larger integers are rounded
# what different spellings of one id differ in
GAPS = re.compile(r"(?<![\d\s_])[\s_]+|[\s_]+(?![\d\s_])|(?<=[\s_])[\s_]+(?=\d)")
PREFIX = re.compile(
    r"(?<![^\x01])(gaia(e?dr\d[ _]+)?|(2mass|2masx|tmass)j?)(?=\d)|"
    r"(?<![^\x01])(2mj?(?=\d{7})|j(?=\d{6}))",
    re.IGNORECASE,
)
LETTERS = re.compile(r"[^\W\d_]{2,}")  # A1 and a1 may be two stars
DASHES = str.maketrans(dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}\N{HYPHEN}", "-"))
NO_LETTER = re.compile(r"[^\w\x01]|_")
NO_DIGIT, NUMBER = re.compile(r"[^\d\x01]"), re.compile(r"[\d.]")
ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")

Rows = Bool[np.ndarray, " star"]


class Ids(NamedTuple):
    """Names of the rows."""

    ids: np.ndarray  # (star,) strings
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_known: Rows = np.zeros(0, bool)  # rows that have an id


def read_ids(name: str, table: Table, column: str | None) -> Ids:
    """Ids as strings; the row number (from 1) where there is none.

    Not taken as ids: blank and masked cells, `NO_ID`, repeated sentinels (-9999, -1,
    0), and rounded numbers that are repeated (6.91E+18).

    Args:
        name: of the file.
        table: as read.
        column: of the ids; None: rows are counted.

    Raises:
        CatalogError: the column has several numbers a row.
    """
    rows = np.arange(1, len(table) + 1).astype(str)
    if column is None:
        return Ids(rows, is_known=np.zeros(len(rows), bool))
    cells = column_of(table, column)
    if cells.ndim != 1:
        raise CatalogError(f"{name}, column {column!r}: expected one id a row.")
    text, rounded = _id_text(cells)
    row_names = np.char.add("row ", rows)
    if (rounded & repeated(text)).any():
        example = text[np.argmax(rounded & repeated(text))]
        warning = (
            f"{column} has rounded numbers such as {example}, which are no ids, so "
            "each row counts as a star; keep the ids as text or 64-bit integers, to "
            "find stars that are in several rows."
        )
        return Ids(rows, (), (warning,), np.zeros(len(rows), bool))
    blank = np.isin(np.char.lower(text), NO_ID) | (without(NO_LETTER, text) == "")
    marked = _is_mark(text)
    notes = []
    if marked.any():
        example = text[np.argmax(marked)]
        notes.append(
            f"{int(marked.sum())} rows have no id ({column} is {example}): each counts "
            "as a star."
        )
    if blank.any():
        notes.append(
            f"{counted(int(blank.sum()), 'row')} without an id in {column}: each "
            "counts as a star."
        )
    known = ~(blank | marked)
    return Ids(np.where(known, text, row_names), tuple(notes), is_known=known)


def one_spelling(ids: np.ndarray) -> np.ndarray:
    """Ids without what the spellings of one id differ in.

    >>> one_spelling(np.array(["HD  0123", "hd 123", "Gaia DR3 42"])).tolist()
    ['hd123', 'hd123', '42']
    """
    if len(ids) == 0:
        return ids
    text = "\x01".join(ids.tolist()).translate(DASHES)
    text = LETTERS.sub(lambda match: match[0].lower(), text)
    for pattern in (GAPS, PREFIX, ZEROS):
        text = pattern.sub("", text)
    return np.array(text.split("\x01"))


def without(pattern: re.Pattern[str], text: np.ndarray) -> np.ndarray:
    r"""Entries without the matches of a pattern, in one call for all of them.

    The pattern must not match \x01, which separates the entries.
    """
    if len(text) == 0:
        return text
    return np.array(pattern.sub("", "\x01".join(text.tolist())).split("\x01"))


def _is_mark(text: np.ndarray) -> Rows:
    """Which entries are repeated numbers that stand for "no id": -9999, 0, 99999.

    0 and 99999 are more frequent than ids, or shorter by `SHORTER` digits; 0 may also
    be among names.
    """
    unique, inverse, each = np.unique(text, return_inverse=True, return_counts=True)
    may_be = np.isin(_last(unique), ("0", "9", "."))
    may_be |= ~np.char.isalnum(unique.astype("U1"))  # -1
    again = np.flatnonzero((each > 1) & may_be)
    plain = one_spelling(unique[again])
    is_number = (without(NO_NUMBER, plain) == "") & (plain != "")
    again, plain = again[is_number], plain[is_number]
    if len(again) == 0:
        return np.zeros(len(text), bool)
    usual = 1 if len(unique) == 1 else np.median(each)  # each star has as many rows
    lengths = np.char.str_len(without(NO_DIGIT, unique))
    is_name = np.char.str_len(without(NUMBER, unique)) > 0
    is_short = lengths[again] + SHORTER <= np.median(lengths[inverse])
    is_short |= (plain == "0") & (np.median(is_name[inverse]) == 1.0)
    is_short |= np.char.isalpha(plain.astype("U1"))  # HIP 0
    is_minus, least = np.char.startswith(plain, "-"), np.where(is_short, 1, 2) * usual
    often = each[again] > np.where(is_minus, 1, least)
    return np.isin(inverse, again[often])


def _last(text: np.ndarray) -> np.ndarray:
    """The last character of each entry."""
    return np.array([word[-1:] for word in text.tolist()])


def _id_text(cells: Column) -> tuple[np.ndarray, Rows]:
    """Cells as stripped text, and which are rounded numbers."""
    data, masked = data_of(cells), mask_of(cells)
    if data.dtype.kind == "f":
        exact = EXACT.get(data.dtype.itemsize, EXACT[8])
        whole = np.isfinite(data) & (data == np.round(data)) & (np.abs(data) < exact)
        integers = np.where(whole, data, 0).astype(np.int64).astype(str)
        text = np.where(whole, integers, data.astype(str))
        rounded = np.isfinite(data) & (np.abs(data) >= exact)
        text = np.where(np.isfinite(data), text, "")
    else:
        kind = data.dtype.kind
        data = np.char.decode(data, "utf-8", "replace") if kind == "S" else data
        text = np.char.strip(data.astype(str))
        is_text = kind in "SUO"
        rounded = np.array([is_text and bool(ROUNDED.fullmatch(x)) for x in text], bool)
        cut = np.array([len(x) > 16 and x.endswith("000") for x in text], bool)
        rounded |= cut & (cut.mean() > 0.5)  # 15 digits, as a spreadsheet keeps
    return np.where(masked, "", text), rounded & ~masked


def repeated(ids: np.ndarray) -> Rows:
    """Which entries stand in an earlier row already."""
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order[1:]] == ids[order[:-1]]]
    bad = np.zeros(len(ids), bool)
    bad[again] = True
    return bad
