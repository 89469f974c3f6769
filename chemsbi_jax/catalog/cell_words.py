"""Cells of text columns: numbers, words for "missing", limits, and what is neither."""

import re

import numpy as np

LIMITS = ("<", ">", "\N{LESS-THAN OR EQUAL TO}", "\N{GREATER-THAN OR EQUAL TO}",
          "\N{LESS-THAN OR SLANTED EQUAL TO}", "\N{GREATER-THAN OR SLANTED EQUAL TO}",
          "\N{LESS-THAN OVER EQUAL TO}", "\N{GREATER-THAN OVER EQUAL TO}",
          "\N{LESS-THAN OR EQUIVALENT TO}",
          "\N{GREATER-THAN OR EQUIVALENT TO}")  # fmt: skip
"""What a cell with a limit begins with."""
LIMIT_WORDS = ("ul", "ll")
"""Whole cells that mark an upper or lower limit."""

MISSING_WORDS = ("", "nan", "null", "none", "na", "n/a", "n.a.", "n.a", "n.d.", "--",
                 "-", "...", "indef", "nodata", "\\nodata", "*", "?",
                 "\N{HORIZONTAL ELLIPSIS}", "\N{EN DASH}", "\N{EM DASH}", "missing",
                 "---", "#n/a", "\\n", "masked", ".", "~", "no data", "<na>", "nat",
                 "#num!", "#div/0!", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind",
                 "1.#inf", "-1.#inf")  # fmt: skip
"""Lower case; those with # are of spreadsheets and of C on Windows."""

MINUS = (
    "\N{MINUS SIGN}",
    "\N{EN DASH}",
    "\N{HYPHEN}",
    "\N{NON-BREAKING HYPHEN}",
    "\N{FIGURE DASH}",
    "\N{SMALL HYPHEN-MINUS}",
    "\N{FULLWIDTH HYPHEN-MINUS}",
)
UNITS = ("dex", "gyr", "myr", "yr", "mag", "k", "km/s")

_EXCEL = re.compile(r'="([^"]*)"')  # keeps Excel from converting the cell
_FORTRAN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)")
_HEXADECIMAL = re.compile("0x[0-9a-f]+")
_NOT_DECIMAL = re.compile("[_xX]")  # Python reads 0_1 and 0x1
_VALUE = r"[+-]?\d*[.,]?\d+"
_CAUSES = {
    r".*\d *(±|\+/?-|\(\d).*": "split the value and its error into two columns",
    rf"\+{_VALUE} ?/? ?-{_VALUE}": "split upper and lower error into two columns, "
    "E_NAME and e_NAME, or give their mean",
    rf"\({_VALUE}\)|\[{_VALUE}\]": "remove the brackets if the value is to be used, or "
    "empty the cell",
    rf"{_VALUE} ?[*:†‡?a-d]": "remove the mark behind the number, or empty the cell if "
    "the mark means that the value is bad",
    rf"{_VALUE} ?%": "convert percent to dex, and write the number without its unit",
    rf"{_VALUE} ?[A-Za-z/]+": "write the number without its unit",
    r"[+-]?\d+,\d+": "if this is a decimal comma, write a point; else remove the comma",
}  # fmt: skip
"""Form of a cell -> remedy."""


def number_text(cells: np.ndarray) -> np.ndarray:
    """Texts with plain minus signs, powers of ten as 1e-2, without Excel's ="..."."""
    text = np.char.strip(cells)
    for mark in MINUS:
        text = np.char.replace(text, mark, "-")
    odd = np.flatnonzero(np.char.startswith(text, '="'))
    odd = np.union1d(odd, np.flatnonzero(np.char.find(np.char.lower(text), "d") > 0))
    for i in odd:
        cell = _EXCEL.sub(r"\1", str(text[i])).strip()
        text[i] = _FORTRAN.sub(r"\1e\2", cell) if _FORTRAN.fullmatch(cell) else cell
    return text


def is_missing(text: np.ndarray) -> np.ndarray:
    """Which texts are words for "missing"."""
    return np.isin(np.char.lower(text), MISSING_WORDS)


def is_limit(text: np.ndarray) -> np.ndarray:
    """Which texts are limits: <0.3, < or UL."""
    begins = [np.char.startswith(text, mark) for mark in LIMITS]
    return np.any(begins, axis=0) | np.isin(np.char.lower(text), LIMIT_WORDS)


def is_decimal(text: str) -> bool:
    """Whether a text is a decimal number; 0x1 and 0_1, which Python reads, are none."""
    try:
        float(text)
    except ValueError:
        return False
    return not _NOT_DECIMAL.search(text)


def to_floats(text: np.ndarray) -> np.ndarray:
    """Numbers of the texts.

    Raises:
        ValueError: one is no decimal number.
    """
    for mark in ("_", "x", "X"):
        if (np.char.find(text, mark) >= 0).any():
            raise ValueError(mark)
    return text.astype(np.float64)


def decimal_flags(words: np.ndarray) -> np.ndarray:
    """Texts of flags, with decimal numbers in place of hexadecimal ones (0x80)."""
    odd = np.flatnonzero(np.char.startswith(words, "0x"))
    words = words.astype(object)
    for i in odd:
        if _HEXADECIMAL.fullmatch(words[i]):
            words[i] = str(int(words[i], 16))
    return words.astype(str)


def remedy_of(cell: str, column: str) -> str:
    """What to do about a cell that is no number.

    Args:
        cell: its text.
        column: name of its column in the file.
    """
    if cell.lower() == column.strip().lower():
        return "if this is a second line of column names, remove it"
    if cell.lower().strip("()[]") in UNITS:
        return "if this is a line of units under the header, remove it"
    for form, remedy in _CAUSES.items():
        if re.fullmatch(form, cell):
            return remedy
    return "give a number, or an empty cell if it is missing"
