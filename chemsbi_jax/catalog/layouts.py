"""Tables that are not one number a cell and one star a row."""

import re
from collections.abc import Sequence

import numpy as np
from astropy.table import Table

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.fits_tables import SYMBOLS
from chemsbi_jax.catalog.meaning import is_abundance
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import CatalogError

_VECTORS = {"x_h": "{}_H", "x_h_err": "{}_H_ERR", "elemflag": "{}_H_FLAG",
            "x_h_flag": "{}_H_FLAG"}  # fmt: skip
_LIKE = re.compile(r"^\[?(x[_/](h|m|fe)|f?elem|abund\w*|x_h_\w+)\]?", re.IGNORECASE)
# not spec and x, which also hold spectral classes: F, G, K
_SPECIES_NAMES = ("species", "element", "elem", "ion", "el", "atom", "element_name",
                  "element_symbol")  # fmt: skip
_CODE_NAMES = ("species", "atom", "ion", "element", "z", "atomic_number", "z_elem")
_IRON = ("fe", "[fe")
_CODE = re.compile(r"([1-9]|[1-8]\d|9[0-2])(\.[01]0*)?")
MAX_QUANTITIES = 200  # rows of a table with one for each abundance and its error
_SPECIES = re.compile(r"[A-Z][a-z]?[ _]?(I{1,3}|[12])?")


def split_vectors(
    table: Table, abundances: Sequence[str] = ABUNDANCES
) -> tuple[list[str], list[str]]:
    """Columns for the elements of APOGEE's vectors, added in place; notes, warnings.

    X_H and X_H_ERR are split where the file names their elements (ELEM_SYMBOL) and
    there are no such columns yet; other vectors are named.
    """
    lower = {name.lower(): name for name in table.colnames}
    symbols = [str(symbol).upper() for symbol in (table.meta or {}).get(SYMBOLS, [])]
    notes, unread = [], []
    for key, name in lower.items():
        cells = column_of(table, name)
        if cells.ndim != 2:
            continue
        if key in _VECTORS and cells.shape[1] == len(symbols) and "mg_fe" not in lower:
            _split(table, name, _VECTORS[key], symbols, abundances)
            notes.append(f"{name} was split by ELEM_SYMBOL.")
        elif _LIKE.match(key) and not {"mg_fe", "mg_h", "o_fe", "o_h"} & set(lower):
            unread.append(f"Not read: {how_to_split(name, cells.shape[1])}")
    return notes, unread


def how_to_split(name: str, n: int) -> str:
    """Sentence about a column with several numbers in each row."""
    lower = name.lower()
    key = "mg_fe" if "fe" in lower and "_h" not in lower else "mg_h"
    key = f"e_{key}" if "err" in lower else key
    return (
        f"{name} holds {n} numbers in each row; make a column for each element with "
        f"astropy, such as t['{key}'] = t['{name}'][:, i], where i is the index of the "
        "element in the array."
    )


def hint_of_vectors(table: Table, names: Sequence[str]) -> str:
    """Sentence about the first of these columns with arrays in its cells, or ""."""
    for name in names:
        cells = column_of(table, name)
        if cells.ndim == 2:
            return f" {how_to_split(name, cells.shape[1])}"
    return ""


def _split(
    table: Table,
    name: str,
    pattern: str,
    symbols: list[str],
    abundances: Sequence[str],
) -> None:
    elements = {abundance.split("_")[0].upper() for abundance in abundances}
    taken = {column.lower() for column in table.colnames}
    for i, symbol in enumerate(symbols):
        column = pattern.format(symbol)
        if symbol in elements and column.lower() not in taken:
            table[column] = np.asarray(table[name])[:, i]


def refuse_transposed(file: str, table: Table) -> None:
    """Raise for a table with a row for each abundance and a column for each star.

    Raises:
        CatalogError: the first column holds the names of abundances.
    """
    if not table.colnames:  # refused later, for want of abundances
        return
    first = table.colnames[0]
    cells = column_of(table, first)
    is_text = cells.ndim == 1 and cells.dtype.kind in "SUO"
    if not is_text or len(cells) > MAX_QUANTITIES:
        return
    found = [word for word in np.asarray(cells).astype(str) if is_abundance(word)]
    if len(found) > 1 and not any(is_abundance(name) for name in table.colnames[1:]):
        raise CatalogError(
            f"{file}: column {first!r} holds the names of abundances "
            f"({', '.join(found[:4])}), so the rows are abundances and the columns are "
            "stars; expected one star a row. With pandas: "
            f"df.set_index({first!r}).T transposes the table."
        )


def refuse_one_row(file: str, table: Table) -> None:
    """Raise for one row whose cells are arrays over the stars, as IDL writes them.

    Raises:
        CatalogError: two columns or more, one of an abundance, have arrays of one
            length.
    """
    shapes = {name: column_of(table, name).shape for name in table.colnames}
    arrays = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    if len(table) != 1 or len(arrays) < 2 or not any(map(is_abundance, arrays)):
        return
    if len(set(arrays.values())) == 1:
        n = next(iter(arrays.values()))[1]
        raise CatalogError(
            f"{file}: the table has one row, whose cells are arrays of {n} values, as "
            "IDL writes a structure of arrays; expected one star a row. With astropy: "
            "Table({c: t[c][0] for c in t.colnames}).write('stars.fits')."
        )


def refuse_long_layout(file: str, table: Table) -> None:
    """Raise for a table with one row for each element of each star.

    Raises:
        CatalogError: a column holds the names of elements, also of a transposed table,
            or the table has one row, with the stars in arrays.
    """
    refuse_one_row(file, table)
    refuse_transposed(file, table)
    for name in table.colnames:
        cells = column_of(table, name)
        is_known = name.strip().lower() in (*_SPECIES_NAMES, *_CODE_NAMES)
        if cells.ndim != 1 or not (is_known or cells.dtype.kind in "SUO"):
            continue
        found, counts = np.unique(np.asarray(cells).astype(str), return_counts=True)
        words = [str(word).strip() for word in found]
        is_code = all(_CODE.fullmatch(word) for word in words)  # 26.1 is Fe II
        is_code &= name.strip().lower() in _CODE_NAMES
        is_name = all(_SPECIES.fullmatch(word) for word in words)
        if name.strip().lower() not in _SPECIES_NAMES:  # letters may be other things
            is_name = all(_SPECIES.fullmatch(w) or is_abundance(w) for w in words)
            is_name &= any(word.lower().startswith(_IRON) for word in words)
            is_name &= bool((counts > 1).all())
            is_code &= len(words) < len(table) and "26" in {
                w.split(".")[0] for w in words
            }
        if len(words) > 1 and (is_code or is_name):
            raise CatalogError(
                f"{file}: column {name!r} names elements ({', '.join(words[:4])}), so "
                "the table has one row for each element of a star; expected one row a "
                "star, with a column for each abundance. With pandas: "
                f"df.pivot(index=ID, columns={name!r}, values=VALUE), for the values "
                "and for the errors."
            )
