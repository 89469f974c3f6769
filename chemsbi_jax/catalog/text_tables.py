"""Tables in text files: which character separates the cells, and where the header is.

The layout is found from the lines; astropy then parses them.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from astropy.io.ascii import convert_numpy
from astropy.table import Table

from chemsbi_jax.catalog.cell_words import is_missing
from chemsbi_jax.catalog.hash_rows import is_number, split, without_comments
from chemsbi_jax.catalog.meaning import is_abundance
from chemsbi_jax.catalog.text_lines import decimal_points, find_delimiter, lines_of
from chemsbi_jax.errors import CatalogError, counted

NOTES = "layout_notes"
"""Key of a table's meta: how its layout was understood, a list of sentences."""

MOST_PRELUDE = 20  # lines before the header
# of a drawn table; VizieR's line under the header has blanks or tabs between
_FRAME = re.compile(r"\s*([+|=][-+|=: ]+|-+(\+-+)+)\s*")
_FOOTER = re.compile(r"\(\d+ rows?\)")  # psql
_SEXTRACTOR = re.compile(r"#\s*\d+\s+[A-Za-z]\S*(\s.*)?")
_UNIT = re.compile(r"\[?(dex|[GM]?yr|\[-\]|sun|log\(.*\))\]?", re.IGNORECASE)


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
    layout = find_layout(lines_of(text))
    body = "\n".join([_join(layout.header, layout.delimiter), *layout.lines, ""])
    table = _read(body, layout.delimiter)
    if len(table) != len(layout.lines):
        _refuse_open_quote(layout.lines)
    if "0x" in body.lower():
        _restore_hexadecimal(table, _read(body, layout.delimiter, as_text=True))
    for name, unit in zip(table.colnames, layout.units, strict=False):
        if unit:
            table[name].unit = unit
    if layout.notes:
        table.meta[NOTES] = layout.notes
    return table


def _read(body: str, delimiter: str, *, as_text: bool = False) -> Any:
    """A table by astropy's parser; with all columns as text, or with types."""
    # of tabs, the other parsers drop the blank cells at the ends of a row
    form = "ascii.tab" if delimiter == "\t" else "ascii.basic"
    more: dict[str, Any] = {} if delimiter == "\t" else {"delimiter": delimiter}
    if as_text:
        more["converters"] = {"*": [convert_numpy(str)]}
    # comments are gone; ids may begin with '#'
    return Table.read(body, format=form, guess=False, comment="\x01", **more)


def _refuse_open_quote(lines: list[str]) -> None:
    """Raise for rows that the parser joined with the next ones."""
    rows = [i for i, line in enumerate(lines, 1) if line.count('"') % 2]
    place = f"row {rows[0]}" if rows else "a row"
    raise CatalogError(
        f'{place} has a quote (") that is not closed, so that the rows after it would '
        "be lost; remove the quote, or close it"
    )


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
    if lines and _FOOTER.fullmatch(lines[-1].strip()):
        lines = lines[:-1]
    lines, prelude = _without_prelude(lines)
    plain = [i for i, line in enumerate(lines) if not line.lstrip().startswith("#")]
    first = plain[0] if plain else len(lines)
    comments, rest = lines[:first], list(lines[first:])
    delimiter = find_delimiter(rest or comments)
    header, units, rest, notes = _find_header(comments, rest, delimiter)
    if len(rest) > 1 and _is_rule(rest[1], delimiter, 2):  # VizieR's tsv
        above = split(rest[0], delimiter)
        if not any(map(is_number, above)):  # else both are stars
            units, rest = above, rest[2:]
    elif rest and _is_rule(rest[0], delimiter, 3):  # "--" may be a star without values
        rest = rest[1:]
    rest, more = without_comments(rest, len(header), delimiter)
    notes += more
    rest, more = decimal_points(rest, delimiter)
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
        mark = find_delimiter(lines[i:])
        filled = _n_filled(names)  # a spreadsheet adds blank cells to a title
        is_title = all(_n_filled(split(x, mark)) != filled for x in before)
        if not before or line.lstrip().startswith("#") or not is_title:
            break
        n, was = counted(len(before), "line"), "was" if len(before) == 1 else "were"
        removed = f"{n} before the column names {was} left out"
        return lines[i:], [f"{removed} ({before[0].strip()[:40]!r})."]
    return lines, []


def _n_filled(cells: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in cells)


def _find_header(
    comments: list[str], rest: list[str], delimiter: str
) -> tuple[list[str], list[str], list[str], list[str]]:
    """Column names, units if they are in a comment, the lines of rows, and notes."""
    if not rest and comments:  # nothing but comments: the last may be a header
        counts = [len(split(line, delimiter)) for line in comments]
        if len(counts) > 2 and counts.count(counts[-1]) > 2 and counts[-1] > 1:
            raise CatalogError(
                f"all {len(counts)} lines begin with '#', as comments do; if they are "
                "stars, put their ids into quotes, or write the column names without "
                "'#'"
            )
        return split(_uncomment(comments[-1]), delimiter), [], [], []
    cells = split(rest[0], delimiter) if rest else []
    found = [split(_uncomment(line), delimiter) for line in comments]
    found = [x for x in found if len(x) == len(cells) and not any(map(is_number, x))]
    names = [x for x in found if any(map(is_abundance, x))]
    has_names = bool(names) and not any(map(is_abundance, cells))
    # the first star may have no value at all, and is then no line of names
    if not any(map(is_number, cells)) and not (has_names and _is_blank(cells)):
        return cells, [], rest[1:], []
    if found:
        header = (names or found)[-1]
        after = found[found.index(header) + 1 :]
        after = [x for x in after if any(map(_UNIT.fullmatch, x))]
        units = after[-1] if after else []
        notes = ["The column names were read from a comment line (#)."]
        return header, units, rest, notes
    hint = "Write the names of the columns into the first line"
    if sum(bool(_SEXTRACTOR.fullmatch(line.strip())) for line in comments) > 1:
        hint = (
            "The comments have one name a line, as SExtractor writes them; convert "
            "with astropy: "
            "Table.read(FILE, format='ascii.sextractor').write('stars.csv')"
        )
    raise CatalogError(
        "no line of column names was found: the first line has numbers "
        f"({rest[0].strip()[:60]!r}). {hint}"
    )


def _is_blank(cells: Sequence[str]) -> bool:
    """Whether all cells but the first, the id, are words for "missing"."""
    return bool(is_missing(np.array(cells[1:] or [""])).all())


def _uncomment(line: str) -> str:
    return line.lstrip().lstrip("#").strip(" ")  # a tab at the start is a blank cell


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
            f"has {len(header)}{_guess_cause(len(header), counts, lines, delimiter)}"
        )
    return header, lines, notes


def _guess_cause(
    n_header: int, counts: np.ndarray, lines: list[str], delimiter: str
) -> str:
    if (counts == n_header + 1).all() and _has_index(lines, delimiter):
        return (
            ": the numbers of the rows stand in a column without a name, as pandas and "
            "R write them; write the table with index=False or row.names=FALSE"
        )
    if delimiter == " " and counts.max() > n_header:
        return "; a name with a blank in it (HD 1234) needs quotes or an underscore"
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


def _has_index(lines: list[str], delimiter: str) -> bool:
    """Whether the rows begin with 0, 1, 2, ... or 1, 2, 3, ..."""
    first = [split(line, delimiter)[0].strip('"') for line in lines]
    counted = ([str(i + n) for i in range(len(first))] for n in (0, 1))
    return len(first) > 1 and first in counted


def _without_last(line: str, delimiter: str, n_cells: int) -> str:
    if _count(line, delimiter) <= n_cells:
        return line
    return line.rstrip(" \r").removesuffix(delimiter)


def _count(line: str, delimiter: str) -> int:
    if '"' in line or delimiter == " ":
        return len(split(line, delimiter))
    return line.count(delimiter) + 1


def _is_rule(line: str, delimiter: str, least: int) -> bool:
    """Whether a line has dashes in each cell, in one of them `least` or more."""
    cells = split(line, delimiter)
    is_drawn = bool(cells) and all(re.fullmatch(r"[-=]+", cell) for cell in cells)
    return is_drawn and max(map(len, cells)) >= least


def _join(cells: Sequence[str], delimiter: str) -> str:
    """A line of cells, quoted where they hold the delimiter or a quote."""
    quoted = []
    for cell in cells:
        special = delimiter in cell or '"' in cell or not cell
        quoted.append('"' + cell.replace('"', '""') + '"' if special else cell)
    return delimiter.join(quoted)
