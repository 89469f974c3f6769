"""Numbers such as 0_1 in formats with typed columns, which astropy reads as 1."""

import re

import numpy as np
from astropy.table import Table

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.errors import CatalogError

_CELL = re.compile(
    r"(?<![^\s,;|>])[+-]?\d[\d.]*_[\d_]*\d(?:\.\d*)?(?:[eE][+-]?\d+)?(?![^\s,;|<])"
)
_BETWEEN = re.compile(r"[\s,;|]+")
_ABOVE = ("#", "|", "\\")  # header of ECSV, of IPAC


def refuse_underscores(text: str, table: Table) -> None:
    """Raise for a number with an underscore; in columns of text it may stand.

    Args:
        text: of the file: ECSV, IPAC, or a machine-readable table; of a VOTable its
            cells alone.
        table: as astropy reads it.

    Raises:
        CatalogError: a column of numbers has such a cell.
    """
    if not _CELL.search(text):
        return
    words = [*map(str, table.colnames)]
    for name in table.colnames:
        cells = column_of(table, name)
        if cells.dtype.kind in "SUO":
            words += [str(word) for word in np.unique(np.ravel(cells).astype(str))]
    known = {word for entry in words for word in _BETWEEN.split(entry)}
    rule = text.rfind("\n---") + 1  # of a machine-readable table; else 0
    for line in text[rule:].splitlines():
        found = [] if line.startswith(_ABOVE) else _CELL.findall(line)
        for cell in found:
            if cell not in known:
                raise CatalogError(
                    f"{cell!r} is not a number (in the line {line.strip()[:60]!r}); "
                    "correct it, or leave the cell empty if it is missing"
                )
