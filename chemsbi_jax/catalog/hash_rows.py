"""Lines of a text table: their cells, and rows that begin with `#`."""

import csv
import re

_NAMES_OF_NONE = ("nan", "inf", "-inf", "+inf", "infinity")


def split(line: str, delimiter: str) -> list[str]:
    """Cells of a line, without blanks around them; quotes are honoured."""
    if '"' in line:
        (cells,) = csv.reader(
            [line.strip(" ")], delimiter=delimiter, skipinitialspace=True
        )
    elif delimiter == " ":
        cells = line.split()
    else:
        cells = line.split(delimiter)
    return [cell.strip() for cell in cells]


def is_number(cell: str) -> bool:
    """Whether a cell is a number, with a point or a comma."""
    text = cell.strip('" ').replace(",", ".")
    if text.lower() in _NAMES_OF_NONE:
        return True
    return bool(re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?", text))


def without_comments(
    lines: list[str], n_cells: int, delimiter: str
) -> tuple[list[str], list[str]]:
    """Rows without comments; a row whose id begins with '#' is no comment."""
    marked = [i for i, line in enumerate(lines) if line.lstrip().startswith("#")]
    if not marked:
        return lines, []
    plain = [line for line in lines if not line.lstrip().startswith("#")]
    shapes = {_shape(split(line, delimiter)[0]) for line in plain}
    rows, doubtful, kept = set(), 0, []
    for i in marked:
        cells = split(lines[i], delimiter)
        if cells[-1] == "" and len(cells) == n_cells + 1:  # a delimiter at the end
            cells = cells[:-1]
        if len(cells) != n_cells or n_cells < 2:
            continue
        if _shape(cells[0].lstrip("# ")) in shapes:
            doubtful += 1
        else:
            rows.add(i)
    kept = [
        x for i, x in enumerate(lines) if i in rows or not x.lstrip().startswith("#")
    ]
    notes = []
    if rows:
        notes.append(
            f"{len(rows)} rows begin with '#' and have a cell for each column: the '#' "
            "was taken as part of the id."
        )
    if doubtful:
        notes.append(
            f"Warning: {doubtful} lines that begin with '#' have a cell for each "
            "column, and were taken as comments. If they are stars, put their ids "
            "in quotes."
        )
    return kept, notes


def _shape(cell: str) -> str:
    """Kinds of characters: 'S0012' and 'S7' are both 'A9', and '0.12' is a number."""
    if is_number(cell):
        return "number"
    return re.sub(r"[A-Za-z]+", "A", re.sub(r"\d+", "9", cell.strip('" ')))


def quote_hashes(text: str) -> str:
    r"""An ECSV text whose rows that begin with `#` are no comments for its parser.

    >>> quote_hashes("# %ECSV 1.0\nid,fe_h\n#1,0.1").splitlines()[-1]
    '"#1",0.1'
    """
    lines = text.splitlines()
    header = next((i for i, line in enumerate(lines) if line[:1] != "#"), len(lines))
    rows = (re.sub(r"^(#[^,\s]*)", r'"\1"', line) for line in lines[header:])
    return "\n".join([*lines[:header], *rows])
