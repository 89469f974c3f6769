"""Lines of a text file, the character between the cells, and decimal commas."""

import re
from collections.abc import Sequence

import numpy as np

from chemsbi_jax.catalog.hash_rows import split

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
_SAMPLE = 50  # lines that show the layout
_MOST_JOINED = 20  # lines of one cell
# splitlines() of Python also splits at these, which stand inside cells
_INSIDE = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_OPEN = re.compile(r'(?:^|[,;|\t])[ ]*"[^"]*$')
_DECIMAL = re.compile(
    r'(?<![^;\t|])(\s*"?[+-]?\d*),(\d+(?:[eE][+-]?\d+)?"?\s*)(?=[;\t|]|$)'
)
_QUOTED = re.compile(r'(?<![^,])(\s*"[+-]?\d*),(\d+(?:[eE][+-]?\d+)?"\s*)(?=,|$)')
_POINT = re.compile(
    r'(?<![^,;\t|])\s*"?[+-]?\d*\.\d+(?:[eE][+-]?\d+)?"?\s*(?=[,;\t|]|$)'
)
_THOUSANDS = re.compile(r'\s*"?[+-]?[1-9]\d{0,2},\d{3}"?\s*')


def lines_of(text: str) -> list[str]:
    """Lines of a text; a line break inside a quoted cell becomes a blank."""
    lines = [_INSIDE.sub(" ", line) for line in re.split(r"\r\n|\r|\n", text)]
    joined: list[str] = []
    i = 0
    while i < len(lines):
        n = _n_joined(lines[i : i + _MOST_JOINED]) if '"' in lines[i] else 1
        joined.append(" ".join(lines[i : i + n]))
        i += n
    return joined


def _n_joined(lines: Sequence[str]) -> int:
    """How many of these lines are one row: those up to the end of an open quote.

    A line with as many delimiters as the first one is a row of its own, and the quote
    a mark such as that of inches.
    """
    if not _OPEN.search(lines[0].replace('""', "")):
        return 1
    most = max(map(lines[0].count, DELIMITERS))
    for n, line in enumerate(lines[1:], 2):
        if most and max(map(line.count, DELIMITERS)) >= most:
            return 1
        if line.count('"') % 2:
            return n
    return 1


def find_delimiter(lines: Sequence[str]) -> str:
    """The character that stands equally often in most lines; a space if none does.

    Of two that do, the one with more cells.
    """
    sample = [line for line in lines[:_SAMPLE] if not line.lstrip().startswith("#")]
    sample = sample or list(lines[:_SAMPLE])
    best, most = " ", (0.0, 0)
    for delimiter in DELIMITERS:
        counts = np.array([len(split(line, delimiter)) - 1 for line in sample])
        header = int(counts[0])
        if header == 0 or np.mean(counts > 0) <= 0.5:  # one comma in a name
            continue
        alike = float(np.mean(np.abs(counts - header) <= 1))
        # decimal commas are many, but there is none in the header
        if (alike, header) > most:
            best, most = delimiter, (alike, header)
    return best


def decimal_points(lines: list[str], delimiter: str) -> tuple[list[str], list[str]]:
    """Lines with decimal points in place of commas, and a note.

    Between commas, only quoted cells can have decimal commas. Where some numbers have
    points, a cell such as 4,500 may be 4500 and stays as it is, unless its column has
    decimal commas that are no thousands (0,5): it is refused if its column is read.
    """
    form = _QUOTED if delimiter == "," else _DECIMAL
    if delimiter == " " or not any(map(form.search, lines)):
        return lines, []
    has_points = any(map(_POINT.search, lines))
    if delimiter == "," and has_points:
        return lines, []

    def place_of(cell: re.Match[str]) -> int:
        return cell.string.count(delimiter, 0, cell.start())

    found = (cell for line in lines if has_points for cell in form.finditer(line))
    decimal = {place_of(cell) for cell in found if not _THOUSANDS.fullmatch(cell[0])}

    def to_point(cell: re.Match[str]) -> str:
        may_be_large = has_points and _THOUSANDS.fullmatch(cell[0])
        if may_be_large and place_of(cell) not in decimal:
            return cell[0]
        return f"{cell[1]}.{cell[2]}"

    changed = [form.sub(to_point, line) for line in lines]
    if changed == lines:
        return lines, []
    return changed, [
        f"The cells are separated by {DELIMITERS[delimiter]}; decimal commas were read "
        "as points."
    ]
