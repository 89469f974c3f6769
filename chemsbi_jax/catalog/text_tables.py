"""Tables in text files: which character separates the cells, and where the header is.

The layout is found from the lines; astropy then parses them.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from astropy.io.ascii import convert_numpy
from astropy.table import Table

from chemsbi_jax.catalog.hash_rows import is_number, split, without_comments
from chemsbi_jax.catalog.meaning import is_abundance
from chemsbi_jax.errors import CatalogError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
NOTES = "layout_notes"
"""Key of a table's meta: how its layout was understood, a list of sentences."""

MOST_PRELUDE = 20  # lines before the header
_SAMPLE = 50  # lines that show the layout
_DECIMAL = re.compile(
    r"(?<![^;\t|])(\s*[+-]?\d*),(\d+(?:[eE][+-]?\d+)?\s*)(?=[;\t|]|$)"
)
# of a drawn table; VizieR's line under the header has blanks or tabs between
_FRAME = re.compile(r"\s*[+|=][-+|=: ]+\s*")


class Layout(NamedTuple):
    """A text table, ready for a parser."""

    delimiter: str
    header: list[str]
    units: list[str]  # one a column, or none at all
    lines: list[str]  # of the rows
    notes: list[str]


def parse_text(text: str) -> Table:
    """A delimited text table with a line of column names.

    Cells are separated by commas, semicolons, tabs, pipes or spaces. The header may
    stand in a comment (`# fe_h, e_fe_h`, as `numpy.savetxt` and TOPCAT write it).
    Decimal commas become points where the cells are not separated by commas.

    Raises:
        CatalogError: there is no header, or a row has another number of cells.
        ValueError: as astropy's parser.
    """
    layout = find_layout(text.splitlines())
    body = "\n".join([_join(layout.header, layout.delimiter), *layout.lines, ""])
    table = _read(body, layout.delimiter)
    if "0x" in body.lower():
        _restore_hexadecimal(table, _read(body, layout.delimiter, as_text=True))
    for name, unit in zip(table.colnames, layout.units, strict=False):
        if unit:
            table[name].unit = unit
    if layout.notes:
        table.meta[NOTES] = layout.notes
    return table


def _read(body: str, delimiter: str, *, as_text: bool = False) -> Table:
    """A table by astropy's parser; with all columns as text, or with types."""
    # of tabs, the other parsers drop the blank cells at the ends of a row
    form = "ascii.tab" if delimiter == "\t" else "ascii.basic"
    more = {} if delimiter == "\t" else {"delimiter": delimiter}
    if as_text:
        more["converters"] = {"*": [convert_numpy(str)]}
    # comments are gone; ids may begin with '#'
    return Table.read(body, format=form, guess=False, comment="\x01", **more)


def _restore_hexadecimal(table: Table, text: Table) -> None:
    """Columns with cells such as 0x1, which astropy reads as 1.0, as text in place."""
    for name in table.colnames:
        cells = np.char.lower(np.asarray(text[name]).astype(str))
        if np.char.startswith(np.char.lstrip(cells, "+- "), "0x").any():
            table[name] = text[name]


def find_layout(lines: Sequence[str]) -> Layout:
    """Delimiter, header, units and rows of a text table; see `parse_text`."""
    lines = [line for line in lines if line.strip() and not _FRAME.fullmatch(line)]
    if lines and all(line.strip().startswith("|") for line in lines):  # fixed width
        lines = [line.strip().strip("|") for line in lines]
    if lines and re.fullmatch(r"sep=.", lines[0].strip()):  # Excel's
        lines = lines[1:]
    lines, prelude = _without_prelude(lines)
    plain = [i for i, line in enumerate(lines) if not line.lstrip().startswith("#")]
    first = plain[0] if plain else len(lines)
    comments, rest = lines[:first], list(lines[first:])
    delimiter = _find_delimiter(rest or comments)
    header, rest, notes = _find_header(comments, rest, delimiter)
    units: list[str] = []
    if len(rest) > 1 and _is_rule(split(rest[1], delimiter)):  # VizieR's tsv
        units, rest = split(rest[0], delimiter), rest[2:]
    elif rest and _is_rule(split(rest[0], delimiter)):
        rest = rest[1:]
    rest, more = without_comments(rest, len(header), delimiter)
    notes += more
    rest, more = _decimal_points(rest, delimiter)
    notes += more
    header, rest, more = _same_number_of_cells(header, rest, delimiter)
    return Layout(delimiter, header, units, rest, [*prelude, *notes, *more])


def _without_prelude(lines: list[str]) -> tuple[list[str], list[str]]:
    """Lines without those before the header, as a title; and a note.

    The header is the first line with names of abundances.
    """
    for i, line in enumerate(lines[:MOST_PRELUDE]):
        by_mark = re.split(r"[,;|\t]", line)
        names = by_mark if len(by_mark) > 1 else line.split()
        if sum(map(is_abundance, names)) < min(2, len(names)):
            continue
        before = [x for x in lines[:i] if not x.lstrip().startswith("#")]
        mark = _find_delimiter(lines[i:])
        is_title = all(len(split(x, mark)) != len(names) for x in before)
        if not before or line.lstrip().startswith("#") or not is_title:
            break
        removed = f"{len(before)} lines before the column names were left out"
        return lines[i:], [f"{removed} ({before[0].strip()[:40]!r})."]
    return lines, []


def _find_delimiter(lines: Sequence[str]) -> str:
    """The character that stands equally often in most lines; a space if none does."""
    sample = [line for line in lines[:_SAMPLE] if not line.lstrip().startswith("#")]
    sample = sample or list(lines[:_SAMPLE])
    best, most = " ", 0.0
    for delimiter in DELIMITERS:
        counts = np.array([len(split(line, delimiter)) - 1 for line in sample])
        header = counts[0]
        if header == 0:
            continue
        alike = float(np.mean(np.abs(counts - header) <= 1))
        # decimal commas are many, but there is none in the header
        if alike > most:
            best, most = delimiter, alike
    return best


def _find_header(
    comments: list[str], rest: list[str], delimiter: str
) -> tuple[list[str], list[str], list[str]]:
    """Column names, the lines after them, and notes."""
    if not rest and comments:  # nothing but comments: the last may be a header
        counts = [len(split(line, delimiter)) for line in comments]
        if len(counts) > 2 and counts.count(counts[-1]) > 2 and counts[-1] > 1:
            raise CatalogError(
                f"all {len(counts)} lines begin with '#', as comments do; if they are "
                "stars, put their ids into quotes, or write the column names without "
                "'#'"
            )
        return split(_uncomment(comments[-1]), delimiter), [], []
    cells = split(rest[0], delimiter) if rest else []
    if not any(is_number(cell) for cell in cells):
        return cells, rest[1:], []
    for line in reversed(comments):
        names = split(_uncomment(line), delimiter)
        if len(names) == len(cells) and not any(is_number(name) for name in names):
            return names, rest, ["The column names were read from a comment line (#)."]
    raise CatalogError(
        "no line of column names was found: the first line has numbers "
        f"({rest[0].strip()[:60]!r}). Write the names of the columns into the first "
        "line"
    )


def _uncomment(line: str) -> str:
    return line.strip().lstrip("#").strip()


def _decimal_points(lines: list[str], delimiter: str) -> tuple[list[str], list[str]]:
    if delimiter not in (";", "\t", "|") or not any(map(_DECIMAL.search, lines)):
        return lines, []
    lines = [_DECIMAL.sub(r"\1.\2", line) for line in lines]
    return lines, [
        f"The cells are separated by {DELIMITERS[delimiter]}; decimal commas were read "
        "as points."
    ]


def _same_number_of_cells(
    header: list[str], lines: list[str], delimiter: str
) -> tuple[list[str], list[str], list[str]]:
    """Header and rows alike; refuses rows with too few or too many cells.

    A delimiter at the end of each row that the header lacks is left out.
    """
    counts = np.array([_count(line, delimiter) for line in lines], int)
    notes: list[str] = []
    if len(header) > 1 and header[-1] == "":  # the header has such a delimiter too
        header = header[:-1]
        counts = np.where(counts == len(header), counts + 1, counts)
        lines = [_without_last(x, delimiter, len(header)) for x in lines]
        counts -= 1
    elif len(counts) and (counts == len(header) + 1).all():
        ends = [split(line, delimiter)[-1] for line in lines]
        if not any(ends):
            lines = [_without_last(x, delimiter, len(header)) for x in lines]
            counts -= 1
            notes = [
                "Each row ends with a delimiter that the header lacks; the empty last "
                "cells were left out."
            ]
    bad = np.flatnonzero(counts != len(header))
    if len(bad):
        first = int(bad[0])
        raise CatalogError(
            f"row {first + 1} of {len(counts)} has {counts[first]} cells, the header "
            f"has {len(header)}{_guess_cause(len(header), counts, delimiter)}"
        )
    return header, lines, notes


def _guess_cause(n_header: int, counts: np.ndarray, delimiter: str) -> str:
    if (counts > n_header).all() and delimiter == "," and n_header > 1:
        return (
            "; if the numbers have decimal commas, save the table with semicolons "
            "between the cells, or with decimal points"
        )
    if counts[-1] < n_header and (counts[:-1] == n_header).all():
        return ": the file is cut short, or its last line is a note: remove it"
    if (counts == counts[0]).all():
        return (
            f"; all rows have {counts[0]} cells, so a name is missing in the header or "
            "is extra"
        )
    return "; complete this row, with empty cells for missing values"


def _without_last(line: str, delimiter: str, n_cells: int) -> str:
    if _count(line, delimiter) <= n_cells:
        return line
    return line.rstrip(" \r").removesuffix(delimiter)


def _count(line: str, delimiter: str) -> int:
    if '"' in line or delimiter == " ":
        return len(split(line, delimiter))
    return line.count(delimiter) + 1


def _is_rule(cells: Sequence[str]) -> bool:
    return bool(cells) and all(re.fullmatch(r"[-=]{1,}", cell) for cell in cells)


def _join(cells: Sequence[str], delimiter: str) -> str:
    """A line of cells, quoted where they hold the delimiter or a quote."""
    quoted = []
    for cell in cells:
        special = delimiter in cell or '"' in cell or not cell
        quoted.append('"' + cell.replace('"', '""') + '"' if special else cell)
    return delimiter.join(quoted)
