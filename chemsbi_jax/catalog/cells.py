"""Columns of an astropy table with one type, and their cells as numpy arrays."""

from typing import Any, cast

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Bool


def column_of(table: Table, name: str) -> Column:
    """A column of a table; times and sky positions (mixin columns) become text.

    astropy's own annotation of `table[name]` allows rows and tables, too.
    """
    cells: Any = table[name]
    if isinstance(cells, Column):
        return cells
    plain: Any = Table({name: cells})[name]  # a Quantity becomes a column with a unit
    if isinstance(plain, Column):
        return plain
    return cast(Column, Column([str(cell) for cell in cells], name=name))


def arrays_as_text(table: Table) -> Table:
    """The table, with text in place of arrays of another length in each row."""
    for name in table.colnames:
        cells = data_of(column_of(table, name))
        if cells.dtype.kind != "O" or not any(np.ndim(cell) for cell in cells):
            continue
        words = [" ".join(map(str, np.ravel(np.asarray(cell)))) for cell in cells]
        table.replace_column(name, Column(words, name=name))
    return table


def data_of(cells: Column) -> np.ndarray:
    """The cells without their mask."""
    return np.ma.getdata(np.asarray(cells.data))


def mask_of(cells: Column) -> Bool[np.ndarray, "*shape"]:
    """Which cells are masked."""
    return np.broadcast_to(getattr(cells, "mask", False), cells.shape)
