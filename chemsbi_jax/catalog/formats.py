"""Any table file as an astropy table, or an error with the cause."""

import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import MaskedColumn, Table
from astropy.utils.data import get_readable_fileobj

from chemsbi_jax.catalog.cells import arrays_as_text
from chemsbi_jax.catalog.fits_tables import parse_fits
from chemsbi_jax.catalog.hash_rows import quote_hashes
from chemsbi_jax.catalog.meaning import is_abundance
from chemsbi_jax.catalog.other_formats import OTHER_TEXTS, OTHERS, ZEROS
from chemsbi_jax.catalog.several_tables import HDU_NOTE
from chemsbi_jax.catalog.text_tables import parse_text
from chemsbi_jax.catalog.underscores import refuse_underscores
from chemsbi_jax.catalog.votables import cells_as_text, parse_votable
from chemsbi_jax.errors import CatalogError

COMPRESSED = (".gz", ".bz2", ".xz")  # astropy reads them as they are
COMPRESSED_STARTS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
SUFFIXES = {
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ascii.ecsv",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "",
    ".dat": "",
    ".mrt": "",
    ".tbl": "",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".parquet": "parquet",
    ".pq": "parquet",
}
SUPPORTED = (
    "FITS (.fits), ECSV (.ecsv), CSV (.csv), VOTable (.vot, .xml) or Parquet (.parquet)"
)
_ENDING = f"The file may be damaged or cut short; give a complete file: {SUPPORTED}."
STARTS = {b"SIMPLE  =": "fits", b"PAR1": "parquet", b"# %ECSV": "ascii.ecsv"}
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
PEEK = 16384  # bytes in which the format is recognised


def read_table(
    path: Path, hdu: int | None = None, preferred_hdu: int | None = None
) -> Table:
    """Read a table whose format shows in its content, else in its suffix.

    Args:
        path: of the file.
        hdu: number of the extension of a FITS file.
        preferred_hdu: the extension to take if `hdu` is None and it is a table; else
            the first table with rows, or the first table.

    Raises:
        CatalogError: no such file, a folder, another format, damaged or cut short,
            no table in this extension, or Parquet without pyarrow.
    """
    try:
        _refuse_no_file(path)
        form = _format(path)
        if hdu is not None and form not in ("fits", "votable"):
            raise CatalogError(
                f"{path}: only a FITS file has HDUs (and a VOTable several tables); "
                f"leave out --hdu {hdu}."
            )
        with warnings.catch_warnings():  # units and names are checked later
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            if form == "fits":
                table = parse_fits(path, hdu, preferred_hdu)
            else:
                table = _parse(path, form, hdu)
        return arrays_as_text(table)
    except CatalogError as error:
        if str(error).startswith(str(path)):
            raise
        raise CatalogError(
            f"{path}: cannot be read as a table: {str(error).rstrip('.')}."
        ) from error
    except PermissionError as error:
        raise CatalogError(
            f"{path}: no permission to read this file; change its permissions."
        ) from error
    except Exception as error:  # each parser fails in its own way, down to IndexError
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CatalogError(
            f"{path}: cannot be read as a table ({reason}). {_ENDING}"
        ) from error


def _refuse_no_file(path: Path) -> None:
    if path.is_dir():
        raise CatalogError(f"{path}: this is a folder; give a table: {SUPPORTED}.")
    if not path.exists():
        raise CatalogError(f"{path}: there is no such file; check the path.")


def _parse(path: Path, form: str, number: int | None) -> Table:
    if form == "votable":
        table = parse_votable(path, number)
        if HDU_NOTE not in (table.meta or {}):  # else other tables have other cells
            refuse_underscores(cells_as_text(path), table)
        return table
    if form == "parquet":
        return _parse_parquet(path)
    text = _text(path)
    if form == "csv":
        return parse_text(text)
    if form == "mrt":
        table = _parse_machine_readable(text)
    else:
        text = quote_hashes(text) if form == "ascii.ecsv" else text
        table = Table.read(text + "\n", format=form)  # a newline: text, not a path
    refuse_underscores(text, table)
    return table


def _text(path: Path) -> str:
    with get_readable_fileobj(path, encoding="binary") as file:
        content = file.read()
    if content[:2] in UTF_16:  # "Unicode text" of Excel
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CatalogError(
            f"line {line} has a character that is not UTF-8 (byte "
            f"0x{content[error.start]:02x}); save the file as CSV with UTF-8"
        ) from error


def _parse_machine_readable(text: str) -> Table:
    """A table of the AAS or the CDS, with its byte-by-byte description."""
    for form in ("ascii.mrt", "ascii.cds"):
        try:
            return Table.read(text.rstrip().splitlines(), format=form)
        except Exception as error:  # the next one, or the sentence below
            reason = error
    raise CatalogError(
        "its byte-by-byte description does not fit the rows, or the rows are in "
        f"another file: {str(reason)[:150]}; if the ReadMe is a separate file, convert "
        "with astropy: Table.read(FILE, readme='ReadMe', format='ascii.cds')"
    )


def _parse_parquet(path: Path) -> Table:
    """Columns of a Parquet file; no metadata, so that nothing of it is interpreted."""
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")  # an extra
    except ImportError as error:
        raise CatalogError(
            f"{path}: reading Parquet needs the package pyarrow; run pip install "
            "pyarrow, or convert the table to FITS."
        ) from error
    content = parquet.read_table(path)
    table = Table()
    for name, cells in zip(content.column_names, content.columns, strict=True):
        missing = np.asarray(cells.is_null())
        values = np.asarray(cells.to_numpy())
        if values.dtype.kind == "O":  # None has no length as text
            values = np.where(missing, "", values)
        table[name] = MaskedColumn(values, mask=missing)
    return table


def _format(path: Path) -> str:
    head = _head(path)
    if not head:
        raise CatalogError(f"{path}: the file is empty; give a table: {SUPPORTED}.")
    for start, form in STARTS.items():
        if head.startswith(start):
            return form
    if re.search(rb"<(\w+:)?VOTABLE", head.upper()):
        return "votable"
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSED]
    form = SUFFIXES.get(suffixes[-1] if suffixes else "", "")
    reason = next((why for start, why in OTHERS.items() if head.startswith(start)), "")
    if not reason and (b"\x00" not in head or head[:2] in UTF_16):
        text = head.decode("utf-16" if head[:2] in UTF_16 else "utf-8", "ignore")
        if "byte-by-byte description" in text.lower():
            return "mrt"
        if _is_ipac(text):
            return "ascii.ipac"
        for mark, why in OTHER_TEXTS.items():
            if mark in text.lower():
                reason = why
                form = "other"
        if form in ("csv", "") and _has_cells(text):
            return "csv"
    kind = f"its content is not {form.split('.')[-1]}" if form else "unknown format"
    kind = ZEROS if b"\x00" in head and form == "csv" else kind
    raise CatalogError(
        f"{path}: not a table ({reason or kind}); give a table: {SUPPORTED}."
    )


def _is_ipac(text: str) -> bool:
    r"""Whether up to four lines `| name |` are before the rows, as IPAC has them."""
    lines = [line for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("\\")]
    header = [line for line in lines[:5] if line.startswith("|")]
    return bool(header) and len(header) < min(len(lines), 5) and lines[0] == header[0]


def _has_cells(text: str) -> bool:
    """Whether a line of column names stands in the text, and is no prose."""
    lines = [line for line in text.splitlines() if line.strip()]
    names = [
        word for line in lines for word in re.split(r"[,;|\t ]+", line.strip("# "))
    ]
    return any(map(is_abundance, names)) or any(
        mark in line for line in lines[:1] for mark in ",;|\t"
    )


def _head(path: Path) -> bytes:
    """First bytes of a file, unzipped, without byte-order mark and blank lines."""
    with get_readable_fileobj(path, encoding="binary") as file:
        head = file.read(PEEK)
    if head.startswith(COMPRESSED_STARTS):  # astropy returns the bytes as they are
        raise CatalogError("its compressed content is damaged")
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")
