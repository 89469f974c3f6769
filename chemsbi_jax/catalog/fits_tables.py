"""Tables of FITS files, with their own marks of "missing" (TNULL)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from jaxtyping import Bool

from chemsbi_jax.catalog.several_tables import HDU_NOTE, choose
from chemsbi_jax.errors import CatalogError

SYMBOLS = "element_symbols"
"""Key of a table's meta: the elements of vector columns."""

TableHdu = fits.BinTableHDU | fits.TableHDU


def parse_fits(path: Path, hdu: int | None, preferred: int | None) -> Table:
    """A table of a FITS file.

    Args:
        path: of the file.
        hdu: number of the extension; None: `preferred` or the first with abundances.
        preferred: number to take if it is a table.

    Raises:
        CatalogError: the extension is no table, or has two columns of one name.
    """
    with fits.open(path, memmap=False) as file:
        parts = {
            i: part
            for i, part in enumerate(file)
            if isinstance(part, fits.BinTableHDU | fits.TableHDU)
        }
        rows = {i: int(str(part.header["NAXIS2"])) for i, part in parts.items()}
        names = {i: _names(part) for i, part in parts.items()}
        symbols = _element_symbols(parts)
    found = ", ".join(f"HDU {i} ({n} rows)" for i, n in rows.items()) or "no table"
    if hdu is not None and hdu not in rows:
        raise CatalogError(f"{path}: HDU {hdu} is no table; the file has {found}.")
    wanted = [hdu] if hdu is not None else [i for i in rows if i == preferred]
    if not rows:  # astropy says so
        return Table.read(path, format="fits")
    chosen = next(iter([*wanted, choose(rows, names)]))
    _refuse_repeated_names(path, names[chosen])
    # mapped, as only the columns in use of a survey's 4 GB are to come into memory
    with fits.open(path, memmap=True) as file:
        part: Any = file[chosen]  # astropy's own annotation allows a list
        table = _table(part)
    meta = cast(dict, table.meta)
    if len(rows) > 1:
        meta[HDU_NOTE] = (
            f"HDU {chosen} was read; the file has {found}. --hdu chooses another."
        )
    if symbols:
        meta[SYMBOLS] = symbols
    return table


def _table(part: TableHdu) -> Table:
    """The columns of an extension, with masked cells where the file has TNULL.

    astropy compares TNULL with the values after TSCAL and TZERO, and cannot hold it in
    columns of unsigned integers or of an ASCII table. The FITS standard means the
    stored number (or text), so the cells are compared with this here.
    """
    nulls = _null_cells(part)
    for column in cast(Any, part.columns):
        if column.name in nulls:
            column.null = None
    table: Any = Table.read(part, mask_invalid=False)
    for name, null in nulls.items():
        if null.any():
            table[name] = MaskedColumn(table[name], mask=null, copy=False)
    for name in table.colnames:  # one number a row, in an array of shape (1,)
        if table[name].shape[1:] == (1,):
            table[name] = table[name][:, 0]
    return table


def _null_cells(part: TableHdu) -> dict[str, Bool[np.ndarray, "row *shape"]]:
    """Cells of integer columns, or of an ASCII table, that hold TNULL or nothing."""
    found = {}
    stored = np.asarray(part.data)
    for column in cast(Any, part.columns):
        code = str(column.format).strip().upper()
        if isinstance(part, fits.TableHDU):
            text = np.char.strip(stored[column.name].astype("S"))
            null = str(column.null or "").strip().encode()
            if not code.startswith("A"):
                found[column.name] = (text == null) | (text == b"")  # "" reads as 0
        elif column.null is not None and stored[column.name].dtype.kind in "iu":
            if not {"P", "Q"} & set(code):  # those store the places of their arrays
                found[column.name] = stored[column.name] == column.null
    return found


def _refuse_repeated_names(path: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise CatalogError(
                f"{path}: two columns have the name {name!r} (TTYPE{i + 1} and "
                f"TTYPE{names.index(name) + 1}); rename or remove one."
            )


def _names(part: TableHdu) -> list[str]:
    return [] if part.columns is None else [str(x) for x in part.columns.names]


def _element_symbols(parts: Mapping[int, TableHdu]) -> list[str]:
    """Elements of APOGEE's vector columns, from the column ELEM_SYMBOL of any HDU."""
    for part in parts.values():
        for name in _names(part):
            if name.upper() == "ELEM_SYMBOL" and len(part.data) > 0:
                first = np.asarray(part.data[name])[0]
                return [str(symbol).strip() for symbol in np.ravel(first)]
    return []
