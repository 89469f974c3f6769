"""Tables of VOTable files, and the status that the service wrote with them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from astropy.io.votable import parse
from astropy.io.votable.tree import Info, Resource, TableElement, VOTableFile
from astropy.table import Table
from astropy.utils.data import get_readable_fileobj

from chemsbi_jax.catalog.several_tables import HDU_NOTE, choose
from chemsbi_jax.catalog.text_tables import NOTES
from chemsbi_jax.errors import CatalogError

CUT_OFF = (
    "Warning: The service cut the result off at its limit of rows, as the VOTable says "
    "({}), so that stars are missing: raise the limit (MAXREC, TOP, or 'unlimited' of "
    "VizieR) and download the table again."
)
_CELL = re.compile(r"<(?:\w+:)?TD[^>]*>([^<]*)</")


def cells_as_text(path: Path) -> str:
    """The cells of a VOTable, one a line; nothing if they are stored as binary."""
    with get_readable_fileobj(path, encoding="binary") as file:
        return "\n".join(_CELL.findall(file.read().decode("utf-8", "ignore")))


def parse_votable(path: Path, number: int | None) -> Table:
    """The table with abundances of a VOTable file, or the one of this number.

    Raises:
        CatalogError: no table, none of this number, or the service reports an error.
    """
    with get_readable_fileobj(path, encoding="binary") as file:
        content = parse(file, verify="ignore")
    tables = list(content.iter_tables())
    cut_off = _query_status(content)
    if not tables:
        raise CatalogError("the file has no table")
    names = {i: [f.name for f in t.fields] for i, t in enumerate(tables, 1)}
    rows = {i: len(t.array) for i, t in enumerate(tables, 1)}
    found = ", ".join(f"table {i} ({n} rows)" for i, n in rows.items())
    if number is not None and number not in rows:
        raise CatalogError(f"{path}: there is no table {number}; the file has {found}.")
    chosen = number if number is not None else choose(rows, names)
    table = _with_names(tables[chosen - 1])
    meta = cast(dict, table.meta)
    if len(rows) > 1:
        meta[HDU_NOTE] = (
            f"Table {chosen} was read; the file has {found}. --hdu chooses another."
        )
    if cut_off:
        meta[NOTES] = [CUT_OFF.format(cut_off)]
    return table


def _with_names(part: TableElement) -> Table:
    """A table whose repeated names end with _1, _2, as those of a CSV file do.

    astropy adds a number without a mark (mg_fe2), which is another name to us, so that
    the column would not be found to be ambiguous.
    """
    table = part.to_table(use_names_over_ids=True)
    names = [str(field.name) for field in part.fields]
    for i, (field, name) in enumerate(zip(names, table.colnames, strict=True)):
        n = names[:i].count(field)
        if n and f"{field}_{n}" not in table.colnames:
            table.rename_column(name, f"{field}_{n}")
    return table


def _query_status(content: VOTableFile) -> str:
    """What the service says about rows that it left out; "" if there are all.

    IVOA's DALI has INFO elements QUERY_STATUS = OK, OVERFLOW or ERROR before the table,
    or a second one after it; VizieR has a warning, "truncated result".
    """
    cut_off = ""
    for info in _infos(content):
        name, value = str(info.name).upper(), str(info.value).strip()
        text = " ".join((info.content or "").split())
        said = f"{info.name}: {value}{f', {text[:200]}' if text else ''}"
        if name == "QUERY_STATUS" and value.upper() == "ERROR":
            raise CatalogError(
                f"the service that made the VOTable reports an error ({said}), so that "
                "the table may not be whole; repeat the query"
            )
        is_overflow = name == "QUERY_STATUS" and value.upper() == "OVERFLOW"
        if is_overflow or (name == "WARNING" and "truncated" in value.lower()):
            cut_off = said
    return cut_off


def _infos(content: VOTableFile) -> Iterator[Info]:
    yield from content.infos
    yield from _infos_of(content.resources)


def _infos_of(resources: Iterable[Resource]) -> Iterator[Info]:
    for resource in resources:
        yield from resource.infos
        for table in resource.tables:
            yield from table.infos
        yield from _infos_of(resource.resources)
