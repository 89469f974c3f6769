"""Any table file as an astropy table, or an error that says what is wrong with it."""

import gzip
import importlib
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from chemsbi_jax.errors import CatalogError

SUFFIXES = {
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ascii.ecsv",
    ".csv": "csv",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".parquet": "parquet",
    ".pq": "parquet",
}
SUPPORTED = (
    "FITS (.fits), ECSV (.ecsv), CSV (.csv) or VOTable (.vot, .xml), or Parquet"
    " (.parquet)"
)
PEEK = 2048  # bytes that tell the format
HDU_NOTE = "hdu_note"
"""Key of a table's meta: which of several HDUs it is."""


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
        if hdu is not None and form != "fits":
            raise CatalogError(
                f"{path}: only a FITS file has HDUs; leave out --hdu {hdu}."
            )
        with warnings.catch_warnings():  # units and names are checked later
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            if form == "fits":
                return _parse_fits(path, hdu, preferred_hdu)
            return _parse(path, form)
    except CatalogError:
        raise
    except Exception as error:  # each parser fails in its own way, down to IndexError
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CatalogError(
            f"{path}: cannot be read as a table ({reason}). The file may be damaged or "
            f"cut short; give a whole {SUPPORTED}."
        ) from error


def _refuse_no_file(path: Path) -> None:
    if path.is_dir():
        raise CatalogError(f"{path}: this is a folder; give a table: {SUPPORTED}.")
    if not path.exists():
        raise CatalogError(f"{path}: there is no such file; check the path.")


def _parse(path: Path, form: str) -> Table:
    if form == "votable":
        return Table.read(path, format="votable")
    if form == "parquet":
        return _parse_parquet(path)
    with _opened(path) as file:
        text = file.read().decode("utf-8-sig") + "\n"  # a newline: text, not a path
    if form == "csv":
        # unlike astropy's "csv", this refuses rows with too few cells: a cut-off file
        return Table.read(text, format="ascii.basic", delimiter=",", guess=False)
    return Table.read(text, format=form)


def _parse_fits(path: Path, hdu: int | None, preferred: int | None) -> Table:
    with fits.open(path, memmap=False) as file:
        rows = {
            i: part.header["NAXIS2"]
            for i, part in enumerate(file)
            if isinstance(part, fits.BinTableHDU | fits.TableHDU)
        }
    found = ", ".join(f"HDU {i} ({n} rows)" for i, n in rows.items()) or "no table"
    if hdu is not None and hdu not in rows:
        raise CatalogError(f"{path}: HDU {hdu} is no table; the file has {found}.")
    filled = [i for i, n in rows.items() if n > 0]
    wanted = [hdu] if hdu is not None else [i for i in rows if i == preferred]
    # a file without any table goes on to astropy, which says so
    chosen = next(iter([*wanted, *filled, *rows]), None)
    # mapped, as only the columns in use of a survey's 4 GB are to come into memory
    table = Table.read(path, format="fits", hdu=chosen, memmap=True, mask_invalid=False)
    if len(rows) > 1:
        table.meta[HDU_NOTE] = f"HDU {chosen} was read; the file has {found}."
    return table


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
    if head.startswith(b"SIMPLE  ="):
        return "fits"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"# %ECSV"):
        return "ascii.ecsv"
    if b"<VOTABLE" in head.upper():
        return "votable"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    form = SUFFIXES.get(suffixes[-1] if suffixes else "", "")
    first_line = head.splitlines()[0]
    is_text = b"\x00" not in head
    if is_text and (form == "csv" or (not form and b"," in first_line)):
        return "csv"
    reason = f"its content is not {form.split('.')[-1]}" if form else "unknown format"
    raise CatalogError(f"{path}: not a table ({reason}); give a table: {SUPPORTED}.")


def _head(path: Path) -> bytes:
    """First bytes of a file, unzipped, without byte-order mark and blank lines."""
    with _opened(path) as file:
        return file.read(PEEK).lstrip(b"\xef\xbb\xbf \t\r\n")


def _opened(path: Path) -> BinaryIO:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")
